"""What a head looks like when it leaves again: which fields stay at this hop, which are added, which are rewritten.

Two functions, one for each direction. Field lines that are not touched keep their bytes, case and order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .heads import CHUNKED, NO_BODY, UNTIL_CLOSE, FramingKind, RequestHead, ResponseHead, split_host
from .routes import Route
from .targets import Target

# RFC 9110 §7.6.1, with the older members of the family that are still seen. TE speaks about this hop's codings;
# Proxy-Authorization is for a proxy that asked for it (§11.7.1), not for people's servers. HTTP2-Settings belongs to
# the h2c upgrade, which we do not offer. Framing is written anew, from what the reader has understood.
_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    }
)
_REQUEST_DROPS = _HOP_BY_HOP | {b"host", b"content-length"}
_RESPONSE_DROPS = (_HOP_BY_HOP - {b"proxy-authorization"}) | {b"content-length"}
_FORWARDED = frozenset({b"x-forwarded-for", b"x-forwarded-port", b"x-forwarded-proto", b"x-forwarded-host"})
# A client must not be able to take these away from the upstream by naming them in Connection.
_NEVER_NOMINATED = _FORWARDED | {
    b"forwarded",
    b"host",
    b"content-length",
    b"content-type",
    b"content-encoding",
    b"origin",
}

#: answers whose Location is rewritten with --auto-rewrite and --protocol-rewrite
_REDIRECTS = frozenset({201, 301, 302, 303, 307, 308})
_LOCATION = re.compile(rb"(https?)://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardingRules:
    """The part of the command line that changes heads (proxy-contract.md §1)."""

    x_forward: bool = True
    #: Host becomes that of the target
    change_origin: bool = False
    #: the target's own path goes before the request's
    prepend_path: bool = True
    #: the route's path stays in the request's
    include_prefix: bool = True
    #: redirects to the target's own host lead to the host that the client used
    auto_rewrite: bool = False
    #: … with this scheme; ``b""`` leaves it
    protocol_rewrite: bytes = b""
    #: name and value; instead of the client's own fields of that name
    custom_fields: Sequence[tuple[bytes, bytes]] = ()


@dataclass(frozen=True, slots=True)
class ClientFacts:
    """What is known of a client without its help."""

    ip: bytes
    is_tls: bool = False


def request_for_upstream(
    head: RequestHead, route: Route, target: Target, rules: ForwardingRules, client: ClientFacts
) -> bytes:
    """Give the head to send to the upstream. It is HTTP/1.1, whatever the client speaks."""
    drops = _REQUEST_DROPS
    if head.connection_options:
        drops = drops | (head.connection_options - _NEVER_NOMINATED)
    if rules.custom_fields:
        drops = drops | {name.lower() for name, _ in rules.custom_fields}
    if rules.x_forward:
        drops = drops | _FORWARDED
    if head.is_http_1_0:
        drops = drops | {b"expect"}  # RFC 9110 §10.1.1: an HTTP/1.0 client cannot take a 100

    host = target.authority if head.host is None or rules.change_origin else head.host
    lines = [b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (head.method, _upstream_target(head, route, target, rules), host)]
    lines += [line for line, name, _ in head.fields if name not in drops]
    if rules.x_forward:
        lines.append(_forwarded_lines(head, client))
    for name, value in rules.custom_fields:
        lines.append(b"%b: %b\r\n" % (name, value))
    match head.framing.kind:
        case FramingKind.LENGTH:
            lines.append(b"Content-Length: %d\r\n" % head.framing.length)
        case FramingKind.CHUNKED:
            lines.append(b"Transfer-Encoding: chunked\r\n")
    if head.is_websocket:
        lines.append(b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


def response_for_client(
    head: ResponseHead,
    request: RequestHead,
    *,
    target: Target,
    rules: ForwardingRules,
    client: ClientFacts,
    keep_alive: bool,
    date: bytes,
) -> bytes:
    """Give the final head to send to the client. ``date`` is used if the upstream sent none (RFC 9110 §6.6.1)."""
    drops = _RESPONSE_DROPS
    if head.connection_options:
        drops = drops | (head.connection_options - _NEVER_NOMINATED)
    may_rewrite = (rules.auto_rewrite or rules.protocol_rewrite) and head.status in _REDIRECTS
    # The version is that of the sender of this hop (RFC 9110 §6.2): always ours.
    lines = [b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason)]
    has_date = False
    length: bytes | None = None
    for line, name, value in head.fields:
        if name in drops:
            if name == b"content-length":
                length = value
            continue
        if name == b"date":
            has_date = True
        if may_rewrite and name == b"location":
            lines.append(b"Location: %b\r\n" % _rewritten_location(value, request, target, rules, client))
        else:
            lines.append(line)
    if not has_date:
        lines.append(b"Date: %b\r\n" % date)
    # To HEAD and 304 a length is information about what would have come; 204 must not have one (RFC 9110 §8.6).
    if length is not None and head.status != 204:
        lines.append(b"Content-Length: %b\r\n" % length)
    elif head.framing is CHUNKED and not request.is_http_1_0:
        lines.append(b"Transfer-Encoding: chunked\r\n")
    if not keep_alive:
        lines.append(b"Connection: close\r\n")
    elif request.is_http_1_0:
        lines.append(b"Connection: keep-alive\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


def switching_protocols(head: ResponseHead) -> bytes:
    """Give a 101 head for the client, with the Upgrade that the upstream has agreed to."""
    drops = _RESPONSE_DROPS | (head.connection_options - _NEVER_NOMINATED)
    lines = [b"HTTP/1.1 101 %b\r\n" % (head.reason or b"Switching Protocols")]
    lines += [line for line, name, _ in head.fields if name not in drops]
    lines.append(b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    return b"".join(lines)


def informational(head: ResponseHead) -> bytes:
    """Give a 1xx head for the client (RFC 9110 §15.2: proxies pass them on)."""
    drops = _RESPONSE_DROPS | (head.connection_options - _NEVER_NOMINATED)
    lines = [b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason)]
    lines += [line for line, name, _ in head.fields if name not in drops]
    lines.append(b"\r\n")
    return b"".join(lines)


def client_body_is_delimited(response: ResponseHead, request: RequestHead) -> bool:
    """Whether the client sees the end of this answer without the connection closing."""
    if response.framing is UNTIL_CLOSE:
        return False
    return not (request.is_http_1_0 and response.framing is CHUNKED)


def agreed_to_websocket(head: ResponseHead) -> bool:
    """Whether a 101 says what was asked for (RFC 9110 §15.2.2: it must name the protocol)."""
    upgrades = [value.lower() for _, name, value in head.fields if name == b"upgrade"]
    return upgrades == [b"websocket"] and head.framing is NO_BODY


def _upstream_target(head: RequestHead, route: Route, target: Target, rules: ForwardingRules) -> bytes:
    path = head.target
    if not rules.include_prefix and route.prefix:
        path = _without_prefix(path, route.prefix)
    return target.prepend_to(path) if rules.prepend_path else path


def _without_prefix(request_target: bytes, prefix: bytes) -> bytes:
    """Take a decoded prefix that is known to match off a target that may have encoded it."""
    at = 0
    for _ in prefix:
        at += 3 if request_target[at : at + 1] == b"%" else 1
    rest = request_target[at:]
    if rest[:1] == b"/":
        return rest
    # The border of the last segment may have been written as %2F.
    return b"/" + (rest[3:] if rest[:3].upper() == b"%2F" else rest)


def _forwarded_lines(head: RequestHead, client: ClientFacts) -> bytes:
    """X-Forwarded-*: what proxies in front have said, continued by what we see (proxy-contract.md §2)."""
    said: dict[bytes, list[bytes]] = {}
    for _, name, value in head.fields:
        if name in _FORWARDED:
            said.setdefault(name, []).append(value)
    host = head.host or b""
    port = split_host(host)[1] or (b"443" if client.is_tls else b"80")
    if head.is_websocket:
        proto = b"wss" if client.is_tls else b"ws"
    else:
        proto = b"https" if client.is_tls else b"http"
    if not said:
        return b"X-Forwarded-For: %b\r\nX-Forwarded-Port: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n" % (
            client.ip,
            port,
            proto,
            host,
        )
    lines = [
        b"X-Forwarded-For: %b\r\n" % b",".join([*said.get(b"x-forwarded-for", ()), client.ip]),
        b"X-Forwarded-Port: %b\r\n" % b",".join([*said.get(b"x-forwarded-port", ()), port]),
        b"X-Forwarded-Proto: %b\r\n" % b",".join([*said.get(b"x-forwarded-proto", ()), proto]),
        b"X-Forwarded-Host: %b\r\n" % b",".join(said.get(b"x-forwarded-host", [host])),
    ]
    return b"".join(lines)


def _rewritten_location(
    location: bytes, request: RequestHead, target: Target, rules: ForwardingRules, client: ClientFacts
) -> bytes:
    match = _LOCATION.fullmatch(location)
    if match is None or match[2].lower() != target.authority.lower():
        return location  # relative, or to somewhere else: not ours to change
    scheme, authority, rest = match.groups()
    if rules.auto_rewrite and request.host is not None:
        authority = request.host
    return b"%b://%b%b" % (rules.protocol_rewrite or scheme, authority, rest)
