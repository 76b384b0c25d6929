"""Where a body ends: one small reader for each framing of RFC 9112 §6.3, as a body passes through.

Each has ``feed(data)``, which gives the part to pass on and what lies behind the end; ``None`` for the latter means
that the body goes on. Chunked bodies pass as they came, framing and all, but no byte of framing passes unchecked; for a
reader that does not know chunks (HTTP/1.0) they can be unpacked.
"""

from __future__ import annotations

import re
from typing import Protocol

from .heads import CHUNKED, MAX_HEAD_BYTES, UNTIL_CLOSE, Framing, Refused, check_trailer_line

#: chunk-size with its extensions (RFC 9112 §7.1.1). Nobody uses them; endless ones have been used to exhaust servers.
_MAX_SIZE_LINE = 256
_MAX_TRAILER_LINE = 8 * 1024
# Up to 15 hexadecimal digits cannot overflow anybody's 64 bits. No sign, no white space around the size.
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*+)?")


class BodyReader(Protocol):
    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Give what may be passed on, and what lies behind the body or None if it goes on. May raise ``Refused``."""


class LengthBody:
    """A body of a known number of bytes."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        self._left = length

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        left = self._left - len(data)
        if left > 0:
            self._left = left
            return data, None
        if left == 0:
            self._left = 0
            return data, b""
        body, rest = data[: self._left], data[self._left :]
        self._left = 0
        return body, rest


class UntilCloseBody:
    """A response body that ends with the connection."""

    __slots__ = ()

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        return data, None


class ChunkedBody:
    """A chunked body (RFC 9112 §7.1), passed on as it came or, with ``unpack``, without chunks and trailers.

    Line by line: size, data, CRLF, …, size 0, trailers, empty line. A line that has not ended yet is held back, so
    that only checked framing is passed on; chunk data is passed on at once.
    """

    __slots__ = ("_held", "_left", "_state", "_trailer_bytes", "_unpack")

    _SIZE, _DATA, _DATA_END, _TRAILERS = range(4)

    def __init__(self, *, unpack: bool = False) -> None:
        self._unpack = unpack
        self._state = self._SIZE
        #: the start of an unfinished line
        self._held = b""
        #: bytes of the current chunk still to come
        self._left = 0
        self._trailer_bytes = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        if self._held:
            data = self._held + data
            self._held = b""
        unpacked: list[bytes] = []
        at, end = 0, len(data)
        while True:
            if self._state == self._DATA:
                stop = min(end, at + self._left)
                if self._unpack:
                    unpacked.append(data[at:stop])
                self._left -= stop - at
                at = stop
                if self._left:
                    return self._passed(data, at, unpacked), None
                self._state = self._DATA_END

            if self._state == self._DATA_END:
                if not b"\r\n".startswith(data[at : at + 2]):
                    raise Refused("chunk data is not followed by CRLF")
                if end - at < 2:
                    break
                at += 2
                self._state = self._SIZE

            line_end = data.find(b"\r\n", at)
            if line_end == -1:
                break
            if self._state == self._SIZE:
                match = _SIZE_LINE.fullmatch(data, at, line_end)
                if match is None or line_end - at > _MAX_SIZE_LINE:
                    raise Refused("the size of a chunk is malformed")
                at = line_end + 2
                self._left = int(match[1], 16)
                self._state = self._DATA if self._left else self._TRAILERS
            elif line_end == at:
                at += 2
                return self._passed(data, at, unpacked), data[at:]
            else:
                self._trailer_bytes += line_end + 2 - at
                if self._trailer_bytes > MAX_HEAD_BYTES:
                    raise Refused("the trailers are too long", 431)
                check_trailer_line(data[at : line_end + 2])
                at = line_end + 2

        self._held = data[at:]
        if b"\n" in self._held:
            raise Refused("a line of the chunked body ends with a bare LF")
        if len(self._held) > (_MAX_SIZE_LINE if self._state == self._SIZE else _MAX_TRAILER_LINE):
            raise Refused("a line of the chunked body is too long")
        return self._passed(data, at, unpacked), None

    def _passed(self, data: bytes, at: int, unpacked: list[bytes]) -> bytes:
        if self._unpack:
            return b"".join(unpacked)
        return data if at == len(data) else data[:at]


def body_reader(framing: Framing, *, unpack: bool = False) -> BodyReader:
    if framing is CHUNKED:
        return ChunkedBody(unpack=unpack)
    if framing is UNTIL_CLOSE:
        return UntilCloseBody()
    return LengthBody(framing.length)
