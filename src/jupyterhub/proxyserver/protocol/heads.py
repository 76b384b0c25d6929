"""Message heads: from bytes to checked values, or to a refusal. Bodies are in ``bodies``, changes in ``fields``.

Strictness is the point. A head that two programs could read differently is how requests are smuggled past one of them,
so whatever RFC 9112 lets a recipient repair (bare LF, folded lines, spaces before the colon, repeated lengths), we
refuse. One regular expression checks the whole head, and the values used later are the bytes it has matched: there is
no second parser that could disagree.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

#: of a head, of trailers; browsers and servers stop far below
MAX_HEAD_BYTES = 64 * 1024

# RFC 9110 §5.6.2 (token) and §5.5 (field values: HTAB, SP, VCHAR, obs-text; no other control character).
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_VALUE = rb"[\t\x20-\x7e\x80-\xff]*+"
_FIELD_LINES = rb"((?:" + _TOKEN + rb":" + _VALUE + rb"\r\n)*+)"

# A line that starts with a space is an obs-fold (RFC 9112 §5.2): it is no token, so it does not match.
_REQUEST_HEAD = re.compile(
    rb"(" + _TOKEN + rb") ([\x21-\x7e]++) HTTP/([0-9]\.[0-9])\r\n" + _FIELD_LINES + rb"\r\n",
)
# A missing reason phrase together with its space is common; RFC 9112 §4 asks for the space, nobody else does.
_STATUS_HEAD = re.compile(
    rb"HTTP/([0-9]\.[0-9]) ([1-9][0-9][0-9])(?: (" + _VALUE + rb"))?\r\n" + _FIELD_LINES + rb"\r\n",
)
_FIELD_LINE = re.compile(rb"((" + _TOKEN + rb"):([^\r]*+)\r\n)")

# RFC 9112 §3.2 with RFC 3986 §3.2.2: a name or IPv4 address, or an IPv6 literal; then perhaps a port. No userinfo, and
# none of the marks that RFC 3986 allows in names: DNS has none, and a comma is what two joined fields look like.
_AUTHORITY = re.compile(rb"((?:[A-Za-z0-9\-._~]|%[0-9A-Fa-f]{2})++|\[[0-9A-Fa-f:.]++\])(?::([0-9]{0,5}))?")
_ABSOLUTE_FORM = re.compile(rb"(https?)://([^/?#]*)([^#]*)", re.IGNORECASE)
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_LENGTH = re.compile(rb"[0-9]{1,18}")

#: the fields that decide about framing, routing and what becomes of the connection
_DECISIVE = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade"})

#: answers with these never have a body, whatever their fields say (RFC 9112 §6.3)
BODILESS_STATUS = frozenset({204, 304})


class Refused(Exception):
    """The other end sent what we do not accept; ``status`` is the answer if the other end is a client."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


class FramingKind(Enum):
    NONE = "no body"
    LENGTH = "Content-Length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until the connection closes"


_MAY_BE_EMPTY = (FramingKind.NONE, FramingKind.LENGTH)


class Framing(NamedTuple):
    """How the end of a body is found (RFC 9112 §6.3)."""

    kind: FramingKind
    length: int = 0

    @property
    def is_empty(self) -> bool:
        """No byte of a body follows the head."""
        return self.length == 0 and self.kind in _MAY_BE_EMPTY


NO_BODY = Framing(FramingKind.NONE)
CHUNKED = Framing(FramingKind.CHUNKED)
UNTIL_CLOSE = Framing(FramingKind.UNTIL_CLOSE)


#: One field line: as it came with its CRLF, the name in lower case, the value without the white space around it.
#: A plain tuple, because there are a dozen of them in every head and named ones take four times as long to make.
Field = tuple[bytes, bytes, bytes]


# The heads are not frozen, for the same reason; nobody changes them.
@dataclass(slots=True, kw_only=True)
class RequestHead:
    method: bytes
    #: origin-form (RFC 9112 §3.2.1), still percent-encoded: path and query
    target: bytes
    is_http_1_0: bool
    fields: Sequence[Field]
    #: as sent, perhaps with a port; None only from HTTP/1.0 clients
    host: bytes | None
    framing: Framing
    #: lower case, RFC 9110 §7.6.1
    connection_options: frozenset[bytes]
    #: asks to become a WebSocket, well enough to be passed on as such
    is_websocket: bool

    @property
    def path_raw(self) -> bytes:
        return self.target.partition(b"?")[0] if b"?" in self.target else self.target

    @property
    def wants_keep_alive(self) -> bool:
        """Whether this client goes on after the answer (RFC 9112 §9.3)."""
        if b"close" in self.connection_options:
            return False
        return not self.is_http_1_0 or b"keep-alive" in self.connection_options


