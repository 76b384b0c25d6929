"""Borders of WebSocket frames (RFC 6455 §5.2), for the one thing that the proxy says on a joined connection: a ping.

A control frame may stand between any two frames, also between the fragments of a message (§5.4). Payloads are skipped
and never looked at.
"""

from __future__ import annotations

#: an unmasked ping without a payload, from a server (§5.5.2)
PING = b"\x89\x00"


class FrameBorders:
    """Follows one direction; ``is_at_border`` says whether a frame of our own may be put in now."""

    __slots__ = ("_header", "_left")

    def __init__(self) -> None:
        #: the start of a frame's header that is not complete
        self._header = b""
        #: bytes of the current frame's payload still to come
        self._left = 0

    @property
    def is_at_border(self) -> bool:
        return not self._left and not self._header

    def feed(self, data: bytes) -> None:
        at = 0
        while True:
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
            if at == len(data):
                return
            header = self._header + data[at : at + 14 - len(self._header)]
            size = header_bytes(header)
            if len(header) < size:
                self._header = header
                return
            at += size - len(self._header)
            self._header = b""
            self._left = payload_bytes(header)


def header_bytes(start: bytes) -> int:
    """Give the length of a header of which this is the start; 2 as long as that is not known."""
    if len(start) < 2:
        return 2
    short = start[1] & 0x7F
    return 2 + (2 if short == 126 else 8 if short == 127 else 0) + (4 if start[1] & 0x80 else 0)


def payload_bytes(header: bytes) -> int:
    short = header[1] & 0x7F
    if short == 126:
        return int.from_bytes(header[2:4], "big")
    return int.from_bytes(header[2:10], "big") if short == 127 else short


def is_empty_pong(data: bytes) -> bool:
    """Say whether these bytes are one masked pong without a payload: what a client answers to ``PING``."""
    return len(data) == 6 and data[0] == 0x8A and data[1] == 0x80
