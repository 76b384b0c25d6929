"""Several hubs on one machine: the supervisor starts them as workers, watches them, and replaces those that end.

It holds what must be there once and must outlive each worker: the sockets that the hub listens on, the proxy, the pid
file. All workers accept connections from the same sockets, so a new one goes to whoever is free to take it, and none is
refused while a worker is replaced. A worker that has stopped answering is killed, and with it the connections that
would wait for it. What they tell each other is in ``worker.py``; what makes several hubs one is in the database.

SIGTERM and SIGINT end everything, SIGHUP replaces all workers one after the other, SIGUSR1 goes to all workers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from jupyterhub.hub.settings import HubSettings
from jupyterhub.hub.store.engine import async_url
from jupyterhub.words.errors import ConfigurationError

from .app import JupyterHub
from .build import Ending, make_hub_object, make_proxy, open_store, proxy_ends_too, start_proxy, stop_proxy
from .listening import open_sockets
from .settings import settings_from
from .worker import Inherited, Line, death_with_parent

log = logging.getLogger("jupyterhub.supervisor")

#: A worker that was silent for so long is killed. The other hubs have given it up by then.
SILENT_S = 15.0
#: how long a worker may take to start
START_S = 300.0
#: how long a worker may take to end by itself, after it has been asked to
END_S = 120.0
#: pauses before a worker is started again that ended soon after its start, in seconds
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
#: a worker that lived for so long was well
WELL_AFTER_S = 60.0


class Worker:
    """One worker's process, as the supervisor sees it."""

    def __init__(self, process: asyncio.subprocess.Process, line: Line) -> None:
        self.process, self.line = process, line
        self.is_ready = asyncio.Event()
        self.began = self.heard_at = time.monotonic()
        #: it has been asked to end, and is not missed
        self.may_end = False
        #: what it said when it ended: whether the servers have ended too
        self.servers_ended = False

    @classmethod
    async def start(cls, sockets: Sequence[socket.socket]) -> Worker:
        """Start this very program once more, with what it inherits."""
        ours, theirs = socket.socketpair()
        with theirs:
            told, kept_open = Inherited.pass_on(sockets, theirs)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *sys.orig_argv[1:],
                env={**os.environ, **told},
                pass_fds=kept_open,
                # Until it listens to us, it must not keep the sockets for itself when we are gone.
                preexec_fn=death_with_parent(signal.SIGKILL),
            )
        return cls(process, await Line.open(ours))

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def has_ended(self) -> bool:
        return self.process.returncode is not None

    def send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def becomes_ready(self) -> bool:
        """Wait for its start; False if it has ended instead, or takes too long."""
        ready, ended = asyncio.create_task(self.is_ready.wait()), asyncio.create_task(self.process.wait())
        try:
            await asyncio.wait({ready, ended}, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
            ended.cancel()
        return self.is_ready.is_set() and not self.has_ended

    async def wait_ended(self, *, within_s: float = END_S) -> None:
        """Wait for its end, and bring it about if it does not come by itself."""
        try:
            async with asyncio.timeout(within_s):
                await self.process.wait()
        except TimeoutError:
            log.error("worker %i does not end; killing it", self.pid)
            self.send(signal.SIGKILL)
            await self.process.wait()


class Supervisor:
    def __init__(self, *, settings: HubSettings, sockets: Sequence[socket.socket], proxy: Any, number: int) -> None:
        self._settings, self._sockets, self._proxy = settings, sockets, proxy
        self._number = number
        self._workers: set[Worker] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ending = Ending(asyncio.Event())
        self._replacing = asyncio.Lock()

    async def run(self) -> int:
        """Start everything, keep it going until it shall end, end it; give the exit code."""
        self._on_signals()
        self._proxy.restore_routes_hook = self._check_routes
        started = False
        try:
            if self._proxy.should_start:
                await start_proxy(self._proxy)
            # One alone, at first: a mistake of the configuration is told once, and then this ends.
            first = await self._start_worker()
            if not await self._is_up(first):
                return self._ending.code if self._ending.event.is_set() else first.process.returncode or 1
            started = True
            self._keep(first)
            log.info("JupyterHub is now running at %s", self._settings.bind_url)
            for _ in range(self._number - 1):
                self._keep(await self._start_worker())
            self._go(self._watch_for_silence())
            await self._ending.event.wait()
            return self._ending.code
        finally:
            await self._end(started=started)

    async def _is_up(self, worker: Worker) -> bool:
        """Whether a worker has started, unless everything shall end before that."""
        ready, end = asyncio.create_task(worker.becomes_ready()), asyncio.create_task(self._ending.event.wait())
        await asyncio.wait({ready, end}, return_when=asyncio.FIRST_COMPLETED)
        end.cancel()
        if not ready.done():
            ready.cancel()
            return False
        return ready.result()

    def _go(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_signals(self) -> None:
        loop = asyncio.get_running_loop()

        def end(name: str) -> None:
            log.critical("Received signal %s, initiating shutdown...", name)
            self._ending.ask()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end, signal.Signals(number).name)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._go(self._replace_all()))
        loop.add_signal_handler(signal.SIGUSR1, self._pass_on, signal.SIGUSR1)

    def _pass_on(self, number: signal.Signals) -> None:
        for worker in self._workers:
            worker.send(number)

    # -- workers

    async def _start_worker(self) -> Worker:
        worker = await Worker.start(self._sockets)
        log.info("Started worker %i", worker.pid)
        self._workers.add(worker)
        self._go(self._listen_to(worker))
        return worker

    async def _listen_to(self, worker: Worker) -> None:
        while (message := await worker.line.hear()) is not None:
            worker.heard_at = time.monotonic()
            match message["what"]:
                case "ready":
                    worker.is_ready.set()
                case "end":
                    self._ending.ask(proxy=message["proxy"], servers=message["servers"], code=message["code"])
                case "ended":
                    worker.servers_ended = message["servers"]

    def _keep(self, worker: Worker) -> None:
        self._go(self._keep_running(worker))

    async def _keep_running(self, worker: Worker) -> None:
        """Have another worker in the place of this one when it ends without having been asked to by us."""
        pause_s = FIRST_PAUSE_S
        while True:
            status = await worker.process.wait()
            self._workers.discard(worker)
            worker.line.close()
            for other in self._workers:
                other.line.say("died", pid=worker.pid)
            if worker.may_end or self._ending.event.is_set():
                return
            log.error("worker %i ended with status %i; starting another one", worker.pid, status)
            lived_s = time.monotonic() - worker.began
            pause_s = FIRST_PAUSE_S if lived_s > WELL_AFTER_S else min(LONGEST_PAUSE_S, pause_s * 2)
            await asyncio.sleep(pause_s)
            if self._ending.event.is_set():
                return
            worker = await self._start_worker()

    async def _watch_for_silence(self) -> None:
        """Kill workers that have not said for a while that they live: whoever has got to them waits."""
        every_s = 1.0
        while True:
            before = time.monotonic()
            await asyncio.sleep(every_s)
            now = time.monotonic()
            was_paused = now - before > every_s + 2
            for worker in list(self._workers):
                if was_paused:
                    # It was us who did not listen.
                    worker.heard_at = now
                elif worker.is_ready.is_set() and now - worker.heard_at > SILENT_S:
                    log.error("worker %i was silent for %g s; killing it", worker.pid, SILENT_S)
                    worker.send(signal.SIGKILL)

    async def _check_routes(self) -> None:
        """The proxy has started anew: whichever worker gets to it first gives it its routes."""
        for worker in self._workers:
            worker.line.say("check routes")

    async def _replace_all(self) -> None:
        """Replace all workers, one after the other. Each goes only when the one in its place answers."""
        async with self._replacing:
            log.info("Replacing all workers")
            for old in list(self._workers):
                # one that is just starting may have read what was before
                if not await self._is_up(old) or self._ending.event.is_set():
                    continue
                new = await self._start_worker()
                if not await self._is_up(new):
                    log.critical("The new worker does not start: the old ones go on. See its output above.")
                    new.send(signal.SIGKILL)
                    self._workers.discard(new)
                    return
                self._keep(new)
                old.may_end = True
                old.send(signal.SIGTERM)
                await old.wait_ended()
            log.info("All workers are replaced")

    # -- the end

    async def _end(self, *, started: bool) -> None:
        """End all workers: the last one alone, because it ends the servers, if they shall end."""
        ending = self._ending
        ending.event.set()
        # the last one is one that can do it
        ordered = sorted(self._workers, key=lambda worker: worker.is_ready.is_set())
        others, last = ordered[:-1], ordered[-1] if ordered else None
        if last is not None:
            last.line.say("rest")
        for worker in others:
            worker.may_end = True
            worker.line.say("end", servers=False, drain=False)
        await asyncio.gather(*(worker.wait_ended(within_s=SILENT_S) for worker in others))
        servers_ended = not started
        if last is not None:
            last.may_end = True
            last.line.say("end", servers=ending.servers, drain=False)
            await last.wait_ended()
            await asyncio.sleep(0)  # what it has said last is heard
            servers_ended = last.servers_ended or not started
        for task in list(self._tasks):
            task.cancel()
        for each in self._sockets:
            each.close()
        if self._proxy.should_start and started:
            if proxy_ends_too(self._settings, ending, servers_end=servers_ended):
                log.info("Cleaning up proxy...")
                await stop_proxy(self._proxy)
            elif hasattr(self._proxy, "leave"):
                await self._proxy.leave()
        elif self._proxy.should_start:
            await stop_proxy(self._proxy)
        log.info("...done")


async def supervise(app: JupyterHub) -> int:
    """Run ``app.hubs`` workers until they shall end; give the exit code."""
    app.init_internal_ssl()
    settings = settings_from(app)
    if async_url(app.db_url).get_backend_name() != "postgresql":
        raise ConfigurationError(
            f"JupyterHub.hubs = {app.hubs} needs PostgreSQL, which hubs can share: set JupyterHub.db_url to "
            "postgresql://…, or JupyterHub.hubs to 1."
        )
    # What is wrong with the database is told before anything is started, and what is done to it is done once.
    await (await open_store(app)).close()
    sockets = open_sockets(settings)
    proxy = make_proxy(app, settings, make_hub_object(settings))
    metrics = tempfile.mkdtemp(prefix="jupyterhub-metrics-")
    # All workers count together: each answers with the metrics of all.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics
    try:
        return await Supervisor(settings=settings, sockets=sockets, proxy=proxy, number=app.hubs).run()
    finally:
        shutil.rmtree(metrics, ignore_errors=True)