@dataclass(slots=True, kw_only=True)
class ResponseHead:
    status: int
    reason: bytes
    is_http_1_0: bool
    fields: Sequence[Field]
    framing: Framing
    connection_options: frozenset[bytes]

    @property
    def is_informational(self) -> bool:
        """A 1xx before the real answer; 101 is final in that no other answer follows it."""
        return self.status < 200 and self.status != 101

    @property
    def keeps_alive(self) -> bool:
        """Whether this server takes another request on the connection (RFC 9112 §9.3)."""
        if self.framing is UNTIL_CLOSE or b"close" in self.connection_options:
            return False
        return not self.is_http_1_0 or b"keep-alive" in self.connection_options


def parse_request_head(data: bytes) -> RequestHead:
    """Read one whole request head, up to and with its empty line. Raises ``Refused``."""
    match = _REQUEST_HEAD.fullmatch(data)
    if match is None:
        raise Refused("the request head is malformed")
    method, target, version, lines = match.groups()
    if version not in (b"1.1", b"1.0"):
        raise Refused("the HTTP version is not 1.0 or 1.1", 505)
    is_http_1_0 = version == b"1.0"
    fields = _split_fields(lines)

    host: bytes | None = None
    lengths: list[bytes] = []
    codings: list[bytes] = []
    options: list[bytes] = []
    upgrades: list[bytes] = []
    for _, name, value in fields:
        if name not in _DECISIVE:
            continue
        match name:
            case b"host":
                if host is not None:
                    raise Refused("Host is there twice")
                host = value
            case b"content-length":
                lengths.append(value)
            case b"transfer-encoding":
                codings.append(value)
            case b"connection":
                options.append(value)
            case b"upgrade":
                upgrades.append(value)

    if host is None and not is_http_1_0:
        raise Refused("Host is missing")  # RFC 9112 §3.2: MUST be 400
    if host is not None and not _AUTHORITY.fullmatch(host):
        raise Refused("Host is not a host")
    if not target.startswith(b"/"):
        target, host = _from_other_form(method, target, host)
    if b"#" in target or b"\\" in target:
        raise Refused("the request target has characters that URLs do not have")
    if b"%" in target and _BAD_ESCAPE.search(target.partition(b"?")[0]):
        raise Refused("the path has a broken percent escape")
    if method in (b"CONNECT", b"TRACE"):
        # A tunnel to anywhere is not what a reverse proxy is for; an echo of the request would show cookies to scripts.
        raise Refused(f"{method.decode()} is not offered", 501)

    framing = _request_framing(is_http_1_0, lengths, codings)
    connection_options = _list_members(options)
    return RequestHead(
        method=method,
        target=target,
        is_http_1_0=is_http_1_0,
        fields=fields,
        host=host,
        framing=framing,
        connection_options=connection_options,
        is_websocket=(
            method == b"GET"
            and not is_http_1_0
            and b"upgrade" in connection_options
            and len(upgrades) == 1
            and upgrades[0].lower() == b"websocket"
            and framing.is_empty
        ),
    )


def parse_response_head(data: bytes, *, request_method: bytes) -> ResponseHead:
    """Read one whole response head, up to and with its empty line. Raises ``Refused``.

    ``request_method`` is what it answers: the answer to HEAD has no body, whatever its fields say.
    """
    match = _STATUS_HEAD.fullmatch(data)
    if match is None:
        raise Refused("the response head is malformed", 502)
    version, status_digits, reason, lines = match.groups()
    if version not in (b"1.1", b"1.0"):
        raise Refused("the HTTP version of the response is not 1.0 or 1.1", 502)
    is_http_1_0 = version == b"1.0"
    status = int(status_digits)
    fields = _split_fields(lines)

    lengths: list[bytes] = []
    codings: list[bytes] = []
    options: list[bytes] = []
    for _, name, value in fields:
        if name not in _DECISIVE:
            continue
        match name:
            case b"content-length":
                lengths.append(value)
            case b"transfer-encoding":
                codings.append(value)
            case b"connection":
                options.append(value)
    return ResponseHead(
        status=status,
        reason=reason or b"",
        is_http_1_0=is_http_1_0,
        fields=fields,
        framing=_response_framing(status, request_method, is_http_1_0, lengths, codings),
        connection_options=_list_members(options),
    )


def check_trailer_line(line: bytes) -> None:
    """Refuse a trailer line (with its CRLF) that is malformed or that changes framing or routing (RFC 9110 §6.5.1)."""
    match = _FIELD_LINE.fullmatch(line)
    if match is None or not re.fullmatch(_VALUE, match[3]):
        raise Refused("a trailer is malformed")
    if match[2].lower() in _NEVER_IN_TRAILERS:
        raise Refused(f"{match[2].decode()} must not be a trailer")


