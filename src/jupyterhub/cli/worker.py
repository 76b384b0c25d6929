"""A hub as one worker of several under a supervisor (``supervisor.py``): what it inherits, what they tell each other.

The supervisor passes the sockets to listen on and one end of a pair of sockets. On that pair both speak lines of JSON:
the worker says that it is ready, that it lives, that somebody wants the whole hub to end; the supervisor says that
this worker shall end, that the proxy has lost its routes, that another worker has died.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

log = logging.getLogger("jupyterhub.worker")

#: how the supervisor tells a process that it is a worker
VARIABLE = "JUPYTERHUB_WORKER"
BEAT_EVERY_S = 1.0
#: pause before what the supervisor asked for is tried again
RETRY_S = 1.0
_PR_SET_PDEATHSIG = 1

Message = dict[str, Any]


@dataclass(frozen=True)
class Inherited:
    """What the supervisor has passed."""

    sockets: Sequence[socket.socket]
    control: socket.socket

    @classmethod
    def take(cls) -> Inherited | None:
        """Give what this process has inherited; None if it is no worker. Nobody that it starts inherits it too."""
        passed = os.environ.pop(VARIABLE, "")
        if not passed:
            return None
        *sockets, control = (socket.socket(fileno=number) for number in json.loads(passed))
        for each in (*sockets, control):
            each.set_inheritable(False)
        return cls(sockets, control)

    @staticmethod
    def pass_on(sockets: Sequence[socket.socket], control: socket.socket) -> tuple[dict[str, str], list[int]]:
        """Give the environment, and the file descriptors to keep open, of a new worker."""
        numbers = [each.fileno() for each in (*sockets, control)]
        return {VARIABLE: json.dumps(numbers)}, numbers


def death_with_parent(number: signal.Signals | None) -> Callable[[], None]:
    """Make a function that lets the kernel send this process a signal when its parent dies; None for none.

    It may be called between fork and exec: all that must be loaded is loaded here. Only Linux can do it.
    """
    if sys.platform != "linux":
        return lambda: None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, int(number or 0))


class Line:
    """One end of the pair."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, end: socket.socket) -> Line:
        end.setblocking(False)
        return cls(*await asyncio.open_connection(sock=end))

    def say(self, what: str, **details: Any) -> None:
        """Send a message; nothing happens if nobody is there any more."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps({"what": what, **details}).encode() + b"\n")

    async def hear(self) -> Message | None:
        """Give the next message; None when the other end is gone."""
        try:
            line = await self._reader.readline()
        except OSError:
            return None
        return json.loads(line) if line.endswith(b"\n") else None

    def close(self) -> None:
        with suppress(OSError):
            self._writer.close()


class Supervised:
    """The worker's side: beats, and does what the supervisor says."""

    def __init__(
        self,
        line: Line,
        *,
        end: Callable[[bool | None, bool], None],
        check_routes: Callable[[], Awaitable[Any]],
        bury: Callable[[int], Awaitable[Any]],
        rest: Callable[[], None],
    ) -> None:
        """``end(servers, drain)``: see ``Ending``. ``rest``: begin nothing any more, the end is near."""
        self._line, self._end, self._check_routes, self._bury, self._rest = line, end, check_routes, bury, rest
        self._tasks: set[asyncio.Task[None]] = set()

    def ready(self) -> None:
        self._line.say("ready")

    def ask_for_end(self, *, proxy: bool | None = None, servers: bool | None = None, code: int = 0) -> None:
        """Tell the supervisor that somebody wants the whole hub to end, not this worker alone."""
        self._line.say("end", proxy=proxy, servers=servers, code=code)

    def ended(self, *, servers: bool) -> None:
        """Say as the last thing whether the servers have ended too."""
        self._line.say("ended", servers=servers)

    async def run(self) -> None:
        """Listen until cancelled. A worker without a supervisor ends: the next one starts its own."""
        death_with_parent(None)()  # from now on its end is noticed here, and this worker ends in good order
        beats = asyncio.create_task(self._beat(), name="beats for the supervisor")
        try:
            while (message := await self._line.hear()) is not None:
                match message["what"]:
                    case "end":
                        self._end(message["servers"], message["drain"])
                    case "rest":
                        self._rest()
                    case "check routes":
                        self._go("checking the routes of a new proxy", self._check_routes)
                    case "died":
                        self._go("giving up a worker that has died", partial(self._bury, message["pid"]))
            log.critical("The supervisor is gone: this worker ends, and leaves servers and proxy as they are.")
            self._end(False, False)
        finally:
            for task in (beats, *self._tasks):
                task.cancel()

    async def _beat(self) -> None:
        while True:
            self._line.say("alive")
            await asyncio.sleep(BEAT_EVERY_S)

    def _go(self, what: str, work: Callable[[], Awaitable[Any]]) -> None:
        """Do it beside listening, and again until it has worked: the database may be away just now."""
        task = asyncio.create_task(self._until_done(what, work), name=what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _until_done(self, what: str, work: Callable[[], Awaitable[Any]]) -> None:
        while True:
            try:
                await work()
                return
            except Exception as error:
                log.warning("%s failed (%s); trying again", what, error or type(error).__name__)
            await asyncio.sleep(RETRY_S)
