"""Requests that are being answered: a hub that ends lets them end first, and keeps nobody waiting afterwards.

Watches all handlers of an application, also those of plugins: a transform of tornado's sees each request begin, the log
function sees it end. While the hub ends, each answer asks for its connection to be closed, so that a proxy takes its
next request elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import OutputTransform, RequestHandler

#: A proxy that keeps connections sends nothing that it could not repeat on one that was idle for longer.
QUIET_S = 1.5


class InFlight:
    """The requests in flight of one application."""

    def __init__(self) -> None:
        self._requests: WeakSet[HTTPServerRequest] = WeakSet()
        self._last_end = time.monotonic()
        self.is_ending = False

    def transform(self) -> type[OutputTransform]:
        """Give the class for ``Application(transforms=…)``."""
        watched = self

        class Watching(OutputTransform):
            def __init__(self, request: HTTPServerRequest) -> None:
                watched._requests.add(request)

            def transform_first_chunk(
                self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
            ) -> tuple[int, HTTPHeaders, bytes]:
                if watched.is_ending:
                    headers["Connection"] = "close"
                return status_code, headers, chunk

        return Watching

    def logging(self, log_function: Callable[[RequestHandler], None]) -> Callable[[RequestHandler], None]:
        """Give the log function for the application: it calls ``log_function``, and notes the end."""

        def log_and_note(handler: RequestHandler) -> None:
            self._requests.discard(handler.request)
            self._last_end = time.monotonic()
            log_function(handler)

        return log_and_note

    async def drain(self, *, within_s: float) -> int:
        """Wait until all requests have been answered and none comes any more; say how many are left after all."""
        self.is_ending = True
        self._last_end = time.monotonic()
        deadline = self._last_end + within_s
        while time.monotonic() < deadline:
            if not self._requests and time.monotonic() - self._last_end >= QUIET_S:
                break
            await asyncio.sleep(0.05)
        return len(self._requests)


def transforms_of(settings: dict[str, Any], in_flight: InFlight) -> list[type[OutputTransform]]:
    """Ours before those that the configuration asks for."""
    return [in_flight.transform(), *settings.pop("transforms", ())]
