"""The program: command line, sockets, signals, exit status. The one place where the proxy is put together.

Exit status, as configurable-http-proxy has it: 1 if it cannot start, with one line that says why; 2 after SIGTERM or
SIGINT. There is no way to end with 0: a proxy that stops has been stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from .control import Control
from .counters import Counters
from .error_pages import ErrorPages, OwnPages, PagesFromDirectory, PagesFromTarget
from .limits import Limits
from .options import Listen, Settings, UsageError, read_settings
from .protocol.heads import split_host
from .protocol.routes import RouteTable
from .server import PublicServer
from .small_http import Answer, SmallServer, WholeRequest
from .tls import api_context, public_context, upstream_context
from .upstreams import Upstreams

log = logging.getLogger(__name__)

EXIT_CANNOT_START = 1
EXIT_STOPPED = 2

#: connections that the kernel holds until we take them: after a hub's restart all browsers come at once
BACKLOG = 2048


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


class CannotListen(Exception):
    """An address cannot be listened on."""


async def serve(settings: Settings) -> int:
    """Serve until a signal comes. Raises ``UsageError`` or ``CannotListen`` before anything is served."""
    counters = Counters()
    routes = RouteTable(host_routing=settings.host_routing)
    if settings.default_target:
        routes.add("/", {"target": settings.default_target}, now=time.time())
    upstreams = Upstreams(tls=upstream_context(settings))
    public_tls, api_tls = public_context(settings), api_context(settings)
    server = PublicServer(
        routes=routes,
        rules=settings.rules,
        limits=Limits(
            keep_alive_s=settings.keep_alive_timeout_s,
            silence_s=settings.timeout_s,
            upstream_silence_s=settings.proxy_timeout_s,
        ),
        upstreams=upstreams,
        error_pages=_error_pages(settings, upstreams),
        counters=counters,
        is_tls=public_tls is not None,
        times_lookups=settings.metrics is not None,
    )
    control = Control(routes, secret=settings.api_secret, counters=counters)

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, number, stopped)

    async with contextlib.AsyncExitStack() as cleanup:
        # The API before the public port: a client that finds the public port open may find its route missing otherwise.
        api = await _listen(cleanup, settings.api, lambda: SmallServer(control.answer), api_tls)
        public = await _listen(cleanup, settings.public, server.connection, public_tls)
        log.info("Proxying %s to %s", _url(public, public_tls), settings.default_target or "(no default)")
        log.info("Proxy API at %s/api/routes", _url(api, api_tls))
        if not settings.api_secret:
            log.warning("REST API is not authenticated.")
        if settings.metrics is not None:
            metrics = await _listen(cleanup, settings.metrics, lambda: SmallServer(_metrics_answer(counters)), None)
            log.info("Serve metrics at %s/metrics", _url(metrics, None))
        if settings.redirect_port is not None:
            where = Listen(settings.public.ip, settings.redirect_port)
            redirect = _redirect_answer(settings.redirect_to or public.port)
            where = await _listen(cleanup, where, lambda: SmallServer(redirect), None)
            log.info("Added HTTP to HTTPS redirection from %s", where)
        if settings.pid_file is not None:
            _write_pid_file(cleanup, settings.pid_file)

        time_keeper = loop.create_task(server.run(), name="time limits")
        waiter = loop.create_task(stopped.wait(), name="wait for a signal")
        done, _ = await asyncio.wait({time_keeper, waiter}, return_when=asyncio.FIRST_COMPLETED)
        if time_keeper in done:
            time_keeper.result()  # raises: without time limits we must not go on
        time_keeper.cancel()
    return EXIT_STOPPED


async def _listen(
    cleanup: contextlib.AsyncExitStack,
    where: Listen,
    protocol: Callable[[], asyncio.Protocol],
    tls: ssl.SSLContext | None,
) -> Listen:
    """Listen until the stack is unwound. Gives the address with the port that the kernel has chosen, if it was 0."""
    loop = asyncio.get_running_loop()
    try:
        if where.socket_path:
            server = await loop.create_unix_server(protocol, where.socket_path, ssl=tls, backlog=BACKLOG)
            cleanup.callback(_remove, Path(where.socket_path))
        else:
            server = await loop.create_server(protocol, where.ip or None, where.port, ssl=tls, backlog=BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else str(error)
        raise CannotListen(f"cannot listen on {where}: {reason}") from error
    # Only the listening sockets: connections end with the process, as their clients expect of a proxy that is stopped.
    cleanup.callback(server.close)
    return where if where.socket_path else Listen(where.ip, server.sockets[0].getsockname()[1])


def _metrics_answer(counters: Counters) -> Callable[[WholeRequest], Answer]:
    def answer(request: WholeRequest) -> Answer:
        if request.head.path_raw != b"/metrics":
            return Answer(404, b"Not Found", {"Content-Type": "text/plain"})
        return Answer(200, counters.as_text().encode(), {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    return answer


def _redirect_answer(to_port: int) -> Callable[[WholeRequest], Answer]:
    def answer(request: WholeRequest) -> Answer:
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


def _stop(number: int, stopped: asyncio.Event) -> None:
    log.warning("Interrupted" if number == signal.SIGINT else "Terminated")
    if stopped.is_set():  # asked twice: a look-up of a name in a thread, say, would keep us for seconds
        os._exit(EXIT_STOPPED)
    stopped.set()


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


def _url(where: Listen, tls: ssl.SSLContext | None) -> str:
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
