"""A warm process that servers are forked from: it has imported what they need, and has done nothing else.

Executed by the broker with an environment of its own, so that no secret of a hub is in its memory; it never learns one
either, because requests are read by the new process only. It has one thread, no event loop, no connection but the one
to the broker, and no rights but to change users (where servers have users of their own). Before each fork it checks
that this is so, and rather refuses.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.machinery
import json
import os
import runpy
import selectors
import socket
import sys
import time
import types
from collections.abc import Mapping
from typing import Any

from . import kernel_calls, newborn, warmth, wire
from .identity import Identity

_RIGHTS = (kernel_calls.CAP_SETUID, kernel_calls.CAP_SETGID, kernel_calls.CAP_SETPCAP)


def main() -> None:
    """Get warm and serve the broker; in each forked process run the server, and return when it has ended."""
    sys.path.remove("")  # from -c; the working directory is /
    zygote = Zygote(socket.socket(fileno=int(sys.argv[1])), **json.loads(sys.argv[2]))
    if zygote.get_warm():
        born = zygote.serve()
        if born is not None:
            born.run()
            return
    os._exit(0)


class Zygote:
    """The process that forks; in each new process it becomes a ``Newborn``."""

    def __init__(self, broker: socket.socket, *, switches_users: bool, env: Mapping[str, str]) -> None:
        self.broker, self.switches_users = broker, switches_users
        self.traces = warmth.Traces()
        #: what Python has set by itself (PEP 538), as it would in a server that is executed
        self.set_by_python = {name: value for name, value in os.environ.items() if name not in env}
        #: pidfd → pid of the servers that are ours to wait for
        self._children: dict[int, int] = {}

    def get_warm(self) -> bool:
        """Import everything, check, and tell the broker; False if servers must not be forked here."""
        if self.switches_users:
            # Permitted only: what is imported now, and whatever that executes, has no rights.
            kernel_calls.clear_ambient()
            kernel_calls.set_capabilities(permitted=_RIGHTS, effective=())
            kernel_calls.set_dumpable(False)
        # Nothing that a user could have written is imported with rights that can be taken up again.
        wire.send(self.broker, {"finds": [path for path in sys.path if os.path.isabs(path)]})
        try:
            wire.receive(self.broker)
        except wire.Closed:
            return False
        os.environ["HOME"], os.environ["USER"] = self.traces.home, self.traces.user
        readings, failures = warmth.Readings(), {}
        readings.begin()
        try:
            warmth.import_all(lambda name, error: failures.update({name: str(error)}))
        except BaseException as error:
            wire.send(self.broker, {"cold": f"{type(error).__name__}: {error}"[:2000]})
            return False
        finally:
            readings.end()
        self.traces.search()
        why_not = self._why_not()
        if why_not:
            wire.send(self.broker, {"cold": why_not})
            return False
        values = {name: os.environ.get(name) for name in sorted(readings.names - {"HOME", "USER"})}
        wire.send(
            self.broker,
            {"warm": {"readings": values, "failures": failures, "made_of": warmth.made_of()}},
        )
        # What exists now shall stay where it is: the collector would write into every page that servers share.
        gc.collect()
        _give_back_free_memory()
        gc.disable()
        gc.freeze()
        return True

    def serve(self) -> Newborn | None:
        """Fork whenever the broker asks. None when the broker is gone; in a new process, what it is."""
        selector = selectors.PollSelector()  # has no descriptor of its own
        selector.register(self.broker, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd in self._children:
                    selector.unregister(key.fd)
                    self._tell_end(key.fd)
                    continue
                try:
                    message, fds = wire.receive(self.broker)
                except wire.Closed:
                    return None  # our servers go on without us
                with wire.closing(fds):
                    pid = self._fork(message, fds)
                    if pid == 0:
                        self.broker.close()
                        gate = self._settle(message, list(fds))
                        fds.clear()  # settled: these numbers mean something else now
                        return Newborn(gate, self.traces, self.set_by_python)
                    if pid is not None:
                        end = os.pidfd_open(pid)
                        self._children[end] = pid
                        selector.register(end, selectors.EVENT_READ)

    def _fork(self, message: wire.Message, fds: list[int]) -> int | None:
        """Give the new pid, 0 in the new process, None if there is none and the broker knows why."""
        why_not = self._why_not(fds)
        if not why_not:
            try:
                pid = os.fork()
            except OSError as error:
                why_not = f"no new process can be made: {error}"
            else:
                if pid:
                    wire.send(self.broker, {"id": message["id"], "pid": pid})
                return pid
        wire.send(self.broker, {"id": message["id"], "refused": why_not})
        return None

    def _settle(self, message: wire.Message, fds: list[int]) -> newborn.AtGate:
        identity = message["identity"]
        gate = newborn.settle(
            fds, Identity.from_message(identity) if identity else None, may_set_capabilities=self.switches_users
        )
        # Only the user can tell: on a network's file system root may see nothing of a home.
        if packages := warmth.packages_missed(gate.start.env):
            gate.refuse(f"the user has packages of their own in {packages}")
        return gate

    def _why_not(self, fds: list[int] | None = None) -> str:
        """Why no server must be forked from this process; empty if all is well."""
        if (threads := warmth.thread_count()) != 1:
            return f"{threads} threads run in it ({', '.join(warmth.other_threads()) or 'of a library'})"
        if strange := warmth.loaded_though_never():
            return f"modules with state of their own are loaded: {', '.join(strange)}"
        if self.traces.unknown:
            return f"values made of HOME or USER cannot be replaced: {'; '.join(self.traces.unknown[:5])}"
        known = {0, 1, 2, self.broker.fileno(), *self._children, *(fds or ())}
        if unknown := warmth.open_descriptors(max(known) + 16) - known:
            return f"descriptors of somebody's are open: {', '.join(map(str, sorted(unknown)))}"
        return ""

    def _tell_end(self, end: int) -> None:
        """Say with which status a process has ended, and only then let the kernel forget it."""
        pid = self._children.pop(end)
        os.close(end)
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert found is not None
        status = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        try:
            wire.send(self.broker, {"ended": pid, "status": status})
        except wire.Closed:
            return  # whoever adopts it reaps it
        os.waitpid(pid, 0)


class Newborn:
    """A process that was forked to be a server, and waits to be let go."""

    def __init__(self, gate: newborn.AtGate, traces: warmth.Traces, set_by_python: Mapping[str, str]) -> None:
        self.gate, self.traces, self.set_by_python = gate, traces, set_by_python

    def run(self) -> None:
        """Wait at the gate; then be, in everything that can be seen, the program that was asked for."""
        self.gate.wait()
        start, listener = self.gate.start, self.gate.listener
        program = start.program
        assert program is not None
        self.gate.line.close()
        environ = {**self.set_by_python, **start.env}
        os.environ.clear()
        os.environ.update(environ)
        kernel_calls.set_dumpable(True)
        kernel_calls.set_name(os.fsencode(program["comm"]))
        kernel_calls.show_as(start.argv, start.env)
        time.tzset()
        self.traces.mend(environ)
        warmth.find_user_site()
        sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
        sys.orig_argv[:] = start.argv
        gc.enable()
        if listener is not None:
            importlib.import_module("jupyterhub.client.singleuser.listening").inherit(listener)
        del self.gate, self.traces
        run_as_main(program)


def run_as_main(program: Mapping[str, Any]) -> None:
    """Run a script or a module as Python runs the one that it is started with."""
    former, main_module = sys.modules["__main__"], types.ModuleType("__main__")
    vars(main_module)["__builtins__"] = sys.modules["builtins"]
    if "__annotations__" in vars(former):  # up to Python 3.13
        vars(main_module)["__annotations__"] = {}
    sys.modules["__main__"] = main_module
    if "module" in program:
        sys.argv[:] = ["-m", *program["arguments"]]
        sys.path.insert(0, os.getcwd())
        runpy._run_module_as_main(program["module"])  # type: ignore[attr-defined]
        return
    path = program["script"]
    sys.argv[:] = [path, *program["arguments"]]
    sys.path.insert(0, os.path.dirname(path))
    with open(path, "rb") as script:
        code = compile(script.read(), path, "exec")
    loader = importlib.machinery.SourceFileLoader("__main__", path)
    vars(main_module).update(__file__=path, __cached__=None, __loader__=loader)
    exec(code, vars(main_module))


def _give_back_free_memory() -> None:
    """What the imports needed for a moment shall not be copied on the first write."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)
