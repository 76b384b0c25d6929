"""Small functions that plugins of JupyterHub have always imported from here: waiting, URLs, tokens, times, decorators.

What the hub itself needs of this kind lives in ``words``; here are the original's names for it, and what our own
authenticators, spawners and proxies share. Light to import: no database, no HTTP client before it is used.
"""

# ruff: noqa: ASYNC109  (the `timeout` parameters are the original's interface)

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import hashlib
import hmac
import inspect
import os
import random
import re
import secrets
import socket
import ssl
import sys
import threading
import time
import traceback
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, TextIO
from urllib.parse import quote

import tornado.util
from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError

from .words import clock, secret_hash
from .words.names import escape_user
from .words.urls import url_path_join

__all__ = [
    "AnyTimeoutError",
    "ISO8601_ms",
    "ISO8601_s",
    "admin_only",
    "asyncio_all_tasks",
    "auth_decorator",
    "authenticated_403",
    "can_connect",
    "catch_db_error",
    "compare_token",
    "exponential_backoff",
    "fmt_ip_url",
    "format_exception",
    "get_accepted_mimetype",
    "get_browser_protocol",
    "hash_token",
    "isoformat",
    "iterate_until",
    "make_ssl_context",
    "maybe_future",
    "metrics_authentication",
    "new_token",
    "print_ps_info",
    "print_stacks",
    "random_port",
    "recursive_update",
    "safe_log",
    "subdomain_hook_idna",
    "subdomain_hook_legacy",
    "token_authenticated",
    "url_escape_path",
    "url_path_join",
    "utcnow",
    "wait_for_http_server",
    "wait_for_server",
    "wait_for_shielded",
]

ISO8601_ms = "%Y-%m-%dT%H:%M:%S.%fZ"
ISO8601_s = "%Y-%m-%dT%H:%M:%SZ"

#: everything that means "it took too long"
AnyTimeoutError = (TimeoutError, tornado.util.TimeoutError)


# -- waiting


def maybe_future(obj: Any) -> asyncio.Future[Any]:
    """Give something to await for the result of a function that may be plain or asynchronous."""
    if inspect.isawaitable(obj):
        return asyncio.ensure_future(obj)
    if isinstance(obj, concurrent.futures.Future):
        return asyncio.wrap_future(obj)
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.set_result(obj)
    return future


