"""SIGUSR2: the program gives way to itself as it is on disk now, and takes its sockets along.

It is the same process that goes on (``exec``): a supervisor, a container or a hub that has started it sees nothing, and
the process number stays. What it owns is written to a file without a name, which the successor reads at its start:

* listening sockets: whoever connects meanwhile waits in their queues;
* the table with its activity, and the counts;
* idle connections of clients, with the bytes of a request that has begun to come;
* joined pairs: WebSockets go on.

Exchanges that run get some seconds to end; those that do not, break. Nothing of TLS can be taken along: its keys are in
the library's memory. Before all that, the successor must show that it can start at all.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from .counters import Counters
from .protocol.frames import FrameBorders

log = logging.getLogger(__name__)

VARIABLE = "JUPYTERHUB_PROXY_ESTATE"
#: for exchanges to end
SETTLE_S = 5.0
#: for joined pairs to send what they have read
FLUSH_S = 1.0
CHECK_TIMEOUT_S = 30.0


@dataclass(slots=True)
class IdleClient:
    """A client between two requests, or in the middle of a request's head."""

    fd: int
    #: what has been read and belongs to no exchange
    unread: bytes


@dataclass(slots=True)
class Pair:
    client_fd: int
    upstream_fd: int
    route_path: str
    route_data: dict[str, Any]
    borders: tuple[FrameBorders | None, FrameBorders | None]


@dataclass(slots=True)
class Member:
    """A worker of a keeper."""

    pid: int
    channel_fd: int
    #: read from its channel and not yet understood
    unread: bytes


@dataclass(slots=True)
class Estate:
    table: list[tuple[str, dict[str, Any], float]]
    counters: Counters
    #: by the purpose
    listeners: dict[str, list[int]] = field(default_factory=dict)
    clients: list[IdleClient] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    crew: list[Member] = field(default_factory=list)
    #: of a worker's channel to its keeper
    unread: bytes = b""

    def fds(self) -> list[int]:
        return [
            *(fd for fds in self.listeners.values() for fd in fds),
            *(client.fd for client in self.clients),
            *(fd for pair in self.pairs for fd in (pair.client_fd, pair.upstream_fd)),
            *(member.channel_fd for member in self.crew),
        ]


async def successor_can_start() -> bool:
    """Try the program as it is on disk now, as far as that can be done beside this one."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *sys.orig_argv[1:], "--version", stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            status = await process.wait()
    except TimeoutError:
        process.kill()
        status = await process.wait()
    if status:
        log.error("the successor cannot start; this process goes on")
    return not status


def give_way(estate: Estate, keep: Sequence[int] = ()) -> NoReturn:
    """Become the successor. ``keep`` are further sockets that it knows from its environment."""
    with tempfile.TemporaryFile() as file:
        pickle.dump(estate, file)
        file.flush()
        for inherited in (file.fileno(), *estate.fds(), *keep):
            os.set_inheritable(inherited, True)
        # Until the successor has its own handlers, the signals' default would end it.
        for number in (signal.SIGUSR2, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_DFL:
                signal.signal(number, signal.SIG_IGN)
        log.info("%d connections go over", len(estate.clients) + len(estate.pairs))
        os.execve(sys.executable, sys.orig_argv, {**os.environ, VARIABLE: str(file.fileno())})


def inherit() -> Estate | None:
    """Give what a predecessor has left, if this process had one."""
    number = os.environ.pop(VARIABLE, "")
    if not number:
        return None
    os.lseek(int(number), 0, os.SEEK_SET)
    with os.fdopen(int(number), "rb") as file:
        estate: Estate = pickle.load(file)
    for fd in estate.fds():
        os.set_inheritable(fd, False)
    return estate
