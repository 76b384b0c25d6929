"""The program: command line, sockets, signals, exit status. The one place where the proxy is put together.

Exit status, as configurable-http-proxy has it: 1 if it cannot start, with one line that says why; 2 after SIGTERM,
SIGINT or SIGQUIT. There is no way to end with 0: a proxy that stops has been stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from .access_log import AccessLog
from .certificates import CHALLENGE_PATH, Acme, Renewal
from .channel import Channel
from .control import Control
from .counters import Counters
from .crew import WORKER_VARIABLE, Crew, Work
from .error_pages import ErrorPages, OwnPages, PagesFromDirectory, PagesFromTarget
from .listening import CannotListen, Doors, address_of
from .options import Listen, Settings, UsageError, read_settings
from .protocol.heads import split_host
from .protocol.routes import RouteTable
from .server import PublicServer
from .small_http import Answer, SmallServer, WholeRequest
from .succession import Estate, give_way, inherit, successor_can_start
from .tls import Reloading, ServerTls, UpstreamTls, api_tls, public_tls, upstream_tls
from .upstreams import Upstreams

log = logging.getLogger(__name__)

T = TypeVar("T")

EXIT_CANNOT_START = 1
EXIT_STOPPED = 2

#: what runs may go on for so long after SIGQUIT, if the command line does not say
DRAIN_S = 30.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the proxy until it is stopped. Gives the exit status."""
    try:
        settings = read_settings(argv, os.environ)
        _set_up_logging(settings.log_level)
        _raise_file_limit()
        # What is here now stays for ever, and a request leaves no cycles behind: look for garbage less often.
        gc.freeze()
        gc.set_threshold(10_000, 20, 50)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(serve(settings))
    except (UsageError, CannotListen) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_CANNOT_START
    except KeyboardInterrupt:  # before our own handler was there
        return EXIT_STOPPED


async def serve(settings: Settings) -> int:
    """Serve until a signal comes. Raises ``UsageError`` or ``CannotListen`` before anything is served."""
    estate = inherit()
    inherited = os.environ.get(WORKER_VARIABLE, "")
    if inherited:
        return await _work(settings, [socket.socket(fileno=int(number)) for number in inherited.split(",")], estate)
    counters = Counters(workers=settings.workers)
    routes = RouteTable(host_routing=settings.host_routing)
    if settings.default_target:
        routes.add("/", {"target": settings.default_target}, now=time.time())
    if estate is not None:
        counters.add(estate.counters)
        counters.workers = settings.workers
        routes.fill(estate.table)
    if settings.acme is not None:
        _prepare(settings.acme)
    tls = _Tls(settings)
    stop = _Signals(settings.drain_timeout_s)

    async with contextlib.AsyncExitStack() as cleanup:
        doors = Doors(cleanup, {} if estate is None else estate.listeners)
        groups = doors.listen_shared(settings.public, settings.workers)
        public = address_of(settings.public, groups[0])
        crew: Crew | None = None
        if settings.workers > 1:
            crew = Crew(routes, counters, groups, settings.command_line, () if estate is None else estate.crew)
        control = Control(routes, secret=settings.api_secret, counters=counters, crew=crew)
        tasks = await cleanup.enter_async_context(_Tasks())
        reload = tls.reload_with(tasks, stop, crew)
        renewal: Renewal | None = None
        if settings.acme is not None:
            renewal = Renewal(settings.acme, reload)
            stop.at_hangup(renewal.ask)
        # The API before the public port: a client that finds the public port open may find its route missing otherwise.
        answer = control.answer if crew is None else control.answer_for_all
        api = await doors.open("api", settings.api, lambda: SmallServer(answer), _context(tls.api))
        server: PublicServer | None = None
        if crew is not None:
            tasks.begin(crew.run(), "workers")
            await tasks.first(crew.started())
        else:
            server = _public_server(settings, routes, counters, tls)
            tasks.begin(server.run(), "time limits")
            if estate is not None:
                await server.adopt(estate.clients, estate.pairs, routes)
            await doors.open_sockets(groups[0], server.connection, _context(tls.public))
        log.info("Proxying %s to %s", _url(public, tls.public), settings.default_target or "(no default)")
        log.info("Proxy API at %s/api/routes", _url(api, tls.api))
        if not settings.api_secret:
            log.warning("REST API is not authenticated.")
        if settings.metrics is not None:
            metrics_answer = _metrics_answer(crew.collect if crew is not None else counters.itself)
            metrics = await doors.open("metrics", settings.metrics, lambda: SmallServer(metrics_answer))
            log.info("Serve metrics at %s/metrics", _url(metrics, None))
        if settings.redirect_port is not None:
            redirect = _redirect_answer(settings.redirect_to or public.port, settings.acme)
            where = Listen(settings.public.ip, settings.redirect_port)
            where = await doors.open("redirect", where, lambda: SmallServer(redirect))
            log.info("Added HTTP to HTTPS redirection from %s", where)
        if renewal is not None:
            tasks.begin(renewal.run(), "ACME")
        if settings.pid_file is not None:
            _write_pid_file(cleanup, settings.pid_file)

        while await tasks.first(stop.wait()) == signal.SIGUSR2:
            if not await successor_can_start():
                continue
            if renewal is not None:
                await renewal.interrupt()
            estate = Estate(routes.listed(), counters)
            if crew is not None:
                await crew.replace()
                members = await crew.bequeath()
                if members is None:
                    log.error("a worker is missing: the successor is not started")
                    continue
                estate.crew = members
                give_way(estate, doors.bequeath(estate))
            assert server is not None
            doors.close()
            estate.clients, estate.pairs = await server.bequeath()
            counters.client_connections = counters.open_websockets = 0
            estate.table = routes.listed()
            give_way(estate, doors.bequeath(estate))
        if crew is not None:
            await crew.stop(stop.number)
        elif server is not None:
            doors.close("public")
            await _drain(server, stop)
    return EXIT_STOPPED


