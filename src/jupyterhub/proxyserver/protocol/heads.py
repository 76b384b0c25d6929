"""Message heads: from bytes to checked values, or to a refusal. Bodies are in ``bodies``, changes in ``fields``.

Strictness is the point. A head that two programs could read differently is how requests are smuggled past one of them,
so whatever RFC 9112 lets a recipient repair (bare LF, folded lines, spaces before the colon, repeated lengths), we
refuse. One regular expression checks the whole head; a second one picks the few fields that mean something to a proxy
out of the lines that the first has let through. The other lines are never taken apart: they leave as the bytes that
they came as. ``fields`` gives them all, to whoever needs them.

Why not llhttp: it lets pass some of what must be refused, so the check of the whole head would be there all the same
(1.7 µs for the 740 bytes of a browser); what is left to do is the second search, 1.1 µs here and 2.7 µs through
httptools, whose callback for each field is a Python function. And there is no second parser that could disagree with
the first; the tests have it for that, as an independent judge.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

#: of a head, of trailers; browsers and servers stop far below
MAX_HEAD_BYTES = 64 * 1024

# RFC 9110 §5.6.2 (token) and §5.5 (field values: HTAB, SP, VCHAR, obs-text; no other control character).
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_VALUE = rb"[\t\x20-\x7e\x80-\xff]*+"
# Each line with the CRLF before it, so that lines can be cut out of the head by searching for that CRLF. Groups are not
# repeated possessively: Python 3.11.2 (Debian 12) goes on behind what the last, failed try of such a group has matched.
_FIELD_LINES = rb"((?:\r\n" + _TOKEN + rb":" + _VALUE + rb")*)\r\n\r\n"

# A line that starts with a space is an obs-fold (RFC 9112 §5.2): it is no token, so it does not match.
_REQUEST_HEAD = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]++) HTTP/([0-9]\.[0-9])" + _FIELD_LINES)
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") (/[\x21-\x7e]*+) HTTP/1\.1")
# A missing reason phrase together with its space is common; RFC 9112 §4 asks for the space, nobody else does.
_STATUS_HEAD = re.compile(rb"HTTP/([0-9]\.[0-9]) ([1-9][0-9][0-9])(?: (" + _VALUE + rb"))?" + _FIELD_LINES)
_FIELD_LINE = re.compile(rb"((" + _TOKEN + rb"):([^\r]*+)\r\n)")

#: Fields of a single hop (RFC 9110 §7.6.1, with the older members of the family that are still seen). TE speaks about
#: this hop's codings; Proxy-Authorization is for a proxy that asked for it (§11.7.1), not for people's servers.
#: HTTP2-Settings belongs to the h2c upgrade, which we do not offer.
HOP_BY_HOP = rb"connection|http2-settings|keep-alive|proxy-authorization|proxy-connection|te|transfer-encoding|upgrade"
X_FORWARDED = rb"x-forwarded-for|x-forwarded-host|x-forwarded-port|x-forwarded-proto"


def field_search(names: bytes) -> re.Pattern[bytes]:
    """Find the field lines with these names, in lines that have been checked; each with the CRLF before it.

    The names are in lower case and separated by bars. The look-ahead makes the search three times as fast.
    """
    initials = bytes(sorted({initial for name in names.split(b"|") for initial in name[:1] + name[:1].upper()}))
    return re.compile(rb"\r\n(?=[" + initials + rb"])(" + names + rb"):[ \t]*+([^\r]*+)", re.IGNORECASE)


#: in requests: what decides about framing, routing, and what becomes of the connection; and what is not passed on
_REQUEST_MARKS = field_search(HOP_BY_HOP + rb"|" + X_FORWARDED + rb"|content-length|expect|forwarded|host|x-request-id")
_RESPONSE_MARKS = field_search(HOP_BY_HOP + rb"|content-length")
# RFC 9112 §3.2 with RFC 3986 §3.2.2: a name or IPv4 address, or an IPv6 literal; then perhaps a port. No userinfo, and
# none of the marks that RFC 3986 allows in names: DNS has none, and a comma is what two joined fields look like.
_AUTHORITY = re.compile(rb"((?:[A-Za-z0-9\-._~]|%[0-9A-Fa-f]{2})+|\[[0-9A-Fa-f:.]++\])(?::([0-9]{0,5}))?")
_ABSOLUTE_FORM = re.compile(rb"(https?)://([^/?#]*)([^#]*)", re.IGNORECASE)
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")

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


class Framing(NamedTuple):
    """How the end of a body is found (RFC 9112 §6.3)."""

    kind: FramingKind
    length: int = 0


NO_BODY = Framing(FramingKind.NONE)
CHUNKED = Framing(FramingKind.CHUNKED)
UNTIL_CLOSE = Framing(FramingKind.UNTIL_CLOSE)


@lru_cache(maxsize=1024)
def _read_length(digits: bytes) -> Framing | None:
    """Give the framing by this Content-Length, or None if it is not one number that nobody's integers overflow at."""
    digits = digits.rstrip(b" \t")
    return Framing(FramingKind.LENGTH, int(digits)) if digits.isdigit() and len(digits) <= 18 else None


