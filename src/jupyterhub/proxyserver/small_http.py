"""A small HTTP/1.1 server for the proxy's own addresses: REST API, metrics, redirects to HTTPS.

Whole requests in, whole answers out, one function in between. Public traffic does not come this way (``server``), but
the strict reading of ``protocol`` is the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import cast

from .httpdate import http_date
from .protocol.heads import Refused, RequestHead
from .protocol.reading import RequestReader

log = logging.getLogger(__name__)

#: of a request body; a route with its data is some hundred bytes
MAX_BODY_BYTES = 1024 * 1024
#: for a whole request to arrive
REQUEST_TIMEOUT_S = 60.0
#: between requests; longer than clients' own habit of dropping idle connections, so that they seldom meet a closed one
IDLE_TIMEOUT_S = 75.0


@dataclass(frozen=True, slots=True)
class WholeRequest:
    head: RequestHead
    body: bytes

    def field(self, name: bytes) -> bytes | None:
        """Give the first field of this name (lower case)."""
        return next((value for _, field_name, value in self.head.fields if field_name == name), None)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes = b""
    fields: Mapping[str, str] = field(default_factory=dict)


def answer_bytes(answer: Answer, *, keep_alive: bool, to_head: bool = False, is_http_1_0: bool = False) -> bytes:
    """Write an answer of the proxy itself."""
    lines = [f"HTTP/1.1 {answer.status} {reason_phrase(answer.status)}"]
    lines += [f"{name}: {value}" for name, value in answer.fields.items()]
    lines.append(f"Date: {http_date().decode()}")
    if answer.status != 204:
        lines.append(f"Content-Length: {len(answer.body)}")
    if not keep_alive:
        lines.append("Connection: close")
    elif is_http_1_0:
        lines.append("Connection: keep-alive")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    return head if to_head else head + answer.body


def reason_phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _failed(request: WholeRequest) -> Answer:
    log.exception("no answer to %s %s", request.head.method.decode(), request.head.path_raw.decode())
    return Answer(500)


class SmallServer(asyncio.Protocol):
    """One connection to one of the proxy's own addresses."""

    def __init__(self, answer: Callable[[WholeRequest], Answer | Coroutine[None, None, Answer]]) -> None:
        self._answer = answer
        self._reader = RequestReader(unpack=True)
        self._head: RequestHead | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        #: an answer that is waited for
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()
        self._set_timer(REQUEST_TIMEOUT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._take(self._reader.feed(data))
            self._respond_all()
        except Refused as refusal:
            self._send(Answer(refusal.status, str(refusal).encode()), keep_alive=False)

    def _respond_all(self) -> None:
        """Answer what is here, one request after the other."""
        while self._reader.is_complete and self._task is None and not self._transport.is_closing():
            assert self._head is not None
            request = WholeRequest(self._head, b"".join(self._body))
            try:
                answer = self._answer(request)
            except Exception:
                answer = _failed(request)
            if isinstance(answer, Answer):
                self._send(answer, keep_alive=request.head.wants_keep_alive)
                self._take(self._reader.next_message())
            else:
                self._transport.pause_reading()
                self._task = self._loop.create_task(self._respond_later(request, answer))

    async def _respond_later(self, request: WholeRequest, coming: Coroutine[None, None, Answer]) -> None:
        try:
            answer = await coming
        except Exception:
            answer = _failed(request)
        self._task = None
        if self._transport.is_closing():
            return
        self._send(answer, keep_alive=request.head.wants_keep_alive)
        if not self._transport.is_closing():
            self._transport.resume_reading()
            try:
                self._take(self._reader.next_message())
                self._respond_all()
            except Refused as refusal:
                self._send(Answer(refusal.status, str(refusal).encode()), keep_alive=False)

    def _take(self, events: list[RequestHead | bytes]) -> None:
        for event in events:
            if isinstance(event, RequestHead):
                self._head = event
                self._body.clear()
                self._body_bytes = 0
                self._set_timer(REQUEST_TIMEOUT_S)
                if any(name == b"expect" and value.lower() == b"100-continue" for _, name, value in event.fields):
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            else:
                self._body.append(event)
                self._body_bytes += len(event)
                if self._body_bytes > MAX_BODY_BYTES:
                    raise Refused("the body is too long", 413)

    def _send(self, answer: Answer, *, keep_alive: bool) -> None:
        if self._transport.is_closing():
            return
        to_head = self._head is not None and self._head.method == b"HEAD"
        is_http_1_0 = self._head is not None and self._head.is_http_1_0
        self._transport.write(answer_bytes(answer, keep_alive=keep_alive, to_head=to_head, is_http_1_0=is_http_1_0))
        if keep_alive:
            self._set_timer(IDLE_TIMEOUT_S)
        else:
            self._transport.close()

    def _set_timer(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._transport.close)
