"""Several processes on one public port: one that keeps the table and answers the REST API, and workers that proxy.

The keeper makes all listening sockets, starts the workers with the same command line, and gives each the whole table;
then each change, in order. The REST API answers when all workers have made the change: a route that was added is there
for whoever comes next, wherever the kernel takes them. What workers know alone (activity, counts) is collected when
somebody asks. A worker that ends is replaced, and meets its sockets with all who wait there.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any

from .channel import Channel
from .counters import Counters
from .protocol.routes import RouteTable
from .succession import Member

log = logging.getLogger(__name__)

#: what tells a process that it is a worker: the numbers of its channel and of its listening sockets
WORKER_VARIABLE = "JUPYTERHUB_PROXY_WORKER"
#: a worker that does not answer for so long is replaced
ANSWER_TIMEOUT_S = 10.0
#: before a worker that ended is replaced, lest one that cannot start keeps us busy
RESTART_DELAY_S = 0.5


class Crew:
    """The keeper's view of the workers."""

    def __init__(
        self,
        routes: RouteTable,
        counters: Counters,
        listeners: Sequence[Sequence[socket.socket]],
        command_line: Sequence[str],
        left: Sequence[Member] = (),
    ) -> None:
        """One worker for each group of listening sockets; those that are ``left`` by a predecessor serve already."""
        self.command_line = command_line
        self._routes = routes
        self._counters = counters
        self._members = [_Member(self, sockets, member) for sockets, member in itertools.zip_longest(listeners, left)]
        #: counts of workers that are gone
        self._past = Counters()
        self.is_stopping = False

    async def run(self) -> None:
        """Keep all workers running until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for member in self._members:
                tasks.create_task(member.run())

    async def started(self) -> None:
        """Wait until all serve."""
        for member in self._members:
            await member.is_serving.wait()

    async def tell(self, *change: Any) -> None:
        """Have a change made by all workers: ``("add", path, data, moment)`` or ``("remove", path)``."""
        await asyncio.gather(*(member.ask(change) for member in self._members))

    async def collect(self) -> Counters:
        """Bring the table's activity up to date, and give the counts of all workers and of this process."""
        reports = await asyncio.gather(*(member.ask(("report",)) for member in self._members))
        total = Counters()
        total.add(self._counters)
        total.add(self._past)
        for report in reports:
            if report is not None:
                self.take_activity(report["activity"])
                total.add(report["counters"])
        total.routes, total.started_at = len(self._routes), self._counters.started_at
        return total

    def take_activity(self, activity: dict[str, float]) -> None:
        for path, moment in activity.items():
            route = self._routes.get(path)
            if route is not None:
                route.last_activity = max(route.last_activity, moment)

    def table(self) -> list[tuple[str, dict[str, Any], float]]:
        return self._routes.listed()

    def lost(self, last_report: dict[str, Any] | None) -> None:
        """A worker is gone; what it counted since its last report is lost with it."""
        if last_report is not None:
            past = last_report["counters"]
            past.client_connections = past.open_websockets = 0
            self._past.add(past)

    async def replace(self) -> None:
        """Let each worker give way to its successor."""
        for member in self._members:
            member.signal(signal.SIGUSR2)

    async def bequeath(self) -> list[Member] | None:
        """Give what a successor of this process needs to know of its workers; None if one is missing."""
        for member in self._members:
            await member.wait_for_answers()
        if not all(member.is_there for member in self._members):
            return None
        return [member.bequeath() for member in self._members]

    def reload(self) -> None:
        """Let the workers load their certificates again. One that is about to start does so anyway."""
        for member in self._members:
            if member.is_serving.is_set():
                member.signal(signal.SIGHUP)

    async def stop(self, number: int) -> None:
        """Pass the signal on and wait for the workers' end."""
        self.is_stopping = True
        for member in self._members:
            member.signal(number)
        for member in self._members:
            await member.has_ended.wait()


