"""What a new process does before it is a server: the same whether it was forked warm or is to execute a program.

It gets its descriptors in order, becomes the user, and waits at the gate: it goes on only after its number is in the
hub's database, and ends by itself when the hub dies before. What it needs to know is in a memory file that only it
reads. It has one line to the hub, on which it says that it is at the gate, or what has failed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from . import kernel_calls, wire
from .identity import Identity, enter

#: the order of the descriptors that come with a request to start
REQUEST, STDIN, STDOUT, STDERR, LINE, LISTENER = range(6)

EXIT_UNWANTED = 75
EXIT_FAILED = 78

#: what the hub says to let a process go on
GO = b"go"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Which process to make. Comes from the hub, by way of a memory file."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    #: where it runs; None: in the home directory
    directory: str | None
    umask: int
    limits: Mapping[int, tuple[int, int]]
    #: whether programs that it executes may have more rights than it has (sudo)
    may_gain_rights: bool
    #: for warm starts: how the program is found, see ``zygote``
    program: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, fd: int) -> Start:
        found = wire.from_memory_file(fd)
        return cls(
            argv=tuple(found["argv"]),
            env=dict(found["env"]),
            directory=found["directory"],
            umask=int(found["umask"]),
            limits={int(number): (int(soft), int(hard)) for number, (soft, hard) in found["limits"].items()},
            may_gain_rights=bool(found["may_gain_rights"]),
            program=found.get("program"),
        )

    def to_memory_file(self) -> int:
        return wire.to_memory_file(
            {
                "argv": list(self.argv),
                "env": dict(self.env),
                "directory": self.directory,
                "umask": self.umask,
                "limits": {str(number): pair for number, pair in self.limits.items()},
                "may_gain_rights": self.may_gain_rights,
                "program": self.program,
            }
        )


class AtGate:
    """A process that has become what it should be, and waits. ``wait`` returns when it may go on, or never."""

    def __init__(self, start: Start, line: socket.socket, listener: int | None) -> None:
        self.start, self.line, self.listener = start, line, listener

    def refuse(self, why: str) -> NoReturn:
        """Tell the hub that this server must be started in another way, and end."""
        with contextlib.suppress(OSError, wire.Closed):
            wire.send(self.line, {"failed": why})
        os._exit(EXIT_UNWANTED)

    def wait(self) -> None:
        with contextlib.suppress(wire.Closed):
            wire.send(self.line, {"at": "gate"})
        if self.line.recv(len(GO) + 1) != GO:
            # nobody has written down our number: whoever wanted us is gone, or changed their mind
            os._exit(EXIT_UNWANTED)


def settle(fds: Sequence[int], identity: Identity | None, *, may_set_capabilities: bool = False) -> AtGate:
    """Turn this process, fresh from the fork, into the one that was asked for. On any error it ends.

    Closes every descriptor but those that were asked for. Without an ``identity`` it stays the user that it is.
    """
    os.setsid()
    line_fd, listener = _put_in_place(fds)
    line = socket.socket(fileno=line_fd)
    try:
        with wire.closing([_REQUEST_AT]):
            start = Start.read(_REQUEST_AT)
        _settle(start, identity, may_set_capabilities)
    except Exception as error:
        fail(line, f"{type(error).__name__}: {error}", identity)
    return AtGate(start, line, listener)


def fail(line: socket.socket, why: str, identity: Identity | None) -> NoReturn:
    """Tell the hub, and the log that the server would have written to; then end."""
    who = f"cannot become {identity.name!r} (uid {identity.uid}): " if identity else "cannot start: "
    with contextlib.suppress(OSError):
        os.write(2, f"{who}{why}\n".encode(errors="replace"))
    with contextlib.suppress(OSError, wire.Closed):
        wire.send(line, {"failed": why})
    os._exit(EXIT_FAILED)


_LINE_AT, _REQUEST_AT, _LISTENER_AT = 3, 4, 5
_OUT_OF_THE_WAY = 64


def _put_in_place(fds: Sequence[int]) -> tuple[int, int | None]:
    """Give the descriptors their numbers, and close all others; say where line and listener are."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY) for fd in fds]
    for number, fd in enumerate((high[STDIN], high[STDOUT], high[STDERR])):
        os.dup2(fd, number, inheritable=True)
    os.dup2(high[LINE], _LINE_AT, inheritable=False)
    os.dup2(high[REQUEST], _REQUEST_AT, inheritable=False)
    has_listener = len(high) > LISTENER
    if has_listener:
        os.dup2(high[LISTENER], _LISTENER_AT, inheritable=False)
    kernel_calls.close_from(_LISTENER_AT + 1 if has_listener else _LISTENER_AT)
    return _LINE_AT, _LISTENER_AT if has_listener else None


def _settle(start: Start, identity: Identity | None, may_set_capabilities: bool) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # A hub that a shell has started in the background ignores it (POSIX, "Signals and Error Handling"), but servers are
    # asked by it to end.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.umask(start.umask)
    for number, (soft, hard) in start.limits.items():
        _limit(number, soft, hard)
    if may_set_capabilities:
        rights = (kernel_calls.CAP_SETUID, kernel_calls.CAP_SETGID, kernel_calls.CAP_SETPCAP)
        kernel_calls.set_capabilities(permitted=rights, effective=rights)
    if not start.may_gain_rights:
        kernel_calls.give_up_gains(is_privileged=may_set_capabilities or os.geteuid() == 0)
    if identity is not None and not identity.is_mine:
        identity.take()
    directory = start.directory or (identity.home if identity else None)
    if directory:
        enter(directory)


def _limit(number: int, soft: int, hard: int) -> None:
    """Set a limit as the hub has it; one above what this process may have stays as it is."""
    with contextlib.suppress(ValueError, OSError):
        if resource.getrlimit(number) != (soft, hard):
            resource.setrlimit(number, (soft, hard))
