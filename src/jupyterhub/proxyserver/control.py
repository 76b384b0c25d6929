"""The REST API by which a hub keeps the routing table: ``/api/routes`` (proxy-contract.md §2).

Pure but for the clock: a request in, an answer out. The order of the checks is part of the contract: address, method,
JSON, secret, content.
"""

from __future__ import annotations

import hmac
import json
import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote

from .counters import Counters
from .crew import Crew
from .protocol.routes import RouteTable
from .small_http import Answer, WholeRequest

log = logging.getLogger(__name__)

_JSON_FIELDS = {"Content-Type": "application/json"}
_TEXT_FIELDS = {"Content-Type": "text/plain; charset=utf-8"}
_PREFIX = "/api/routes"
# The word may stand anywhere in the field (``Basic token secret`` has been seen); what follows is the whole secret.
_TOKEN = re.compile(rb"\btoken[ \t]+([^ \t]+)")


class Control:
    def __init__(
        self,
        routes: RouteTable,
        *,
        secret: str,
        counters: Counters,
        crew: Crew | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``secret`` ``""`` leaves the API open. Workers of ``crew`` are kept in step."""
        self._crew = crew
        self._routes = routes
        self._secret = secret.encode()
        self._counters = counters
        self._clock = clock
        #: not yet told to the workers
        self._changes: list[tuple[Any, ...]] = []

    def answer(self, request: WholeRequest) -> Answer:
        answer = self._answer(request)
        self._counters.requests_api[answer.status] += 1
        self._counters.routes = len(self._routes)
        level = logging.INFO if answer.status < 400 else logging.WARNING
        log.log(level, "%d %s %s", answer.status, request.head.method.decode(), request.head.path_raw.decode())
        return answer

    async def answer_for_all(self, request: WholeRequest) -> Answer:
        """Answer when all workers have said what they know and done what was asked."""
        assert self._crew is not None
        if request.head.method == b"GET":
            await self._crew.collect()
        answer = self.answer(request)
        changes, self._changes = self._changes, []
        for change in changes:
            await self._crew.tell(*change)
        return answer

    def _answer(self, request: WholeRequest) -> Answer:
        path_raw = request.head.path_raw.decode()
        if path_raw != _PREFIX and not path_raw.startswith(_PREFIX + "/"):
            return Answer(404, b"Not Found", _TEXT_FIELDS)
        method = request.head.method
        if method not in (b"GET", b"POST", b"DELETE"):
            return Answer(405, b"Method not supported", {**_TEXT_FIELDS, "Allow": "GET, POST, DELETE"})
        body: Any = None
        if method == b"POST":
            try:
                body = json.loads(request.body, parse_constant=_refuse_constant)
            except (ValueError, RecursionError) as error:
                return Answer(400, f"Body not valid JSON: {error}".encode(), _TEXT_FIELDS)
        if not self._is_authorized(request):
            return Answer(403)
        try:
            path = unquote(path_raw[len(_PREFIX) :], errors="strict") or "/"
        except UnicodeDecodeError:
            return Answer(400, b"The path of the route is not percent-encoded UTF-8.", _TEXT_FIELDS)

        if method == b"POST":
            return self._add(path, body)
        if method == b"DELETE":
            return self._delete(path)
        query = request.head.target.partition(b"?")[2].decode()
        # Without a path, or with nothing but a slash, all routes are meant: the root's own is found among them.
        return self._list(query) if path == "/" else self._get(path)

    def _is_authorized(self, request: WholeRequest) -> bool:
        if not self._secret:
            return True
        match = _TOKEN.search(request.field(b"authorization") or b"")
        return match is not None and hmac.compare_digest(match[1], self._secret)

    def _list(self, query: str) -> Answer:
        self._counters.api_route_get += 1
        parameters = parse_qs(query)
        since_text = (parameters.get("inactiveSince") or parameters.get("inactive_since") or [""])[0]
        since = float("inf")
        if since_text:
            parsed = parse_moment(since_text)
            if parsed is None:
                return Answer(400, f"Invalid datestamp '{since_text}' must be ISO8601.".encode(), _TEXT_FIELDS)
            since = parsed
        shown = (f"{json.dumps(route.path)}:{route.as_json()}" for route in self._routes if route.last_activity < since)
        return Answer(200, ("{" + ",".join(shown) + "}").encode(), _JSON_FIELDS)

    def _get(self, path: str) -> Answer:
        self._counters.api_route_get += 1
        route = self._routes.get(path)
        return Answer(404) if route is None else Answer(200, route.as_json().encode(), _JSON_FIELDS)

    def _add(self, path: str, body: Any) -> Answer:
        if not isinstance(body, dict) or not isinstance(body.get("target"), str):
            return Answer(400, b"Must specify 'target' as string", _TEXT_FIELDS)
        self._counters.api_route_add += 1
        moment = self._clock()
        route = self._routes.add(path, body, now=moment)
        if self._crew is not None:
            self._changes.append(("add", path, body, moment))
        if route.target is None:
            log.warning("route %r leads nowhere: %s", path, route.target_problem)
        else:
            log.info("route added %r -> %s", path, route.target.address)
        return Answer(201)

    def _delete(self, path: str) -> Answer:
        if not self._routes.remove(path):
            return Answer(404)
        if self._crew is not None:
            self._changes.append(("remove", path))
        self._counters.api_route_delete += 1
        log.info("route removed %r", path)
        return Answer(204)


def parse_moment(text: str) -> float | None:
    """Read an ISO 8601 date or time as seconds since the epoch; without a zone it is UTC. None if it is neither."""
    for candidate in (text, text.replace(" ", "+")):  # a "+" that was not encoded arrives as a space
        try:
            moment = datetime.fromisoformat(candidate)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            continue
    return None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
