"""Processes on this machine, known so that they cannot be mistaken for others: by pid, start time and boot.

Waiting for the end of a process, signalling it, and becoming a user in a new one (``localproc/identity.py``). Used by
the local spawners and by the proxies that the hub starts; what is started, when and why is theirs.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jupyterhub.localproc import kernel_calls
from jupyterhub.localproc.identity import Identity, enter

#: where the kernel cannot tell us that a process has ended, we look this often
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process: another one that gets the same pid later is not equal to it.

    ``start_time`` is in clock ticks since boot, None where the system does not tell (no ``/proc``).
    """

    pid: int
    start_time: int | None = None
    boot_id: str = ""

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """Look at a running process; None if there is none, or only the remains of one (a zombie)."""
        if not _has_proc():
            return cls(pid) if _answers(pid) else None
        stat = read_stat(pid)
        return None if stat is None or stat.is_dead else cls(pid, stat.start_time, boot_id())

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> ProcessId | None:
        """Read what ``to_state`` wrote. The original writes ``pid`` only: then whatever runs under it now is meant."""
        pid = state.get("pid")
        if not isinstance(pid, int) or pid <= 0:
            return None
        start_time = state.get("pid_start_time")
        if not isinstance(start_time, int):
            return cls(pid)
        return cls(pid, start_time, str(state.get("boot_id", "")))

    def to_state(self) -> dict[str, Any]:
        if self.start_time is None:
            return {"pid": self.pid}
        return {"pid": self.pid, "pid_start_time": self.start_time, "boot_id": self.boot_id}

    def is_alive(self) -> bool:
        """Say whether this very process runs. A zombie does not."""
        found = ProcessId.of(self.pid)
        return found is not None and (self.start_time is None or found == self)

    def send(self, signum: int) -> bool:
        """Send a signal; False if the process is gone. Never hits another process that got its pid."""
        with _opened(self) as fd:
            if fd is None:
                return False
            try:
                if fd >= 0:
                    signal.pidfd_send_signal(fd, signum)
                else:
                    os.kill(self.pid, signum)
            except ProcessLookupError:
                return False
        return True

    def send_to_group(self, signum: int) -> None:
        """Send a signal to the process and to all that it has started, if it leads a process group of its own."""
        if not self.is_alive():
            return
        try:
            if os.getpgid(self.pid) == self.pid:
                os.killpg(self.pid, signum)
                return
        except ProcessLookupError:
            return
        self.send(signum)

    async def wait_gone(self, *, within_s: float | None = None) -> bool:
        """Wait for the end of the process; False if it still runs after ``within_s``.

        Where the kernel has pidfds it wakes us, and otherwise we look every tenth of a second. It may be called for
        any process, not only for children; it does not reap.
        """
        try:
            async with asyncio.timeout(within_s):
                with _opened(self) as fd:
                    if fd is None:
                        return True
                    if fd >= 0:
                        await _readable(fd)
                        return True
                while self.is_alive():  # noqa: ASYNC110 (there is no event: the kernel has no pidfd for us)
                    await asyncio.sleep(POLL_S)
                return True
        except TimeoutError:
            return not self.is_alive()


@contextmanager
def _opened(process: ProcessId) -> Iterator[int | None]:
    """Hold the process by a pidfd: None if it is gone, -1 where there are no pidfds but it is alive."""
    fd = -1
    if hasattr(os, "pidfd_open"):
        try:
            fd = os.pidfd_open(process.pid)
        except ProcessLookupError:
            yield None
            return
        except OSError:
            fd = -1  # forbidden by a sandbox, or a kernel before 5.3
    try:
        # The order matters: what we hold now is compared with what we meant.
        yield fd if process.is_alive() else None
    finally:
        if fd >= 0:
            os.close(fd)


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ended.done():
            ended.set_result(None)

    loop.add_reader(fd, wake)
    try:
        await ended
    finally:
        loop.remove_reader(fd)


# -- what the kernel tells


@dataclass(frozen=True, slots=True)
class Stat:
    """The fields of ``/proc/PID/stat`` that we look at."""

    state: str
    parent: int
    session: int
    #: clock ticks since boot
    start_time: int
    uid: int

    @property
    def is_dead(self) -> bool:
        return self.state in "ZXx"

    @property
    def started_at(self) -> float:
        """Seconds since the epoch; the kernel rounds the time of boot to a second."""
        return boot_time() + self.start_time / os.sysconf("SC_CLK_TCK")


def read_stat(pid: int) -> Stat | None:
    """Look at a process; None if there is none."""
    try:
        path = Path("/proc") / str(pid)
        uid = path.stat().st_uid
        # the name in parentheses may hold anything, also parentheses and spaces
        fields = (path / "stat").read_text(errors="replace").rpartition(")")[2].split()
        return Stat(state=fields[0], parent=int(fields[1]), session=int(fields[3]), start_time=int(fields[19]), uid=uid)
    except (OSError, IndexError, ValueError):
        return None


def command_line(pid: int) -> list[str]:
    """The arguments of a process; empty if they cannot be read."""
    try:
        raw = (Path("/proc") / str(pid) / "cmdline").read_bytes()
    except OSError:
        return []
    return [os.fsdecode(word) for word in raw.split(b"\0")[:-1]]


@cache
def _has_proc() -> bool:
    return os.path.exists("/proc/self/stat")


@cache
def boot_id() -> str:
    """Names this boot of the machine (or of the container's kernel); "" where that is not known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


@cache
def boot_time() -> float:
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    return 0.0


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def reap(pid: int) -> int | None:
    """Take the exit status of a dead child of ours that nobody waits for; None if it is none of ours, or alive."""
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if found else None


# -- between fork and exec


def heed_interrupts() -> None:
    """Have the program ended by SIGINT: a hub that a shell has started in the background ignores it (POSIX sh)."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def become(username: str, *, chdir: bool = True) -> Callable[[], None]:
    """Make a function for the child between fork and exec that turns it into ``username``; KeyError if unknown.

    It fails closed: if any step fails, or what the kernel says afterwards is not what was asked for, it raises, and the
    program is never executed. All lookups happen here, in the parent: a directory service asked from between fork and
    exec of a process with threads can hang for ever.
    """
    identity = Identity.look_up(username)
    if identity.is_mine:
        # an unprivileged hub that starts servers for the user that it runs as: there is nothing to become

        def stay() -> None:
            if chdir:
                enter(identity.home)

        return stay
    kernel_calls.prepare()

    def change_or_say_why_not() -> None:
        try:
            identity.take()
            if chdir:
                enter(identity.home)
        except BaseException as error:
            # the parent only hears that it failed; this line reaches its log
            os.write(2, f"cannot become {username!r} (uid {identity.uid}): {error}\n".encode(errors="replace"))
            raise

    return change_or_say_why_not
