"""From the bytes of a connection to events: one reader for the client's side, one for the upstream's.

A reader gives the events of one message and then stops: what came behind it (pipelined requests, the first bytes of a
WebSocket) is kept until somebody asks for the next message or for the bytes. Violations raise ``heads.Refused``.
"""

from __future__ import annotations

from dataclasses import dataclass

from .bodies import BodyReader, body_reader
from .heads import (
    MAX_HEAD_BYTES,
    UNTIL_CLOSE,
    Refused,
    RequestHead,
    ResponseHead,
    looks_like_a_request,
    parse_request_head,
    parse_response_head,
)


@dataclass(frozen=True, slots=True)
class RequestBody:
    data: bytes
    is_last: bool


@dataclass(frozen=True, slots=True)
class ResponseBody:
    data: bytes
    is_last: bool


class _HeadBuffer:
    """Collects bytes until a head is complete, looking at each byte once however slowly they drip in."""

    __slots__ = ("_data", "_searched")

    def __init__(self) -> None:
        self._data = bytearray()
        self._searched = 0

    def __len__(self) -> int:
        return len(self._data)

    def start(self) -> bytes:
        return bytes(self._data[:MAX_HEAD_BYTES])

    def take(self, data: bytes, too_long: Refused) -> tuple[bytes, bytes] | None:
        """Add ``data``; give (head with its empty line, what follows) as soon as the head is complete."""
        if not self._data:  # nearly always: the head comes in one piece and is not copied into the buffer
            end = data.find(b"\r\n\r\n") + 4
            if end >= 4:
                if end > MAX_HEAD_BYTES:
                    raise too_long
                return data[:end], data[end:]
            self._data += data
        else:
            self._data += data
            end = self._data.find(b"\r\n\r\n", max(0, self._searched - 3)) + 4
            if end >= 4:
                if end > MAX_HEAD_BYTES:
                    raise too_long
                head, rest = bytes(self._data[:end]), bytes(self._data[end:])
                self._data.clear()
                self._searched = 0
                return head, rest
        self._searched = len(self._data)
        if self._searched > MAX_HEAD_BYTES:
            raise too_long
        return None


class RequestReader:
    """The client's side of a connection. ``is_complete`` stops it until ``next_message``."""

    __slots__ = ("_body", "_head", "_rest", "_unpack", "is_complete")

    def __init__(self, *, unpack: bool = False) -> None:
        """``unpack`` takes chunked bodies out of their chunks."""
        self._unpack = unpack
        self._head = _HeadBuffer()
        self._body: BodyReader | None = None
        self._rest = b""
        self.is_complete = False

    @property
    def is_inside_head(self) -> bool:
        return len(self._head) > 0

    @property
    def is_between_messages(self) -> bool:
        """Nothing of a message is here: a good moment for either side to close."""
        return self._body is None and not self.is_complete and not len(self._head)

    def feed(self, data: bytes) -> list[RequestHead | RequestBody]:
        if self.is_complete:
            self._rest += data
            return []
        if self._body is not None:
            return [self._feed_body(self._body, data)]
        if not len(self._head):
            # RFC 9112 §2.2: empty lines before the request line are to be ignored (old clients end bodies with one).
            data = data.lstrip(b"\r\n") if data[:1] in (b"\r", b"\n") else data
            if not data:
                return []
        taken = self._head.take(data, Refused("the request head is too long", 431))
        if taken is None:
            if not looks_like_a_request(self._head.start()):
                raise Refused("this is not an HTTP request")
            return []
        head = parse_request_head(taken[0])
        if head.framing.is_empty:
            self.is_complete = True
            self._rest = taken[1]
            return [head]  # no event for the end of nothing
        self._body = body_reader(head.framing, unpack=self._unpack)
        if taken[1]:
            return [head, self._feed_body(self._body, taken[1])]
        return [head]

    def next_message(self) -> list[RequestHead | RequestBody]:
        """Go on behind a complete message."""
        rest, self._rest = self._rest, b""
        self._body = None
        self.is_complete = False
        return self.feed(rest) if rest else []

    @property
    def held_bytes(self) -> int:
        return len(self._rest)

    def take_rest(self) -> bytes:
        """Give up reading HTTP: the bytes behind the message belong to another protocol."""
        rest, self._rest = self._rest, b""
        return rest

    def _feed_body(self, body: BodyReader, data: bytes) -> RequestBody:
        passed, rest = body.feed(data)
        if rest is None:
            return RequestBody(passed, False)
        self.is_complete = True
        self._rest = rest
        return RequestBody(passed, True)


_NO_RESPONSE_BODY = ResponseBody(b"", True)


class ResponseReader:
    """The upstream's side of one exchange: any number of 1xx heads, then one answer."""

    __slots__ = ("_body", "_final", "_head", "_method", "_rest", "_unpack", "has_started", "is_complete")

    def __init__(self, *, request_method: bytes, unpack: bool = False) -> None:
        self._method = request_method
        self._unpack = unpack
        self._head = _HeadBuffer()
        self._body: BodyReader | None = None
        self._final: ResponseHead | None = None
        self._rest = b""
        #: a byte has come: the request was read by somebody and must not be sent again
        self.has_started = False
        self.is_complete = False

    def feed(self, data: bytes) -> list[ResponseHead | ResponseBody]:
        """Raises ``Refused`` with status 502 if the upstream breaks the rules."""
        self.has_started = True
        if self._body is not None and not self.is_complete:
            return [self._feed_body(self._body, data)]
        events: list[ResponseHead | ResponseBody] = []
        while data and not self.is_complete:
            taken = self._head.take(data, Refused("the response head is too long", 502))
            if taken is None:
                return events
            head = parse_response_head(taken[0], request_method=self._method)
            data = taken[1]
            events.append(head)
            if head.is_informational:
                continue
            self._final = head
            if head.framing.is_empty:
                self.is_complete = True
                if head.status != 101:  # behind that come bytes of another protocol, until both sides have closed
                    events.append(_NO_RESPONSE_BODY)
                break
            self._body = body_reader(head.framing, unpack=self._unpack)
            if data:
                events.append(self._feed_body(self._body, data))
            return events
        self._rest += data
        return events

    def feed_eof(self) -> list[ResponseHead | ResponseBody]:
        """The upstream has closed. Gives the end of a body that ends so; nothing otherwise."""
        if self._final is not None and self._final.framing is UNTIL_CLOSE and not self.is_complete:
            self.is_complete = True
            return [_NO_RESPONSE_BODY]
        return []

    @property
    def is_reusable(self) -> bool:
        """The connection can carry another request: this answer is complete, nothing unasked followed it."""
        return self.is_complete and self._final is not None and self._final.keeps_alive and not self._rest

    def take_rest(self) -> bytes:
        rest, self._rest = self._rest, b""
        return rest

    def _feed_body(self, body: BodyReader, data: bytes) -> ResponseBody:
        try:
            passed, rest = body.feed(data)
        except Refused as refusal:
            raise Refused(str(refusal), 502) from refusal
        if rest is None:
            return ResponseBody(passed, False)
        self.is_complete = True
        self._rest = rest
        return ResponseBody(passed, True)