async def _work(settings: Settings, inherited: Sequence[socket.socket], estate: Estate | None) -> int:
    """Be a worker: proxy what comes in on sockets that the keeper has made, by the table that it sends."""
    counters = Counters()
    routes = RouteTable(host_routing=settings.host_routing)
    tls = _Tls(settings)
    stop = _Signals(settings.drain_timeout_s)
    work = Work(await Channel.over(inherited[0].dup(), b"" if estate is None else estate.unread), routes, counters)
    if estate is None:
        await work.receive_table()
    else:
        counters.add(estate.counters)
        routes.fill(estate.table)
    server = _public_server(settings, routes, counters, tls)
    async with contextlib.AsyncExitStack() as cleanup:
        tasks = await cleanup.enter_async_context(_Tasks())
        tls.reload_with(tasks, stop)
        tasks.begin(server.run(), "time limits")
        if estate is not None:
            await server.adopt(estate.clients, estate.pairs, routes)
        doors = Doors(cleanup, {})
        await doors.open_sockets(inherited[1:], server.connection, _context(tls.public))
        tasks.begin(work.run(), "keeper")
        with contextlib.suppress(EOFError):  # without the keeper nobody tells us what to do
            if await tasks.first(stop.wait()) == signal.SIGUSR2:
                doors.close()
                clients, pairs = await server.bequeath()
                counters.client_connections = counters.open_websockets = 0
                unread = work.unread
                estate = Estate(routes.listed(), counters, clients=clients, pairs=pairs, unread=unread)
                give_way(estate, [sock.fileno() for sock in inherited])
            doors.close()
            await tasks.first(_drain(server, stop))
    return EXIT_STOPPED


def _public_server(settings: Settings, routes: RouteTable, counters: Counters, tls: _Tls) -> PublicServer:
    upstreams = Upstreams(tls=lambda: tls.upstream.context, connect_timeout_s=settings.connect_timeout_s)
    return PublicServer(
        routes=routes,
        rules=settings.rules,
        limits=settings.limits,
        upstreams=upstreams,
        error_pages=_error_pages(settings, upstreams),
        counters=counters,
        is_tls=tls.public is not None,
        times_lookups=settings.metrics is not None,
        trust=settings.trust,
        access_log=AccessLog() if settings.access_log else None,
    )


class _Tls:
    """All that this process has made of certificates."""

    def __init__(self, settings: Settings) -> None:
        self.public: ServerTls | None = public_tls(settings)
        self.api: ServerTls | None = api_tls(settings)
        self.upstream: UpstreamTls = upstream_tls(settings)

    def reload_with(self, tasks: _Tasks, signals: _Signals, crew: Crew | None = None) -> Callable[[], None]:
        """Load them again when their files change, and at SIGHUP; workers are told of that. Gives what does it now.

        A proxy without certificates has nothing to load: to it, SIGHUP means what it means to most programs.
        """
        kept = [files for files in (self.public, self.api, self.upstream) if files is not None and any(files.paths)]
        if not kept:
            return lambda: None
        reloading = Reloading(kept)
        tasks.begin(reloading.run(), "certificates")

        def ask() -> None:
            reloading.ask()
            if crew is not None:
                crew.reload()

        signals.at_hangup(ask)
        return ask


def _context(tls: ServerTls | None) -> ssl.SSLContext | None:
    return None if tls is None else tls.context