async def exponential_backoff(
    pass_func: Callable[..., Any],
    fail_message: str,
    start_wait: float = 0.2,
    scale_factor: float = 2,
    max_wait: float = 5,
    timeout: float = 10,
    timeout_tolerance: float = 0.1,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Call ``pass_func`` (plain or async) until it gives something true, and give that; TimeoutError(``fail_message``).

    Waits are random between nothing and a bound that grows by ``scale_factor`` up to ``max_wait`` seconds, so that
    many who wait for the same thing do not ask together. For the same reason the ``timeout`` is varied by
    ``timeout_tolerance``.
    """
    deadline = time.monotonic() + timeout * random.uniform(1, 1 + max(0.0, timeout_tolerance))
    bound = start_wait
    while True:
        result = await maybe_future(pass_func(*args, **kwargs))
        if result:
            return result
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(fail_message)
        bound = min(max_wait, bound * scale_factor)
        await asyncio.sleep(min(left, random.uniform(0, bound)))


async def wait_for_shielded(awaitable: Awaitable[Any], timeout: float | None) -> Any:
    """Wait for at most ``timeout`` seconds without cancelling what is waited for; TimeoutError."""
    return await asyncio.wait_for(asyncio.shield(awaitable), timeout)


async def iterate_until(deadline_future: asyncio.Future[Any], generator: Any) -> AsyncIterator[Any]:
    """Give the items of an async generator until ``deadline_future`` is done; what is ready by then is still given."""
    async with aclosing(generator) as items:
        while True:
            item = asyncio.ensure_future(anext(items))
            try:
                await asyncio.wait({item, deadline_future}, return_when=asyncio.FIRST_COMPLETED)
                if not item.done():
                    # one more turn of the loop for an item that becomes ready together with the deadline
                    await asyncio.sleep(0)
                if not item.done():
                    return
                try:
                    value = item.result()
                except StopAsyncIteration:
                    return
                yield value
            finally:
                if not item.done():
                    item.cancel()
                    await asyncio.gather(item, return_exceptions=True)


def asyncio_all_tasks(loop: asyncio.AbstractEventLoop | None = None) -> set[asyncio.Task[Any]]:
    """All unfinished tasks (deprecated: use ``asyncio.all_tasks``)."""
    warnings.warn("asyncio_all_tasks is deprecated: use asyncio.all_tasks", DeprecationWarning, stacklevel=2)
    return asyncio.all_tasks(loop)


# -- sockets and servers


#: how long nobody else here is given the same port, in seconds: a server takes a while to listen on it
_PORT_KEPT_S = 60.0
#: ports given → when. The kernel knows of none of them yet, and draws by chance: of 50 at once it gives two the same
#: one every 20th time.
_ports_given: dict[int, float] = {}


def random_port() -> int:
    """Give a port that is free now on this machine. Another program may take it before you do."""
    now = time.monotonic()
    for port in [port for port, given in _ports_given.items() if given < now - _PORT_KEPT_S]:
        del _ports_given[port]
    for _ in range(100):
        with socket.socket() as probe:
            probe.bind(("", 0))
            port = int(probe.getsockname()[1])
        if port not in _ports_given:
            break
    _ports_given[port] = now
    return port


def fmt_ip_url(ip: str) -> str:
    """Write an address for use in a URL: IPv6 in brackets, all else as it is."""
    return f"[{ip}]" if ":" in ip and not ip.startswith("[") else ip


def _reachable(address: str) -> str:
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)


def can_connect(address: str, port: int, unix_socket: bool = False) -> bool:
    """Say whether somebody accepts connections there; blocks for up to a second. With ``unix_socket`` it is a path."""
    try:
        if unix_socket:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(1)
                client.connect(address)
        else:
            socket.create_connection((_reachable(address), port), timeout=1).close()
    except OSError:
        return False
    return True


async def _accepts(address: str, port: int, unix_socket: bool) -> bool:
    """``can_connect`` for coroutines."""
    try:
        async with asyncio.timeout(3):
            if unix_socket:
                _, writer = await asyncio.open_unix_connection(address)
            else:
                _, writer = await asyncio.open_connection(_reachable(address), port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def wait_for_server(address: str, port: int, timeout: float = 10, unix_socket: bool = False) -> None:
    """Wait until somebody accepts connections there; TimeoutError."""
    where = address if unix_socket else f"{fmt_ip_url(_reachable(address))}:{port}"
    await exponential_backoff(
        functools.partial(_accepts, address, port, unix_socket),
        f"Nobody accepts connections at {where} after {timeout:g} seconds",
        start_wait=0.02,
        max_wait=1,
        timeout=timeout,
    )


async def wait_for_http_server(url: str, timeout: float = 10, ssl_context: ssl.SSLContext | None = None) -> Any:
    """Wait until a GET of ``url`` is answered with a status below 500; give the response; TimeoutError."""
    from tornado.httpclient import HTTPRequest  # costs an import that most plugins never need
    from tornado.simple_httpclient import SimpleAsyncHTTPClient

    client = SimpleAsyncHTTPClient(force_instance=True)

    async def answers() -> Any:
        request = HTTPRequest(
            url, follow_redirects=False, connect_timeout=5, request_timeout=min(timeout, 20), ssl_options=ssl_context
        )
        try:
            response = await client.fetch(request, raise_error=False)
        except OSError:
            return None
        return response if response.code < 500 else None

    try:
        return await exponential_backoff(
            answers,
            f"The server at {url} did not answer within {timeout:g} seconds",
            start_wait=0.02,
            max_wait=1,
            timeout=timeout,
        )
    finally:
        client.close()


def make_ssl_context(
    keyfile: str,
    certfile: str,
    cafile: str | None = None,
    verify: bool | None = None,
    check_hostname: bool | None = None,
    purpose: ssl.Purpose = ssl.Purpose.SERVER_AUTH,
) -> ssl.SSLContext | None:
    """Make an SSL context; None when key or certificate is not given.

    ``purpose`` is the standard library's: SERVER_AUTH for a client that checks servers, CLIENT_AUTH for a server. With
    ``verify`` (the default when there is a ``cafile``) the other side must present a certificate that ``cafile``
    signed.
    """
    if not keyfile or not certfile:
        return None
    if verify is None:
        verify = bool(cafile) or purpose is ssl.Purpose.SERVER_AUTH
    context = ssl.create_default_context(purpose, cafile=cafile or None)
    if purpose is ssl.Purpose.SERVER_AUTH:
        context.check_hostname = verify if check_hostname is None else check_hostname
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    context.load_cert_chain(certfile, keyfile)
    return context


# -- URLs


def url_escape_path(path: str, safe: str = "@~") -> str:
    """Percent-encode a path segment; ``@`` and ``~`` stay as they are."""
    return escape_user(path) if safe == "@~" else quote(path, safe=safe)


def get_browser_protocol(request: HTTPServerRequest) -> str:
    """The protocol that the browser uses, as far as proxies in front of us tell: ``http`` or ``https``.

    The first element counts of: ``Forwarded`` (its ``proto``), ``X-Scheme``, ``X-Forwarded-Proto``; then the
    connection's.
    """
    headers = request.headers
    for field in headers.get("Forwarded", "").split(",")[0].split(";"):
        name, _, value = field.partition("=")
        if name.strip().lower() == "proto" and value.strip(' "'):
            return value.strip(' "').lower()
    for header in ("X-Scheme", "X-Forwarded-Proto"):
        value = headers.get(header, "").split(",")[0].strip().lower()
        if value:
            return value
    return str(request.protocol)


def get_accepted_mimetype(accept_header: str, choices: Iterable[str] | None = None) -> str | None:
    """Give the MIME type that an Accept header likes best, of ``choices`` if there are any; None if none fits."""
    wanted = []
    for position, part in enumerate(accept_header.split(",")):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip().lower() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        if name:
            wanted.append((-quality, position, name))
    offered = list(choices) if choices is not None else None
    for _, _, name in sorted(wanted):
        if offered is None or name in offered:
            return name
        if name == "*/*" and offered:
            return offered[0]
        if name.endswith("/*"):
            for choice in offered:
                if choice.startswith(name[:-1]):
                    return choice
    return None


_DNS_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def _idna_label(name: str) -> str | None:
    """A DNS label that is the name itself, or its IDNA form; None if the name is no safe label."""
    # all digits would make an IP address, and two hyphens may stand for something else (xn--, our own hashes)
    if "--" in name or name.isdigit() or len(name) > 63:
        return None
    if _DNS_LABEL.fullmatch(name):
        return name
    if name.isascii():
        return None
    try:
        import idna  # tables of 0.3 MB, needed with subdomains only

        label = idna.encode(name).decode()
    except (ImportError, ValueError):
        return None
    return label if len(label) <= 63 and "." not in label else None


def subdomain_hook_idna(name: str, domain: str, kind: str) -> str:
    """The host name of a user's or a service's pages: a readable DNS label; a hash where the name does not fit one.

    ``kind`` is ``user`` or ``service``. Different names give different host names (up to hash collisions).
    """
    label = _idna_label(name)
    if label is None:
        stem = re.sub(r"[^a-z0-9]", "", name.lower())[:8]
        label = f"{kind[0]}-{stem}--{hashlib.sha256(name.encode()).hexdigest()[:7]}"
    return f"{label}.{domain}" if kind == "user" else f"{label}--{kind}.{domain}"


def subdomain_hook_legacy(name: str, domain: str, kind: str) -> str:
    """The host names of JupyterHub before 5.0: percent-escapes with ``_``; all services on ``services.<domain>``."""
    if kind == "service":
        return f"services.{domain}"
    label = quote(name, safe="").replace("_", "%5F").replace("~", "%7E").replace("%", "_").lower()
    return f"{label}.{domain}"


# -- tokens


def new_token(*args: Any, **kwargs: Any) -> str:
    """Give a new random token of 32 hex characters."""
    return secret_hash.new_token()


def hash_token(token: str, salt: int | bytes | str = 8, rounds: int = 16384, algorithm: str = "sha512") -> str:
    """Hash a token as ``algorithm:rounds:salt:digest``. ``salt`` is a number of random bytes, or the salt itself."""
    if isinstance(salt, int):
        salt = secrets.token_hex(salt)
    elif isinstance(salt, bytes):
        salt = salt.decode()
    state = hashlib.new(algorithm, salt.encode())
    for _ in range(rounds):
        state.update(token.encode())
    return f"{algorithm}:{rounds}:{salt}:{state.hexdigest()}"


def compare_token(compare: str, token: str) -> bool:
    """Compare a token with a hash that ``hash_token`` made, in constant time."""
    algorithm, rounds, salt, _ = compare.split(":")
    return hmac.compare_digest(compare, hash_token(token, salt=salt, rounds=int(rounds), algorithm=algorithm))


# -- times


def utcnow(*, with_tz: bool = True) -> datetime:
    """The time in UTC; naive when ``with_tz`` is false, as the tables hold it."""
    return datetime.now(UTC) if with_tz else datetime.now(UTC).replace(tzinfo=None)


def isoformat(dt: datetime | str | None) -> str | None:
    """Write a time with ``Z``; naive ones are taken as UTC, text passes as it is."""
    return clock.isoformat(dt) if isinstance(dt, datetime) or dt is None else str(dt)


# -- decorators of request handlers


def auth_decorator(check_auth: Callable[..., Any]) -> Callable[..., Any]:
    """Turn a check (a function of the handler and of keyword arguments, that raises) into a decorator of methods."""

    def decorator(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
            check_auth(self, **kwargs)
            return method(self, *args, **kwargs)

        return checked

    decorator.__name__ = check_auth.__name__
    decorator.__doc__ = check_auth.__doc__
    return decorator


@auth_decorator
def token_authenticated(self: Any, **kwargs: Any) -> None:
    """Let only requests pass that carry a valid token in the Authorization header; 403."""
    if self.get_current_user_token() is None:
        raise HTTPError(403)


@auth_decorator
def authenticated_403(self: Any, **kwargs: Any) -> None:
    """Let only authenticated requests pass; 403 instead of a redirect to the login page."""
    if self.current_user is None:
        raise HTTPError(403)


@auth_decorator
def admin_only(self: Any, **kwargs: Any) -> None:
    """Let only users with the admin flag pass; 403 (deprecated: use ``jupyterhub.scopes.needs_scope``)."""
    user = self.current_user
    if user is None or not user.admin:
        raise HTTPError(403)


@auth_decorator
def metrics_authentication(self: Any, **kwargs: Any) -> None:
    """Let only requesters with ``read:metrics`` pass, unless the hub shows its metrics to everybody."""
    if not self.authenticate_prometheus:
        return
    if "read:metrics" not in self.parsed_scopes:
        raise HTTPError(403, "Access to metrics requires scope 'read:metrics'")


def catch_db_error(f: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a coroutine method of something with ``db`` and ``log``: a database error rolls back and is logged."""

    @functools.wraps(f)
    async def caught(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            result = f(self, *args, **kwargs)
            return await result if inspect.isawaitable(result) else result
        except Exception as error:
            # whoever gets a SQLAlchemyError has imported SQLAlchemy; nobody else shall pay for it
            sqlalchemy = sys.modules.get("sqlalchemy.exc")
            if sqlalchemy is None or not isinstance(error, sqlalchemy.SQLAlchemyError):
                raise
            self.log.exception("Rolling back the session after a database error")
            self.db.rollback()
            return None

    return caught


# -- texts and mappings


def recursive_update(target: dict[Any, Any], new: Mapping[Any, Any]) -> None:
    """Merge ``new`` into ``target`` in place, dictionaries inside too. A value of None removes the key."""
    for key, value in new.items():
        if isinstance(value, Mapping):
            inner = target.get(key)
            if not isinstance(inner, dict):
                inner = target[key] = {}
            recursive_update(inner, value)
            if not inner:
                target.pop(key)
        elif value is None:
            target.pop(key, None)
        else:
            target[key] = value


def format_exception(exc: BaseException, *, only_jupyterhub: bool = False) -> tuple[str | None, str | None]:
    """Give the text and the HTML that people may see of an exception.

    Those are its ``jupyterhub_message`` and ``jupyterhub_html_message``. Without a message of that kind the text is
    ``str(exc)``, or None with ``only_jupyterhub``.
    """
    text = getattr(exc, "jupyterhub_message", None if only_jupyterhub else str(exc))
    return text, getattr(exc, "jupyterhub_html_message", None)


def safe_log(text: Any, max_length: int = 32) -> str:
    """Write foreign input for a log: on one line, printable, quoted, not longer than ``max_length`` characters."""
    written = str(text)
    if len(written) > max_length:
        written = written[: max_length // 2] + "…"
    return repr(written)


# -- looking into a running process


def print_ps_info(file: TextIO | None = None) -> None:
    """Print how much processor time and memory this process has used."""
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(
        f"pid {os.getpid()}: {usage.ru_utime + usage.ru_stime:.1f} s CPU, {usage.ru_maxrss // 1024} MiB at most, "
        f"{threading.active_count()} threads",
        file=file or sys.stderr,
    )


def print_stacks(file: TextIO | None = None) -> None:
    """Print where all threads and asyncio tasks are."""
    out = file or sys.stderr
    print(f"Active threads: {threading.active_count()}", file=out)
    frames = sys._current_frames()
    for thread in threading.enumerate():
        print(f"Thread {thread.name}:", file=out)
        if thread.ident in frames:
            print("".join(traceback.format_stack(frames[thread.ident])), file=out)
    try:
        tasks = asyncio.all_tasks()
    except RuntimeError:
        tasks = set()
    print(f"Tasks: {len(tasks)}", file=out)
    for task in tasks:
        task.print_stack(file=out)
