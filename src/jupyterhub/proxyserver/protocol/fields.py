"""What a head looks like when it leaves again: which fields stay at this hop, which are added, which are rewritten.

One function for each direction. Field lines that are not touched keep their bytes, case and order: they are not even
taken apart. Lines are handled as in ``heads``, each with the CRLF before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

from .heads import (
    CHUNKED,
    HOP_BY_HOP,
    NO_BODY,
    UNTIL_CLOSE,
    X_FORWARDED,
    FramingKind,
    RequestHead,
    ResponseHead,
    field_search,
    split_fields,
    split_host,
)
from .routes import Route
from .targets import Target

_FORWARDED_NAMES = frozenset(X_FORWARDED.split(b"|"))
_HOP_LINES = field_search(HOP_BY_HOP)
_HOP_AND_FORWARDED_LINES = field_search(HOP_BY_HOP + b"|" + X_FORWARDED)
_HOP_FORGED_LINES = field_search(HOP_BY_HOP + b"|forwarded|" + X_FORWARDED)
#: heads in which nothing else means anything to us keep their lines as they are
_PLAIN_REQUEST = frozenset({b"content-length", b"expect", b"host", b"x-request-id"})
#: members of Connection that nominate nothing
_USUAL_OPTIONS = frozenset({b"close", b"keep-alive", b"upgrade"})
# A client must not be able to take these away from the upstream by naming them in Connection.
_NEVER_NOMINATED = _FORWARDED_NAMES | {
    b"forwarded",
    b"host",
    b"content-length",
    b"content-type",
    b"content-encoding",
    b"origin",
}
_NO_NAMES: frozenset[bytes] = frozenset()
_DATE_LINE = field_search(b"date")
_HSTS_LINE = field_search(b"strict-transport-security")

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
    #: the value of Strict-Transport-Security, instead of the upstream's; ``b""`` for none of ours
    hsts: bytes = b""

    @property
    def custom_names(self) -> frozenset[bytes]:
        return frozenset(name.lower() for name, _ in self.custom_fields) if self.custom_fields else _NO_NAMES


@dataclass(frozen=True, slots=True)
class ClientFacts:
    """What is known of a client without its help."""

    ip: bytes
    is_tls: bool = False
    #: a proxy in front of us: what it says about its own client (X-Forwarded-*, Forwarded) is believed
    is_trusted: bool = True


def request_for_upstream(
    head: RequestHead, route: Route, target: Target, rules: ForwardingRules, client: ClientFacts
) -> bytes:
    """Give the head to send to the upstream. It is HTTP/1.1, whatever the client speaks.

    ``rules`` and ``client`` must be the same for all heads of a connection.
    """
    lines = head.block.rewritten
    if lines is None:
        lines = _request_lines(head, target, rules, client)
        if not rules.change_origin:  # else they depend on the target
            head.block.rewritten = lines
    path = head.target
    if not rules.include_prefix and route.prefix:
        path = _without_prefix(path, route.prefix)
    if target.has_path and rules.prepend_path:
        path = target.prepend_to(path)
    return b"%b %b HTTP/1.1%b\r\n\r\n" % (head.method, path, lines)


def _request_lines(head: RequestHead, target: Target, rules: ForwardingRules, client: ClientFacts) -> bytes:
    """Give the field lines to send."""
    block = head.block
    marks, lines, framing = block.marks, block.lines, block.framing
    if not marks.keys() <= _PLAIN_REQUEST:
        if not client.is_trusted:
            lines = _HOP_FORGED_LINES.sub(b"", lines)
        else:
            lines = (_HOP_AND_FORWARDED_LINES if rules.x_forward else _HOP_LINES).sub(b"", lines)

    # Lines that end here or are written anew, because of what only this request or this command line says.
    names = rules.custom_names
    added = b""
    if block.connection_options and not block.connection_options <= _USUAL_OPTIONS:
        names |= block.connection_options - _NEVER_NOMINATED
    if head.is_http_1_0:
        names |= {b"expect"}  # RFC 9110 §10.1.1: an HTTP/1.0 client cannot take a 100
    if framing.kind is FramingKind.LENGTH:
        if marks[b"content-length"] != b"%d" % framing.length:
            names |= {b"content-length"}
            added = b"\r\nContent-Length: %d" % framing.length
    elif framing is CHUNKED:
        added = b"\r\nTransfer-Encoding: chunked"
    host = target.authority if block.host is None or rules.change_origin else block.host
    if marks.get(b"host") != host:
        lines = b"\r\nHost: %b%b" % (host, _without(lines, names | {b"host"}))
    elif names:
        lines = _without(lines, names)

    if rules.x_forward:
        if client.is_trusted and not marks.keys().isdisjoint(_FORWARDED_NAMES):
            lines += _continued_forwarding(head, client)
        else:
            lines += _begun_forwarding(client.ip, client.is_tls, head.is_websocket, block.host or b"")
    for name, value in rules.custom_fields:
        lines += b"\r\n%b: %b" % (name, value)
    if head.is_websocket:
        added += b"\r\nConnection: Upgrade\r\nUpgrade: websocket"
    return lines + added


def response_for_client(
    head: ResponseHead,
    request: RequestHead,
    target: Target,
    rules: ForwardingRules,
    client: ClientFacts,
    keep_alive: bool,
    date: Callable[[], bytes],
) -> bytes:
    """Give the final head to send to the client. ``date`` is used if the upstream sent none (RFC 9110 §6.6.1)."""
    marks = head.marks
    lines = _end_to_end_lines(head)
    added = b""
    if b"content-length" in marks:
        # To HEAD and 304 a length is information about what would have come; 204 must not have one (RFC 9110 §8.6).
        length = marks[b"content-length"]
        if head.status == 204:
            lines = _without(lines, _CONTENT_LENGTH)
        elif not length.isdigit() or length[0] == 0x30:
            lines = _without(lines, _CONTENT_LENGTH)
            added = b"\r\nContent-Length: %d" % int(length.split(b",")[0])
    elif head.framing is CHUNKED and not request.is_http_1_0:
        added = b"\r\nTransfer-Encoding: chunked"
    if head.status in _REDIRECTS and (rules.auto_rewrite or rules.protocol_rewrite):
        lines = _with_rewritten_location(lines, request, target, rules)
    if b"\r\nDate:" not in lines and not _DATE_LINE.search(lines):
        lines += b"\r\nDate: " + date()
    if rules.hsts:
        lines = _HSTS_LINE.sub(b"", lines)  # one must be the only one (RFC 6797 §7.1)
        added += b"\r\nStrict-Transport-Security: " + rules.hsts
    if not keep_alive:
        added += b"\r\nConnection: close"
    elif request.is_http_1_0:
        added += b"\r\nConnection: keep-alive"
    # The version is that of the sender of this hop (RFC 9110 §6.2): always ours.
    return b"".join((b"HTTP/1.1 ", head.status_digits, b" ", head.reason, lines, added, b"\r\n\r\n"))


def switching_protocols(head: ResponseHead) -> bytes:
    """Give a 101 head for the client, with the Upgrade that the upstream has agreed to."""
    lines = _without(_end_to_end_lines(head), _CONTENT_LENGTH)
    reason = head.reason or b"Switching Protocols"
    return b"HTTP/1.1 101 %b%b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" % (reason, lines)


def informational(head: ResponseHead) -> bytes:
    """Give a 1xx head for the client (RFC 9110 §15.2: proxies pass them on)."""
    lines = _without(_end_to_end_lines(head), _CONTENT_LENGTH)
    return b"HTTP/1.1 %d %b%b\r\n\r\n" % (head.status, head.reason, lines)


def _end_to_end_lines(head: ResponseHead) -> bytes:
    lines, marks = head.lines, head.marks
    if len(marks) > 1 or (marks and b"content-length" not in marks):
        lines = _HOP_LINES.sub(b"", lines)
        if head.connection_options and not head.connection_options <= _USUAL_OPTIONS:
            lines = _without(lines, head.connection_options - _NEVER_NOMINATED)
    return lines


def _without(lines: bytes, names: Collection[bytes]) -> bytes:
    """Cut the lines with these names out. For what is rare: it looks at all of them."""
    kept = (line[:-2] for line, name, _ in split_fields(lines) if name not in names)
    return b"".join(b"\r\n" + line for line in kept)


_CONTENT_LENGTH = frozenset({b"content-length"})


def client_body_is_delimited(response: ResponseHead, request: RequestHead) -> bool:
    """Whether the client sees the end of this answer without the connection closing."""
    if response.framing is UNTIL_CLOSE:
        return False
    return not (request.is_http_1_0 and response.framing is CHUNKED)


def agreed_to_websocket(head: ResponseHead) -> bool:
    """Whether a 101 says what was asked for (RFC 9110 §15.2.2: it must name the protocol)."""
    return head.marks.get(b"upgrade", b"").rstrip(b" \t").lower() == b"websocket" and head.framing is NO_BODY


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


@lru_cache(maxsize=4096)
def _begun_forwarding(ip: bytes, is_tls: bool, is_websocket: bool, host: bytes) -> bytes:
    """X-Forwarded-* as nobody before us has said anything (proxy-contract.md §2)."""
    port = split_host(host)[1] or (b"443" if is_tls else b"80")
    return b"\r\nX-Forwarded-For: %b\r\nX-Forwarded-Port: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b" % (
        ip,
        port,
        _PROTO[is_tls, is_websocket],
        host,
    )


_PROTO = {(False, False): b"http", (True, False): b"https", (False, True): b"ws", (True, True): b"wss"}


def _continued_forwarding(head: RequestHead, client: ClientFacts) -> bytes:
    """X-Forwarded-*: what proxies in front have said, continued by what we see."""
    said: dict[bytes, list[bytes]] = {}
    for _, name, value in head.fields:
        if name in _FORWARDED_NAMES:
            said.setdefault(name, []).append(value)
    host = head.host or b""
    port = split_host(host)[1] or (b"443" if client.is_tls else b"80")
    proto = _PROTO[client.is_tls, head.is_websocket]
    lines = [
        b"\r\nX-Forwarded-For: %b" % b",".join([*said.get(b"x-forwarded-for", ()), client.ip]),
        b"\r\nX-Forwarded-Port: %b" % b",".join([*said.get(b"x-forwarded-port", ()), port]),
        b"\r\nX-Forwarded-Proto: %b" % b",".join([*said.get(b"x-forwarded-proto", ()), proto]),
        b"\r\nX-Forwarded-Host: %b" % b",".join(said.get(b"x-forwarded-host", [host])),
    ]
    return b"".join(lines)


def _with_rewritten_location(lines: bytes, request: RequestHead, target: Target, rules: ForwardingRules) -> bytes:
    """Let redirects to the target's own address lead to where the client can go."""
    rewritten = b""
    for line, name, value in split_fields(lines):
        line = line[:-2]
        match = _LOCATION.fullmatch(value) if name == b"location" else None
        if match is not None and match[2].lower() == target.authority.lower():
            scheme, authority, rest = match.groups()
            if rules.auto_rewrite and request.host is not None:
                authority = request.host
            line = b"Location: %b://%b%b" % (rules.protocol_rewrite or scheme, authority, rest)
        rewritten += b"\r\n" + line  # others are relative, or lead somewhere else: not ours to change
    return rewritten