_NEVER_IN_TRAILERS = frozenset(
    {b"content-length", b"transfer-encoding", b"host", b"connection", b"trailer", b"upgrade"}
)


def looks_like_a_request(start: bytes | bytearray) -> bool:
    """Say whether an incomplete head could still become one, so that TLS on a plain port or bare LFs fail at once."""
    if not re.match(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]", start):
        return False
    first_lf = start.find(b"\n")
    return first_lf == -1 or start[first_lf - 1 : first_lf] == b"\r"


def split_host(host: bytes) -> tuple[bytes, bytes]:
    """Give name and port (``b""`` if none) of a checked Host; an IPv6 literal keeps its brackets."""
    match = _AUTHORITY.fullmatch(host)
    return (match[1], match[2] or b"") if match else (host, b"")


def _split_fields(lines: bytes) -> list[Field]:
    return [(line, name.lower(), value.strip(b" \t")) for line, name, value in _FIELD_LINE.findall(lines)]


def _list_members(values: list[bytes]) -> frozenset[bytes]:
    """Members of a comma-separated list (RFC 9110 §5.6.1), in lower case."""
    if not values:
        return _NO_MEMBERS
    return frozenset(filter(None, (member.strip(b" \t") for member in b",".join(values).lower().split(b","))))


_NO_MEMBERS: frozenset[bytes] = frozenset()


def _from_other_form(method: bytes, target: bytes, host: bytes | None) -> tuple[bytes, bytes | None]:
    """Turn an absolute-form target (RFC 9112 §3.2.2) into origin-form and the host it names."""
    match = _ABSOLUTE_FORM.fullmatch(target)
    if match is None:
        # authority-form belongs to CONNECT, asterisk-form to OPTIONS of a server as such: neither leads to a route.
        raise Refused("the request target is neither a path nor a URL", 501 if method == b"CONNECT" else 400)
    scheme, authority, rest = match.groups()
    if not _AUTHORITY.fullmatch(authority):
        raise Refused("the URL in the request line has no proper host")
    # The RFC lets the URL win over Host. Whoever sends two different ones wants two programs to choose differently.
    if host is not None and _comparable(host, scheme) != _comparable(authority, scheme):
        raise Refused("the URL in the request line and Host name different hosts")
    return (rest if rest.startswith(b"/") else b"/" + rest), authority


def _comparable(authority: bytes, scheme: bytes) -> tuple[bytes, bytes]:
    name, port = split_host(authority)
    return name.lower(), port or (b"443" if scheme.lower() == b"https" else b"80")


def _request_framing(is_http_1_0: bool, lengths: list[bytes], codings: list[bytes]) -> Framing:
    """RFC 9112 §6.1 to §6.3, for requests; every doubtful case is refused."""
    if codings:
        if lengths:
            raise Refused("both Content-Length and Transfer-Encoding")
        if is_http_1_0:
            raise Refused("Transfer-Encoding in an HTTP/1.0 request")
        if len(codings) == 1 and codings[0].lower() == b"chunked":
            return CHUNKED
        members = [member.strip(b" \t").lower() for member in b",".join(codings).split(b",")]
        if members[-1] == b"chunked" and members.count(b"chunked") == 1 and all(members):
            raise Refused("a transfer coding other than chunked", 501)
        raise Refused("the body has no end: chunked is not the last transfer coding, once")
    if lengths:
        if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
            raise Refused("Content-Length is not one number")
        return Framing(FramingKind.LENGTH, int(lengths[0]))
    return NO_BODY


def _response_framing(
    status: int, request_method: bytes, is_http_1_0: bool, lengths: list[bytes], codings: list[bytes]
) -> Framing:
    """RFC 9112 §6.3, for responses. The only repair: several equal lengths are one."""
    if len(lengths) > 1 and len(set(lengths)) == 1:
        lengths = lengths[:1]
    if len(lengths) > 1 or (lengths and not _LENGTH.fullmatch(lengths[0])):
        raise Refused("Content-Length of the response is not one number", 502)
    if status < 200 or status in BODILESS_STATUS or request_method == b"HEAD":
        return NO_BODY
    if codings:
        if lengths:
            raise Refused("the response has both Content-Length and Transfer-Encoding", 502)
        if is_http_1_0 or len(codings) > 1 or codings[0].lower() != b"chunked":
            raise Refused("the response has a transfer coding other than chunked", 502)
        return CHUNKED
    return Framing(FramingKind.LENGTH, int(lengths[0])) if lengths else UNTIL_CLOSE