#: One field line: as it came with its CRLF, the name in lower case, the value without the white space around it.
#: A plain tuple, because there are a dozen of them in every head and named ones take four times as long to make.
Field = tuple[bytes, bytes, bytes]


class FieldBlock:
    """The fields of a request, understood. Nothing is changed in it once it is read.

    It is apart from ``RequestHead`` because clients repeat themselves: what a browser says in its next request
    on the same connection is mostly the same to the byte, and is then neither read nor rewritten again.
    """

    __slots__ = ("connection_options", "framing", "has_body", "host", "keeps_alive", "lines", "marks", "rewritten")

    def __init__(
        self,
        lines: bytes,
        marks: dict[bytes, bytes],
        host: bytes | None,
        framing: Framing,
        connection_options: frozenset[bytes],
        keeps_alive: bool,
    ) -> None:
        #: the field lines, each with a CRLF before it
        self.lines = lines
        #: the fields that mean something to a proxy; values of repeated ones are joined by commas (RFC 9110 §5.3)
        self.marks = marks
        #: as sent, perhaps with a port; None only from HTTP/1.0 clients
        self.host = host
        self.framing = framing
        self.has_body = framing.length > 0 or framing is CHUNKED
        #: lower case, RFC 9110 §7.6.1
        self.connection_options = connection_options
        #: whether this client goes on after the answer (RFC 9112 §9.3)
        self.keeps_alive = keeps_alive
        #: what ``fields`` has made of the lines, if that is the same for the next request
        self.rewritten: bytes | None = None


class RequestHead:
    """A request's head. Nothing is changed in it once it is read."""

    __slots__ = ("block", "is_http_1_0", "is_websocket", "method", "target")

    def __init__(self, method: bytes, target: bytes, is_http_1_0: bool, block: FieldBlock, is_websocket: bool) -> None:
        self.method = method
        #: origin-form (RFC 9112 §3.2.1), still percent-encoded: path and query
        self.target = target
        self.is_http_1_0 = is_http_1_0
        self.block = block
        #: asks to become a WebSocket, well enough to be passed on as such
        self.is_websocket = is_websocket

    @property
    def fields(self) -> Sequence[Field]:
        """All of them, taken apart."""
        return split_fields(self.block.lines)

    @property
    def host(self) -> bytes | None:
        return self.block.host

    @property
    def framing(self) -> Framing:
        return self.block.framing

    @property
    def wants_keep_alive(self) -> bool:
        return self.block.keeps_alive

    @property
    def path_raw(self) -> bytes:
        target = self.target
        return target[: target.index(b"?")] if b"?" in target else target


class ResponseHead:
    """A response's head. Nothing is changed in it once it is read."""

    __slots__ = ("connection_options", "framing", "keeps_alive", "lines", "marks", "reason", "status", "status_digits")

    def __init__(
        self,
        status_digits: bytes,
        reason: bytes,
        lines: bytes,
        marks: dict[bytes, bytes],
        framing: Framing,
        connection_options: frozenset[bytes],
        keeps_alive: bool,
    ) -> None:
        self.status = int(status_digits)
        self.status_digits = status_digits
        self.reason = reason
        #: as in ``FieldBlock``
        self.lines = lines
        self.marks = marks
        self.framing = framing
        self.connection_options = connection_options
        #: whether this server takes another request on the connection (RFC 9112 §9.3)
        self.keeps_alive = keeps_alive

    @property
    def fields(self) -> Sequence[Field]:
        return split_fields(self.lines)

    @property
    def is_informational(self) -> bool:
        """A 1xx before the real answer; 101 is final in that no other answer follows it."""
        return self.status < 200 and self.status != 101