class _Member:
    def __init__(self, crew: Crew, sockets: Sequence[socket.socket], left: Member | None) -> None:
        """``left`` by a predecessor of this process."""
        self._crew = crew
        self._sockets = sockets
        self._left = left
        self._pid = 0
        self._socket: socket.socket | None = None
        self._channel: Channel | None = None
        #: answers that are awaited, in the order of the questions
        self._awaited: list[asyncio.Future[Any]] = []
        self._last_report: dict[str, Any] | None = None
        self.is_serving = asyncio.Event()
        self.has_ended = asyncio.Event()

    async def run(self) -> None:
        try:
            while not self._crew.is_stopping:
                if self._left is not None:
                    await self._take_over(self._left)
                    self._left = None
                else:
                    await self._start()
                await self._listen()
                if not self._crew.is_stopping:
                    log.error("a worker has ended and is replaced")
                    await asyncio.sleep(RESTART_DELAY_S)
        finally:
            self.has_ended.set()

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._pid = self._spawn([theirs.fileno(), *(sock.fileno() for sock in self._sockets)])
        self._socket = ours
        self._channel = await Channel.over(ours.dup())
        # From here on each change is sent as well: none is missed, and none is made twice.
        self._channel.send(("table", self._crew.table()))

    def _spawn(self, numbers: Sequence[int]) -> int:
        """Start the process, which inherits the sockets with these numbers. Gives its own."""
        for number in numbers:
            os.set_inheritable(number, True)
        try:
            return os.posix_spawn(
                sys.executable,
                [sys.executable, "-m", "jupyterhub.proxyserver", *self._crew.command_line],
                {**os.environ, WORKER_VARIABLE: ",".join(map(str, numbers))},
            )
        finally:
            for number in numbers:
                os.set_inheritable(number, False)  # or the next worker would keep this one's channel open

    async def _take_over(self, left: Member) -> None:
        self._pid = left.pid
        self._socket = socket.socket(fileno=left.channel_fd)
        self._channel = await Channel.over(self._socket.dup(), left.unread)
        self.is_serving.set()

    async def _listen(self) -> None:
        """Take the worker's answers until it ends."""
        assert self._channel is not None and self._socket is not None
        try:
            while True:
                answer = await self._channel.receive()
                if answer == "serving":
                    self.is_serving.set()
                elif self._awaited:
                    self._awaited.pop(0).set_result(answer)
        except EOFError:
            pass
        finally:
            self._channel.close()
            self._socket.close()
            self._channel = None
            self.is_serving.clear()
            for future in self._awaited:
                if not future.done():
                    future.set_result(None)
            self._awaited.clear()
            self._crew.lost(self._last_report)
            self._last_report = None
        if not self._crew.is_stopping:
            self.signal(signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            await asyncio.to_thread(os.waitpid, self._pid, 0)
        self._pid = 0

    async def ask(self, question: Any) -> Any:
        """Give the worker's answer, or None if it is gone: its successor begins with the table as it is then."""
        if self._channel is None:
            return None
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._awaited.append(future)
        self._channel.send(question)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                answer = await asyncio.shield(future)
        except TimeoutError:
            log.error("a worker does not answer and is replaced")
            self.signal(signal.SIGKILL)
            return None
        if question == ("report",):
            self._last_report = answer
        return answer

    async def wait_for_answers(self) -> None:
        if self._awaited:
            await asyncio.wait(self._awaited)

    @property
    def is_there(self) -> bool:
        return self._channel is not None

    def bequeath(self) -> Member:
        assert self._channel is not None and self._socket is not None
        self._channel.pause()
        return Member(self._pid, self._socket.fileno(), self._channel.unread)

    def signal(self, number: int) -> None:
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)


class Work:
    """A worker's side: makes the changes, gives the reports."""

    def __init__(self, channel: Channel, routes: RouteTable, counters: Counters) -> None:
        self._channel = channel
        self._routes = routes
        self._counters = counters
        self._reported: dict[str, float] = {}

    @property
    def unread(self) -> bytes:
        """Stop reading; give what a successor has to begin with."""
        self._channel.pause()
        return self._channel.unread

    async def receive_table(self) -> None:
        _, table = await self._channel.receive()
        self._routes.fill(table)

    async def run(self) -> None:
        """Serve the keeper until it is gone (``EOFError``)."""
        self._channel.send("serving")
        while True:
            match await self._channel.receive():
                case ("add", path, data, moment):
                    self._routes.add(path, data, now=moment)
                    self._channel.send("done")
                case ("remove", path):
                    self._routes.remove(path)
                    self._channel.send("done")
                case ("report",):
                    self._channel.send(self._report())

    def _report(self) -> dict[str, Any]:
        now = {route.path: route.last_activity for route in self._routes}
        news = {path: moment for path, moment in now.items() if self._reported.get(path) != moment}
        self._reported = now
        return {"activity": news, "counters": self._counters}
