"""Kernels forked from a warm process (opt-in: ``JUPYTERHUB_FAST_KERNELS=1``, or ``LocalProcessSpawner.fast_kernels``).

A kernel provisioner (``jupyter_client``'s extension point) that is Jupyter's own in all but the start: a Python kernel
of the server's own interpreter is forked from a process that has imported ``ipykernel``. That process is made after the
first kernel, so that who never starts one never pays for it. Whatever does not fit is executed.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import subprocess
import sys
from typing import Any

from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from jupyterhub.localproc import wire

_LAUNCHER = ("-m", "ipykernel_launcher")
_ZYGOTE = "from jupyterhub.localproc.kernel_zygote import main; main()"
#: a warm process that takes longer will not do it in time
_FORK_LIMIT_S = 2.0
#: read by the interpreter before anything of ours, or different for each process by nature
_EARLY = ("PYTHON", "LD_", "MALLOC_", "GLIBC_")
_EARLY_BUT_LATE = ("PYTHONUNBUFFERED",)


class DoesNotFit(Exception):
    """This kernel must be executed; ``str()`` says why."""


class ForkedKernel:
    """What jupyter_client knows of a process: the part of ``subprocess.Popen`` that its provisioner uses."""

    stdin = stdout = stderr = None

    def __init__(self, zygote: KernelZygote, pid: int) -> None:
        self._zygote, self.pid = zygote, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._zygote.status_of(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """Only called when the process has ended."""
        return self.poll()

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(9)

    def terminate(self) -> None:
        self.send_signal(15)


class KernelZygote:
    """The warm process of this server, seen from its event loop."""

    def __init__(self) -> None:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _ZYGOTE, str(its.fileno())],
                env={name: value for name, value in os.environ.items() if not name.startswith("JUPYTERHUB_")},
                stdin=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
                start_new_session=True,
            )
        ours.setblocking(False)
        self._sock = ours
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[wire.Message]] = {}
        #: pid → how it has ended, None while it runs
        self._statuses: dict[int, int | None] = {}
        #: variables that imports have read; None until it is warm
        self.readings: dict[str, str | None] | None = None
        self.is_gone = False
        asyncio.get_running_loop().add_reader(ours.fileno(), self._hear)

    @property
    def pid(self) -> int:
        return self._process.pid

    def _hear(self) -> None:
        try:
            message, fds = wire.receive(self._sock)
        except BlockingIOError:
            return
        except (wire.Closed, ValueError, OSError):
            self._lose()
            return
        wire.close_all(fds)
        if "warm" in message:
            self.readings = dict(message["warm"])
        elif "ended" in message:
            if message["ended"] in self._statuses:
                self._statuses[message["ended"]] = int(message["status"])
        elif (asked := self._asked.pop(int(message.get("id", 0)), None)) is not None and not asked.done():
            asked.set_result(message)
        elif "pid" in message:
            # nobody waits for it any more: the kernel was executed meanwhile
            os.kill(int(message["pid"]), 9)

    def _lose(self) -> None:
        self.is_gone = True
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._sock.fileno())
        self._sock.close()
        # it is heard to be gone a moment before it is
        loop.call_later(1.0, self._process.poll)
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(DoesNotFit("the warm process has ended"))

    def status_of(self, pid: int) -> int | None:
        """How a kernel has ended; None while it runs. Of one whose warm process is gone, too, nobody knows how."""
        status = self._statuses[pid]
        if status is None and self.is_gone and not os.path.exists(f"/proc/{pid}"):
            status = self._statuses[pid] = -9
        return status

    async def fork(self, argv: list[str], env: dict[str, str], cwd: str | None, streams: list[int]) -> ForkedKernel:
        """Fork a kernel; DoesNotFit if that did not work, and then there is none."""
        number = next(self._numbers)
        asked = self._asked[number] = asyncio.get_running_loop().create_future()
        request = wire.to_memory_file({"argv": argv, "env": env, "cwd": cwd})
        with wire.closing([request]):
            try:
                wire.send(self._sock, {"id": number}, [request, *streams])
            except (OSError, wire.Closed) as error:
                del self._asked[number]
                raise DoesNotFit(f"the warm process does not answer ({error})") from error
        try:
            async with asyncio.timeout(_FORK_LIMIT_S):
                answer = await asked
        except TimeoutError:
            raise DoesNotFit("the warm process does not answer") from None
        finally:
            self._asked.pop(number, None)
        if "pid" not in answer:
            raise DoesNotFit(str(answer.get("refused")))
        self._statuses[int(answer["pid"])] = None
        return ForkedKernel(self, int(answer["pid"]))


_zygote: KernelZygote | None = None


class ForkingProvisioner(LocalProvisioner):
    """Jupyter's local provisioner, with another way to start a Python kernel."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        global _zygote
        try:
            _check(cmd, kwargs)
            if _zygote is None or _zygote.is_gone:
                _zygote = KernelZygote()
                raise DoesNotFit("the warm process is being made")
            if _zygote.readings is None:
                raise DoesNotFit("the warm process is not warm yet")
            env = dict(kwargs.get("env") or os.environ)
            for name, seen in _zygote.readings.items():
                if env.get(name) != seen:
                    raise DoesNotFit(f"its environment has another {name} than the warm process")
            env["JPY_PARENT_PID"] = str(_zygote.pid)  # which ends with this server
            cwd = kwargs.get("cwd")
            with open(os.devnull, "rb") as nothing:  # noqa: ASYNC230 (it never waits)
                streams = [nothing.fileno(), _number(kwargs.get("stdout"), 1), _number(kwargs.get("stderr"), 2)]
                kernel = await _zygote.fork(list(cmd), env, str(cwd) if cwd else None, streams)
        except (DoesNotFit, OSError) as reason:
            self.log.info("executing a kernel: %s", reason)
            return await super().launch_kernel(cmd, **kwargs)
        # it leads a session of its own, as one that was executed
        self.process = kernel  # type: ignore[assignment]
        self.pid = self.pgid = kernel.pid
        self.cwd = cwd or os.getcwd()
        self.log.info("kernel %s was forked from a warm process", self.pid)
        return self.connection_info


def _check(cmd: list[str], kwargs: dict[str, Any]) -> None:
    if tuple(cmd[1:3]) != _LAUNCHER:
        raise DoesNotFit("it is no Python kernel as usual")
    if os.path.realpath(cmd[0]) != os.path.realpath(sys.executable) or _prefix(cmd[0]) != _prefix(sys.executable):
        raise DoesNotFit("it is of another Python environment")
    unknown = set(kwargs) - {"env", "cwd", "kernel_id", "extra_arguments", "stdout", "stderr"}
    if unknown:
        raise DoesNotFit(f"it is to be started with {', '.join(sorted(unknown))}")
    for name, value in (kwargs.get("env") or {}).items():
        if name.startswith(_EARLY) and name not in _EARLY_BUT_LATE and os.environ.get(name) != value:
            raise DoesNotFit(f"its environment has {name}")


def _prefix(interpreter: str) -> str:
    return os.path.dirname(os.path.dirname(os.path.abspath(interpreter)))


def _number(stream: Any, default: int) -> int:
    if stream is None:
        return default
    number = stream if isinstance(stream, int) else stream.fileno()
    if number < 0:
        raise DoesNotFit("its output goes to a pipe")
    return int(number)