def parse_request_head(data: bytes) -> RequestHead:
    """Read one whole request head, up to and with its empty line. Raises ``Refused``."""
    match = _REQUEST_HEAD.fullmatch(data)
    if match is None:
        raise Refused("the request head is malformed")
    method, target, version, lines = match.groups()
    is_http_1_0 = version != b"1.1"
    if is_http_1_0 and version != b"1.0":
        raise Refused("the HTTP version is not 1.0 or 1.1", 505)

    marks: dict[bytes, bytes] = {}
    for name, value in _REQUEST_MARKS.findall(lines):
        name = name.lower()
        if name in marks:
            if name in _NEVER_TWICE:
                raise Refused(f"{name.decode()} is there twice")
            marks[name] += b"," + value
        else:
            marks[name] = value

    host: bytes | None = None
    if b"host" in marks:
        host = marks[b"host"].rstrip(b" \t")
        if read_authority(host) is None:
            raise Refused("Host is not a host")
    elif not is_http_1_0:
        raise Refused("Host is missing")  # RFC 9112 §3.2: MUST be 400
    if target[0] != 0x2F:  # "/"
        target, host = _from_other_form(method, target, host)
    _check_line(method, target)

    framing = NO_BODY
    options = _NO_MEMBERS
    if len(marks) > 1 or b"host" not in marks:
        framing = _request_framing(is_http_1_0, marks.get(b"content-length"), marks.get(b"transfer-encoding"))
        if b"connection" in marks:
            options = _list_members(marks[b"connection"])
    block = FieldBlock(lines, marks, host, framing, options, _keeps_alive(is_http_1_0, options))
    is_websocket = (
        b"upgrade" in options
        and marks.get(b"upgrade", b"").rstrip(b" \t").lower() == b"websocket"
        and method == b"GET"
        and not is_http_1_0
        and not block.has_body
    )
    return RequestHead(method, target, is_http_1_0, block, is_websocket)


def parse_similar_head(data: bytes, former: RequestHead) -> RequestHead | None:
    """Read a whole request head whose fields are those of a former one, to the byte. None if they are not."""
    block = former.block
    if not (data.endswith(b"\r\n\r\n") and data.endswith(block.lines, 0, -4)):
        return None
    match = _REQUEST_LINE.fullmatch(data[: -len(block.lines) - 4])
    if match is None:
        return None
    method, target = match.groups()
    _check_line(method, target)
    return RequestHead(method, target, False, block, False)


def may_repeat_itself(head: RequestHead) -> bool:
    """Whether the fields of this head may be those of another one: nothing in them depends on the request line."""
    return (
        not (head.is_http_1_0 or head.is_websocket or head.block.has_body)
        and head.block.marks.get(b"host") == head.block.host
    )


def _check_line(method: bytes, target: bytes) -> None:
    if b"#" in target or b"\\" in target:
        raise Refused("the request target has characters that URLs do not have")
    if b"%" in target and _BAD_ESCAPE.search(target.partition(b"?")[0]):
        raise Refused("the path has a broken percent escape")
    if method in _NOT_OFFERED:
        raise Refused(f"{method.decode()} is not offered", 501)


#: repeated, they are an attack or a broken program (RFC 9112 §3.2, §6.3)
_NEVER_TWICE = frozenset({b"host", b"content-length"})
#: A tunnel to anywhere is not what a reverse proxy is for; an echo of the request would show cookies to scripts.
_NOT_OFFERED = frozenset({b"CONNECT", b"TRACE"})


def parse_response_head(data: bytes, *, request_method: bytes) -> ResponseHead:
    """Read one whole response head, up to and with its empty line. Raises ``Refused``.

    ``request_method`` is what it answers: the answer to HEAD has no body, whatever its fields say.
    """
    match = _STATUS_HEAD.fullmatch(data)
    if match is None:
        raise Refused("the response head is malformed", 502)
    version, status_digits, reason, lines = match.groups()
    is_http_1_0 = version != b"1.1"
    if is_http_1_0 and version != b"1.0":
        raise Refused("the HTTP version of the response is not 1.0 or 1.1", 502)
    status = int(status_digits)

    marks: dict[bytes, bytes] = {}
    for name, value in _RESPONSE_MARKS.findall(lines):
        name = name.lower()
        marks[name] = marks[name] + b"," + value if name in marks else value
    framing = _response_framing(status, request_method, is_http_1_0, marks)
    options = _list_members(marks[b"connection"]) if b"connection" in marks else _NO_MEMBERS
    keeps_alive = framing is not UNTIL_CLOSE and _keeps_alive(is_http_1_0, options)
    return ResponseHead(status_digits, reason or b"", lines, marks, framing, options, keeps_alive)


