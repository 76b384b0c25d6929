"""Where a route leads: an upstream's address, and the path that goes before the request's own.

Targets arrive as URLs through the REST API or the command line: ``http://host:port/path?query``, ``https://…``, or a
Unix socket as ``http+unix://%2Frun%2Fx.sock/path`` (``unix+http`` means the same).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
#: characters that stand for themselves in the path or query of a target; ``%`` because what is escaped stays escaped
_URL_CHARACTERS = "/:?[]@!$&'()*+,;=~%"


class BadTarget(ValueError):
    """This is not the URL of an upstream that we can reach."""


class Address(NamedTuple):
    """What a connection is made to; upstream connections of equal addresses are interchangeable.

    A tuple, because it is looked up with every request and the hash of a dataclass is ten times as dear.
    """

    host: str
    port: int
    is_tls: bool = False
    #: set for Unix sockets; host and port then mean nothing
    socket_path: str = ""

    def __str__(self) -> str:
        if self.socket_path:
            return self.socket_path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Target:
    address: Address
    #: host with port as in the URL: what Host becomes when the client sent none, or with ``--change-origin``
    authority: bytes
    #: without a slash at its end, ``b""`` for none
    path: bytes = b""
    query: bytes = b""

    @cached_property
    def has_path(self) -> bool:
        return bool(self.path or self.query)

    def prepend_to(self, target: bytes) -> bytes:
        """Put this path and query before those of an origin-form request target."""
        if not self.query:
            return self.path + target
        path, _, query = target.partition(b"?")
        return self.path + path + b"?" + self.query + (b"&" + query if query else b"")


def parse_target(url: str) -> Target:
    """Read the URL of a target. Raises ``BadTarget``."""
    try:
        parts = urlsplit(url)
        scheme, hostname, port = parts.scheme, parts.hostname, parts.port if "unix" not in parts.scheme else None
        path = quote(parts.path, safe=_URL_CHARACTERS).encode().rstrip(b"/")
        query = quote(parts.query, safe=_URL_CHARACTERS).encode()
    except ValueError as error:  # UnicodeError among them: JSON can carry half a surrogate pair
        raise BadTarget(f"not a URL: {error}") from error

    transports = scheme.split("+")
    if len(transports) == 2 and "unix" in transports:
        transports.remove("unix")
        socket_path = unquote(parts.netloc)
        if transports[0] not in _DEFAULT_PORTS or not socket_path.startswith("/") or "\0" in socket_path:
            raise BadTarget("a Unix socket is written as http+unix://%2Fpath%2Fto%2Fsocket")
        address = Address("localhost", 0, transports[0] == "https", socket_path)
        return Target(address, b"localhost", path, query)

    if scheme not in _DEFAULT_PORTS or not hostname:
        raise BadTarget("the URL of a target begins with http://host, https://host or http+unix://path")
    try:
        ascii_host = hostname.encode("ascii").decode() if hostname.isascii() else hostname.encode("idna").decode()
    except UnicodeError as error:
        raise BadTarget("the host of the target is not a host name") from error
    literal = f"[{ascii_host}]" if ":" in ascii_host else ascii_host
    if any(not 0x21 <= ord(character) <= 0x7E for character in literal):
        raise BadTarget("the host of the target is not a host name")
    authority = (literal if port is None else f"{literal}:{port}").encode()
    address = Address(ascii_host, _DEFAULT_PORTS[scheme] if port is None else port, scheme == "https")
    return Target(address, authority, path, query)
