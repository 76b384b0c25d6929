"""The routing table: which target answers for a request.

A small state in memory that a hub can rebuild at any time through the REST API (``control``). Keys are decoded paths;
with host routing their first segment is a host. Matching walks a tree of segments, so its cost is the depth of the
deepest route and not the number of routes or the length of the path.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_to_bytes

from .heads import split_host
from .targets import BadTarget, Target, parse_target

Json = Any


class Route:
    """One entry. Mutable in one thing: ``last_activity``, which moves with every byte that counts."""

    __slots__ = ("_data_json", "data", "kind", "last_activity", "path", "prefix", "target", "target_problem")

    def __init__(self, path: str, data: Mapping[str, Json], prefix: bytes, now: float) -> None:
        #: the key: decoded, with a leading and without a trailing slash
        self.path = path
        #: as posted, with ``target``
        self.data = data
        #: what ``--no-include-prefix`` takes off: the key's path, decoded, without a host; ``b""`` for the root
        self.prefix = prefix
        #: what metrics tell apart: whose route it is, as a hub marks it (proxy-contract.md §3)
        self.kind = next((kind for kind in ("hub", "user", "service") if kind in data), "other")
        #: seconds since the epoch
        self.last_activity = now
        self.target: Target | None = None
        #: why there is no target, ``""`` if there is one
        self.target_problem = ""
        try:
            self.target = parse_target(data["target"])
        except BadTarget as problem:
            # The REST API takes any string as a target (proxy-contract.md §2); the request that meets it gets a 500.
            self.target_problem = str(problem)
        shown = {key: value for key, value in data.items() if key != "last_activity"}
        # Rendered once: a hub reads the whole table every few minutes, and with 10,000 routes each microsecond counts.
        self._data_json = json.dumps(shown, separators=(",", ":"))[:-1]

    def as_json(self) -> str:
        """Give what the REST API shows: the data as posted and ``last_activity``, in milliseconds."""
        moment = datetime.fromtimestamp(self.last_activity, UTC).isoformat(timespec="milliseconds")
        return f'{self._data_json},"last_activity":"{moment[:-6]}Z"}}'


class _Node(dict[bytes, "_Node"]):
    """The segments that may follow a prefix, and the route that ends there."""

    __slots__ = ("route",)

    def __init__(self) -> None:
        self.route: Route | None = None


class RouteTable:
    def __init__(self, *, host_routing: bool = False) -> None:
        self._host_routing = host_routing
        self._routes: dict[str, Route] = {}
        self._root = _Node()
        #: no request path is split into more pieces than this
        self._depth = 0

    def __len__(self) -> int:
        return len(self._routes)

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes.values())

    def listed(self) -> list[tuple[str, dict[str, Json], float]]:
        """Give path, data and last activity of each: what another table is filled with."""
        return [(route.path, dict(route.data), route.last_activity) for route in self]

    def fill(self, listed: Iterable[tuple[str, dict[str, Json], float]]) -> None:
        for path, data, moment in listed:
            self.add(path, data, now=moment)

    def get(self, path: str) -> Route | None:
        return self._routes.get(clean_path(path))

    def add(self, path: str, data: Mapping[str, Json], *, now: float) -> Route:
        """Add or replace the route at this decoded path. ``data["target"]`` must be a string."""
        key = clean_path(path)
        segments = self._segments(key)
        prefix_segments = segments[1:] if self._host_routing else segments
        if self._host_routing and segments:
            data = {**data, "host": key.split("/", 2)[1]}
        route = Route(key, data, b"".join(b"/" + segment for segment in prefix_segments), now)
        node = self._root
        for segment in segments:
            node = node.setdefault(segment, _Node())
        node.route = route
        self._routes[key] = route
        self._depth = max(self._depth, len(segments))
        return route

    def remove(self, path: str) -> bool:
        """Say whether there was such a route. Requests that it carries now go on."""
        key = clean_path(path)
        if self._routes.pop(key, None) is None:
            return False
        trail = [self._root]
        segments = self._segments(key)
        for segment in segments:
            trail.append(trail[-1][segment])
        trail[-1].route = None
        for segment, parent, node in zip(reversed(segments), reversed(trail[:-1]), reversed(trail[1:]), strict=True):
            if node or node.route is not None:
                break
            del parent[segment]
        return True

    def find(self, host: bytes | None, path_raw: bytes) -> Route | None:
        """Return the route with the longest prefix of this request, or None (the caller answers 404).

        ``path_raw`` is the path of an origin-form target (RFC 9112 §3.2.1), still percent-encoded. Prefixes end at
        segment borders of the decoded path: ``/user/ada`` matches ``/user/ada/lab``, not ``/user/adam``. Dot segments
        mean nothing here: the path is passed on as it is, and whoever resolves them does it inside the chosen target.
        """
        path = unquote_to_bytes(path_raw) if b"%" in path_raw else path_raw
        segments = path.split(b"/", self._depth + 1)
        # Before the first slash there is nothing; or, so to speak, the host.
        if self._host_routing:
            segments[0] = split_host(host)[0].lower() if host else b""
        else:
            del segments[0]
        node: _Node | None = self._root
        best = self._root.route
        for segment in segments:
            node = node.get(segment)  # type: ignore[union-attr]
            if node is None:
                break
            if node.route is not None:
                best = node.route
        return best

    def _segments(self, key: str) -> list[bytes]:
        if key == "/":
            return []
        segments = key.encode("utf-8", "surrogatepass")[1:].split(b"/")
        if self._host_routing:
            segments[0] = segments[0].lower()  # host names do not know case (RFC 9110 §4.2.3)
        return segments


def clean_path(path: str) -> str:
    """Give the key of a decoded path: one leading slash at least, no trailing slash unless it is the root."""
    if not path.startswith("/"):
        path = "/" + path
    return path.rstrip("/") or "/"