def _keeps_alive(is_http_1_0: bool, connection_options: frozenset[bytes]) -> bool:
    """RFC 9112 §9.3, for both directions."""
    return b"close" not in connection_options and (not is_http_1_0 or b"keep-alive" in connection_options)


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


@lru_cache(maxsize=1024)  # the same few hosts in all requests
def read_authority(authority: bytes) -> tuple[bytes, bytes] | None:
    """Give name and port (``b""`` if none) of a Host or of the same part of a URL; an IPv6 literal keeps its brackets.

    None if it is not a host.
    """
    match = _AUTHORITY.fullmatch(authority)
    return (match[1], match[2] or b"") if match else None


def split_host(host: bytes) -> tuple[bytes, bytes]:
    """Give name and port (``b""`` if none) of a checked Host."""
    return read_authority(host) or (host, b"")


def split_fields(lines: bytes) -> list[Field]:
    """Take all field lines apart; ``lines`` have a CRLF before each."""
    return [(line, name.lower(), value.strip(b" \t")) for line, name, value in _FIELD_LINE.findall(lines[2:] + b"\r\n")]


@lru_cache(maxsize=256)
def _list_members(value: bytes) -> frozenset[bytes]:
    """Members of a comma-separated list (RFC 9110 §5.6.1), in lower case."""
    return frozenset(filter(None, (member.strip(b" \t") for member in value.lower().split(b","))))


_NO_MEMBERS: frozenset[bytes] = frozenset()


def _from_other_form(method: bytes, target: bytes, host: bytes | None) -> tuple[bytes, bytes | None]:
    """Turn an absolute-form target (RFC 9112 §3.2.2) into origin-form and the host it names."""
    match = _ABSOLUTE_FORM.fullmatch(target)
    if match is None:
        # authority-form belongs to CONNECT, asterisk-form to OPTIONS of a server as such: neither leads to a route.
        raise Refused("the request target is neither a path nor a URL", 501 if method == b"CONNECT" else 400)
    scheme, authority, rest = match.groups()
    if read_authority(authority) is None:
        raise Refused("the URL in the request line has no proper host")
    # The RFC lets the URL win over Host. Whoever sends two different ones wants two programs to choose differently.
    if host is not None and _comparable(host, scheme) != _comparable(authority, scheme):
        raise Refused("the URL in the request line and Host name different hosts")
    return (rest if rest.startswith(b"/") else b"/" + rest), authority


def _comparable(authority: bytes, scheme: bytes) -> tuple[bytes, bytes]:
    name, port = split_host(authority)
    return name.lower(), port or (b"443" if scheme.lower() == b"https" else b"80")


def _request_framing(is_http_1_0: bool, length: bytes | None, codings: bytes | None) -> Framing:
    """RFC 9112 §6.1 to §6.3, for requests; every doubtful case is refused."""
    if codings is not None:
        if length is not None:
            raise Refused("both Content-Length and Transfer-Encoding")
        if is_http_1_0:
            raise Refused("Transfer-Encoding in an HTTP/1.0 request")
        members = [member.strip(b" \t") for member in codings.lower().split(b",")]
        if members == [b"chunked"]:
            return CHUNKED
        if members[-1] == b"chunked" and members.count(b"chunked") == 1 and all(members):
            raise Refused("a transfer coding other than chunked", 501)
        raise Refused("the body has no end: chunked is not the last transfer coding, once")
    if length is None:
        return NO_BODY
    framing = _read_length(length)
    if framing is None:
        raise Refused("Content-Length is not one number")
    return framing


def _response_framing(status: int, request_method: bytes, is_http_1_0: bool, marks: dict[bytes, bytes]) -> Framing:
    """RFC 9112 §6.3, for responses. The only repair: several equal lengths are one."""
    length = marks.get(b"content-length")
    framing = UNTIL_CLOSE
    if length is not None:
        if b"," in length:
            several = {single.strip(b" \t") for single in length.split(b",")}
            length = several.pop() if len(several) == 1 else b""
        if (read := _read_length(length)) is None:
            raise Refused("Content-Length of the response is not one number", 502)
        framing = read
    if status < 200 or status in BODILESS_STATUS or request_method == b"HEAD":
        return NO_BODY
    if b"transfer-encoding" in marks:
        if length is not None:
            raise Refused("the response has both Content-Length and Transfer-Encoding", 502)
        if is_http_1_0 or marks[b"transfer-encoding"].rstrip(b" \t").lower() != b"chunked":
            raise Refused("the response has a transfer coding other than chunked", 502)
        return CHUNKED
    return framing
