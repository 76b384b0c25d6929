"""Does a server answer? One HTTP request to ``<server>/api``; any status below 500 means yes (singleuser.md §2)."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from jupyterhub.words.models import Endpoint

#: a connection that is refused costs nothing, so we ask often while a server comes up
FIRST_WAIT_S, LONGEST_WAIT_S = 0.02, 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    #: ``X-JupyterHub-Version`` of the server, None when it does not say
    version: str | None


class Prober:
    """Asks servers whether they answer; one HTTP client for all of them.

    ``context`` is what https servers are asked with under ``internal_ssl``; without it as any other https server.
    """

    def __init__(self, context: ssl.SSLContext | None = None, *, at_once: int = 200) -> None:
        self._context = context
        # not the shared client of the process: its limit of ten requests at once would queue our probes behind others
        self._client = SimpleAsyncHTTPClient(force_instance=True, max_clients=at_once)

    async def ask(self, endpoint: Endpoint, *, within_s: float = 5.0) -> Answer:
        """Ask once; OSError or TimeoutError if nothing answers, also when it answers with 500 or more."""
        async with asyncio.timeout(within_s):
            # The cheap question first: while nobody listens, this is all that we do.
            _, writer = await asyncio.open_connection(_host(endpoint), endpoint.port)
            writer.close()
            request = HTTPRequest(
                _url(endpoint) + "api",
                follow_redirects=False,
                request_timeout=within_s,
                connect_timeout=within_s,
                ssl_options=self._context if endpoint.proto == "https" else None,
                decompress_response=False,
            )
            try:
                response = await self._client.fetch(request, raise_error=False)
            except HTTPClientError as error:
                raise OSError(f"{_url(endpoint)}api: {error}") from error
        if response.code >= 500:
            raise OSError(f"{_url(endpoint)}api answers {response.code}")
        return Answer(response.code, response.headers.get("X-JupyterHub-Version"))

    async def wait_up(
        self,
        endpoint: Endpoint,
        *,
        within_s: float,
        still_running: Callable[[], Awaitable[bool]],
    ) -> Answer:
        """Ask until it answers. TimeoutError after ``within_s``; ProcessLookupError when ``still_running`` says no."""
        deadline = time.monotonic() + within_s
        pause_s, next_look = FIRST_WAIT_S, time.monotonic() + 0.5
        while True:
            try:
                return await self.ask(endpoint, within_s=max(0.1, min(5.0, deadline - time.monotonic())))
            except (OSError, TimeoutError):
                if time.monotonic() >= deadline:
                    raise TimeoutError(f"the server at {_url(endpoint)} did not answer within {within_s:g} s") from None
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + 1.0
                if not await still_running():
                    raise ProcessLookupError(f"the server at {_url(endpoint)} ended before it answered")
            await asyncio.sleep(min(pause_s, max(0.0, deadline - time.monotonic())))
            pause_s = min(pause_s * 1.3, LONGEST_WAIT_S)

    def close(self) -> None:
        self._client.close()


def _host(endpoint: Endpoint) -> str:
    """Where to connect: a server that listens on all interfaces is reached on this one."""
    return "127.0.0.1" if endpoint.ip in ("", "0.0.0.0", "::", "*") else endpoint.ip


def _url(endpoint: Endpoint) -> str:
    host = _host(endpoint)
    host = f"[{host}]" if ":" in host else host
    return f"{endpoint.proto}://{host}:{endpoint.port}{endpoint.base_url}"


def origin(endpoint: Endpoint) -> str:
    """``scheme://host:port`` of an endpoint: the target that the proxy is given."""
    host = _host(endpoint)
    host = f"[{host}]" if ":" in host else host
    return f"{endpoint.proto}://{host}:{endpoint.port}"