class _Signals:
    """What the program is asked to do: to end, and how long what runs may go on; or to give way to a successor."""

    def __init__(self, drain_timeout_s: float) -> None:
        self.number = int(signal.SIGTERM)
        self.drain_timeout_s = drain_timeout_s
        self._is_asked = asyncio.Event()
        self._is_ending = False
        self._at_hangup: list[Callable[[], None]] = []
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR2):
            loop.add_signal_handler(number, self._heard, number)

    def at_hangup(self, call: Callable[[], None]) -> None:
        """Call this too at each SIGHUP; without anything to call it ends the program."""
        if not self._at_hangup:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hung_up)
        self._at_hangup.append(call)

    def _hung_up(self) -> None:
        for call in self._at_hangup:
            call()

    async def wait(self) -> int:
        """Give the number of the signal that has come."""
        await self._is_asked.wait()
        if self.number == signal.SIGUSR2:  # may be followed by others
            self._is_asked.clear()
        return self.number

    def _heard(self, number: int) -> None:
        if number == signal.SIGUSR2:
            if not self._is_asked.is_set():
                self.number = number
                self._is_asked.set()
            return
        log.warning("Interrupted" if number == signal.SIGINT else "Terminated")
        if self._is_ending:  # asked twice: do not drain, do not wait for a name looked up in a thread
            os._exit(EXIT_STOPPED)
        self._is_ending = True
        self.number = number
        if number == signal.SIGINT:
            self.drain_timeout_s = 0.0
        elif number == signal.SIGQUIT:
            self.drain_timeout_s = self.drain_timeout_s or DRAIN_S
        self._is_asked.set()


class _Tasks:
    """Tasks that must not end as long as the program runs."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> _Tasks:
        return self

    async def __aexit__(self, *exception: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def begin(self, work: Coroutine[None, None, None], name: str) -> None:
        self._tasks.add(asyncio.get_running_loop().create_task(work, name=name))

    async def first(self, work: Coroutine[None, None, T]) -> T:
        """Wait for this; raise what one of the tasks raises before."""
        task = asyncio.get_running_loop().create_task(work)
        await asyncio.wait({task, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        for other in self._tasks:
            if other.done():
                task.cancel()
                other.result()
        return await task


async def _drain(server: PublicServer, stop: _Signals) -> None:
    """Let what runs go on for as long as it may."""
    if stop.drain_timeout_s:
        server.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(stop.drain_timeout_s):
                await server.wait_until_empty()
        log.info("%d connections are left", server.open_connections)
    # The rest ends with the process, as clients expect of a proxy that is stopped.


def _metrics_answer(
    collect: Callable[[], Coroutine[None, None, Counters]],
) -> Callable[[WholeRequest], Coroutine[None, None, Answer]]:
    async def answer(request: WholeRequest) -> Answer:
        if request.head.path_raw != b"/metrics":
            return Answer(404, b"Not Found", {"Content-Type": "text/plain"})
        counters = await collect()
        return Answer(200, counters.as_text().encode(), {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    return answer


def _prepare(acme: Acme) -> None:
    try:
        acme.prepare()
    except OSError as error:
        raise UsageError(f"--acme-directory: {error.filename or acme.root}: {error.strerror}") from error


def _redirect_answer(to_port: int, acme: Acme | None) -> Callable[[WholeRequest], Answer]:
    def answer(request: WholeRequest) -> Answer:
        path = request.head.path_raw.decode()
        if acme is not None and path.startswith(CHALLENGE_PATH):
            offered = acme.offered(path.removeprefix(CHALLENGE_PATH))
            if offered is not None:
                return Answer(200, offered, {"Content-Type": "application/octet-stream"})
        if request.head.host is None:
            return Answer(400, b"Host is missing", {"Content-Type": "text/plain"})
        host = split_host(request.head.host)[0].decode()
        authority = host if to_port == 443 else f"{host}:{to_port}"
        return Answer(301, b"", {"Location": f"https://{authority}{request.head.target.decode()}"})

    return answer


def _error_pages(settings: Settings, upstreams: Upstreams) -> ErrorPages:
    if settings.error_target is not None:
        return PagesFromTarget(settings.error_target, upstreams)
    if settings.error_path is not None:
        return PagesFromDirectory(settings.error_path)
    return OwnPages()


def _write_pid_file(cleanup: contextlib.AsyncExitStack, path: Path) -> None:
    try:
        path.write_text(str(os.getpid()))
    except OSError as error:
        raise UsageError(f"--pid-file: cannot write {path}: {error.strerror}") from error
    log.info("Writing pid %d to %s", os.getpid(), path)
    cleanup.callback(_remove, path)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _url(where: Listen, tls: ServerTls | None) -> str:
    scheme = "http" if tls is None else "https"
    return f"{scheme}+unix://{where}" if where.socket_path else f"{scheme}://{where}"


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Prefer uvloop: a third less CPU for each request. The standard loop does the same otherwise."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def _set_up_logging(level: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter())
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("asyncio").setLevel(logging.WARNING)


class _Formatter(logging.Formatter):
    """``2026-11-23T06:20:06.187Z [ConfigProxy] info: …``: the line that log collectors of hubs already know."""

    _LEVELS = {"WARNING": "warn"}

    def format(self, record: logging.LogRecord) -> str:
        level = self._LEVELS.get(record.levelname, record.levelname.lower())
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6]
        line = f"{moment}Z [ConfigProxy] {level}: {record.getMessage()}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _raise_file_limit() -> None:
    """Each proxied request holds two sockets; the soft limit of most systems is 1024."""
    try:
        import resource
    except ImportError:
        return
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
