"""A warm process of one user that their Python kernels are forked from, executed by their own single-user server.

It has imported ``ipykernel`` and done nothing else. It has one thread and no connection but the one to the server; it
ends with the server, and its kernels see that and end, too.
"""

from __future__ import annotations

import gc
import importlib
import os
import selectors
import signal
import socket
import sys
from typing import Any

from . import kernel_calls, warmth, wire
from .zygote import run_as_main

#: what a kernel imports by itself, and in the course of its start
MODULES = (
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "ipykernel.zmqshell",
    "ipykernel.comm.manager",
    "ipykernel.datapub",
    "IPython.core.completer",
    "IPython.core.magics",
    "IPython.extensions.storemagic",
    "jupyter_client.session",
    "zmq.eventloop.zmqstream",
)
#: in the order of the descriptors that come with a request
REQUEST, STDIN, STDOUT, STDERR = range(4)
_EXIT_FAILED = 78


def main() -> None:
    """Get warm, then fork whenever the server asks; in a new process run the kernel, and return when it has ended."""
    sys.path.remove("")  # from -c
    server = socket.socket(fileno=int(sys.argv[1]))
    # ipykernel reads it when it is imported: a kernel ends when its parent does, and that is this process
    os.environ["JPY_PARENT_PID"] = str(os.getpid())
    readings = warmth.Readings()
    readings.begin()
    try:
        for name in MODULES:
            try:
                importlib.import_module(name)
            except ModuleNotFoundError:
                continue  # another version of the package
    finally:
        readings.end()
    # these are another for each kernel by nature, and read when it starts
    names = readings.names - {"JPY_PARENT_PID", "JPY_SESSION_NAME", "PWD"}
    wire.send(server, {"warm": {name: os.environ.get(name) for name in sorted(names)}, "pid": os.getpid()})
    kernel_calls.prepare()
    gc.collect()
    gc.disable()
    gc.freeze()
    kernel = _serve(server)
    if kernel is not None:
        kernel.run()
    else:
        os._exit(0)


def _serve(server: socket.socket) -> _Kernel | None:
    """Fork on request; what a new process is to be, or None when the server has gone."""
    children_r, children_w = socket.socketpair()
    for end in (children_r, children_w):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(children_w.fileno(), warn_on_full_buffer=False)
    selector = selectors.PollSelector()
    selector.register(server, selectors.EVENT_READ)
    selector.register(children_r, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is children_r:
                children_r.recv(4096)
                _tell_ends(server)
                continue
            try:
                message, fds = wire.receive(server)
            except (wire.Closed, OSError):
                return None
            with wire.closing(fds):
                if warmth.thread_count() != 1:
                    wire.send(server, {"id": message["id"], "refused": "threads run in it"})
                    continue
                pid = os.fork()
                if pid == 0:
                    kernel = _Kernel(fds)
                    fds.clear()
                    return kernel
                wire.send(server, {"id": message["id"], "pid": pid})


def _tell_ends(server: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        wire.send(server, {"ended": pid, "status": os.waitstatus_to_exitcode(status)})


class _Kernel:
    """A process that was forked to be a kernel."""

    def __init__(self, fds: list[int]) -> None:
        """Get rid of all that is the parent's."""
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            asked = wire.from_memory_file(fds[REQUEST])
            for number, fd in enumerate(fds[STDIN:]):
                os.dup2(fd, number, inheritable=True)
            kernel_calls.close_from(3)
            self.argv, self.env, self.cwd = list(asked["argv"]), dict(asked["env"]), asked["cwd"]
        except BaseException as error:
            os.write(2, f"the kernel could not be forked: {error}\n".encode(errors="replace"))
            os._exit(_EXIT_FAILED)

    def run(self) -> None:
        """Be the program that was asked for: ``python -m ipykernel_launcher …``."""
        os.environ.clear()
        os.environ.update(self.env)
        if self.cwd:
            os.chdir(self.cwd)
        kernel_calls.show_as(self.argv, self.env)
        kernel_calls.set_name(os.path.basename(self.argv[0]).encode())
        sys.orig_argv[:] = self.argv
        gc.enable()
        program: dict[str, Any] = {"module": self.argv[2], "arguments": self.argv[3:]}
        run_as_main(program)
