"""Asking the hub's REST API over HTTP, HTTPS with client certificates, or a Unix socket.

One function on tornado's own client, so that a user's server imports no second HTTP library. What an answer means is
for the callers.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.netutil import Resolver
from tornado.simple_httpclient import SimpleAsyncHTTPClient

UNIX_SCHEME = "http+unix"


class HubUnreachable(Exception):
    """No HTTP answer came from the hub; ``str()`` says why and may be logged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSFiles:
    """Paths of our client certificate and of the CAs that vouch for the hub; "" for what is not there."""

    keyfile: str = ""
    certfile: str = ""
    client_ca: str = ""

    def make_context(self) -> ssl.SSLContext | None:
        """Give what to connect with, or None where the defaults do."""
        if not (self.certfile or self.client_ca):
            return None
        context = ssl.create_default_context(cafile=self.client_ca or None)
        if self.client_ca:
            # The CA is the hub's own and vouches for nothing else. Its certificates name 127.0.0.1 and localhost;
            # the address under which a container reaches the hub is often a third one.
            context.check_hostname = False
        if self.certfile:
            context.load_cert_chain(self.certfile, self.keyfile or None)
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class HubAnswer:
    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Raise ValueError if the body is not JSON."""
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """What the hub says went wrong, as its API (``message``) or its OAuth endpoints (``error``) say it."""
        try:
            said = self.json()
        except ValueError:
            return self.reason
        if not isinstance(said, dict):
            return self.reason
        return str(said.get("message") or said.get("error_description") or said.get("error") or self.reason)


async def ask_hub(
    url: str,
    *,
    method: str = "GET",
    token: str = "",
    body: str | None = None,
    content_type: str = "",
    tls: TLSFiles | None = None,
    timeout_s: float = 20,
) -> HubAnswer:
    """Send one request and give the answer, whatever its status. Raise :class:`HubUnreachable` if none came.

    Redirects are not followed: the token is for the configured address only.
    """
    url, unix_path = _split_unix(url)
    headers = {}
    if token:
        headers["Authorization"] = f"token {token}"
    if content_type:
        headers["Content-Type"] = content_type
    resolver = _UnixResolver(path=unix_path) if unix_path else None
    # A client belongs to the event loop it is made in, and we are called from two (see HubAuth's synchronous calls).
    # Making one costs microseconds: it keeps no connections.
    client = SimpleAsyncHTTPClient(force_instance=True, **({"resolver": resolver} if resolver else {}))
    try:
        response = await client.fetch(
            HTTPRequest(
                url,
                method=method,
                headers=headers,
                body=body,
                ssl_options=tls.make_context() if tls and url.startswith("https") else None,
                follow_redirects=False,
                connect_timeout=timeout_s,
                request_timeout=timeout_s,
                allow_nonstandard_methods=True,
            ),
            raise_error=False,
        )
    except (OSError, HTTPClientError) as error:
        raise HubUnreachable(f"{type(error).__name__}: {error}") from error
    finally:
        client.close()
    return HubAnswer(
        status=response.code, reason=response.reason or "", headers=response.headers, body=response.body or b""
    )


def _split_unix(url: str) -> tuple[str, str]:
    """Turn ``http+unix://%2Frun%2Fhub.sock/hub/api`` into (``http://localhost/hub/api``, ``/run/hub.sock``)."""
    parts = urlsplit(url)
    if parts.scheme != UNIX_SCHEME:
        return url, ""
    return urlunsplit(("http", "localhost", parts.path, parts.query, "")), unquote(parts.netloc)


class _UnixResolver(Resolver):
    """Leads every name to one Unix socket."""

    def initialize(self, path: str) -> None:
        self._path = path

    async def resolve(self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[Any]:
        return [(socket.AF_UNIX, self._path)]
