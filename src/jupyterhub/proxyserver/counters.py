"""What the proxy counts, and how the metrics endpoint writes it; names and types are configurable-http-proxy's.

Plain integers that are always counted. The text format is written by hand: the client library would add ``_total`` to
names that dashboards already know without it, and it costs a start more time than all of the proxy's own modules.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass, field, fields
from pathlib import Path


@dataclass(slots=True)
class Summary:
    """How often something was done and the seconds it took."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.seconds += seconds


#: upper ends of the buckets of durations, in seconds
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


#: the status of requests whose client did not wait for the answer, in the counts and the access log only
CLIENT_GONE = 499


class Tally:
    """Answers of one kind of route."""

    __slots__ = ("buckets", "by_status", "seconds", "sent_bytes")

    def __init__(self) -> None:
        self.by_status: Counter[int] = Counter()
        #: by duration; not cumulative, and the last one is for what took longer than all of ``BUCKETS``
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0
        self.sent_bytes = 0

    def add(self, status: int, seconds: float, sent_bytes: int) -> None:
        self.by_status[status] += 1
        self.buckets[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds
        self.sent_bytes += sent_bytes

    def merge(self, other: Tally) -> None:
        self.by_status.update(other.by_status)
        self.buckets = [mine + theirs for mine, theirs in zip(self.buckets, other.buckets, strict=True)]
        self.seconds += other.seconds
        self.sent_bytes += other.sent_bytes


@dataclass(slots=True)
class Counters:
    api_route_get: int = 0
    api_route_add: int = 0
    api_route_delete: int = 0
    requests_ws: int = 0
    requests_web: int = 0
    #: by status
    requests_api: Counter[int] = field(default_factory=Counter)
    find_target_for_req: Summary = field(default_factory=Summary)
    last_activity_updating: Summary = field(default_factory=Summary)
    #: by the kind of the route; "none" for requests that none was found for
    answers: defaultdict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    #: of bodies of requests; joined connections are not counted
    bytes_in: int = 0
    #: by what went wrong: ``connect``, ``ended`` (before the answer was complete), ``protocol``
    upstream_errors: Counter[str] = field(default_factory=Counter)
    #: not HTTP as we read it
    refused_requests: int = 0
    #: beyond the limits
    refused_connections: int = 0
    #: processes that proxy
    workers: int = 0
    #: gauges
    open_websockets: int = 0
    client_connections: int = 0
    routes: int = 0
    started_at: float = field(default_factory=time.time)

    @property
    def requests_proxy(self) -> Counter[int]:
        """Answers by status; without those that nobody waited for."""
        total: Counter[int] = Counter()
        for tally in self.answers.values():
            total.update(tally.by_status)
        del total[CLIENT_GONE]
        return total

    async def itself(self) -> Counters:
        """What ``Crew.collect`` gives, where there is but one process."""
        return self

    def add(self, other: Counters) -> None:
        """Add another process's counts."""
        for item in fields(self):
            mine, theirs = getattr(self, item.name), getattr(other, item.name)
            if isinstance(mine, Counter):
                mine.update(theirs)
            elif isinstance(mine, Summary):
                mine.count += theirs.count
                mine.seconds += theirs.seconds
            elif isinstance(mine, defaultdict):
                for kind, tally in theirs.items():
                    mine[kind].merge(tally)
            elif item.name != "started_at":
                setattr(self, item.name, mine + theirs)

    def as_text(self) -> str:
        """Write the Prometheus text format, version 0.0.4."""
        lines: list[str] = []

        def metric(name: str, kind: str, explanation: str, *samples: tuple[str, float]) -> None:
            lines.extend((f"# HELP {name} {explanation}", f"# TYPE {name} {kind}"))
            lines.extend(f"{name}{suffix} {value:.10g}" for suffix, value in samples)

        metric("api_route_get", "counter", "Count of API route get requests", ("", self.api_route_get))
        metric("api_route_add", "counter", "Count of API route add requests", ("", self.api_route_add))
        metric("api_route_delete", "counter", "Count of API route delete requests", ("", self.api_route_delete))
        for name, summary, explanation in (
            ("find_target_for_req", self.find_target_for_req, "Summary of find target requests"),
            ("last_activity_updating", self.last_activity_updating, "Summary of last activity updating requests"),
        ):
            metric(name, "summary", explanation, ("_sum", summary.seconds), ("_count", summary.count))
        metric("requests_ws", "counter", "Count of websocket requests", ("", self.requests_ws))
        metric("requests_web", "counter", "Count of web requests", ("", self.requests_web))
        for name, by_status, explanation in (
            ("requests_proxy", self.requests_proxy, "Count of proxy requests"),
            ("requests_api", self.requests_api, "Count of API requests"),
        ):
            samples = [(f'{{status="{status}"}}', count) for status, count in sorted(by_status.items())]
            metric(name, "counter", explanation, *samples)
        answers: list[tuple[str, float]] = []
        durations: list[tuple[str, float]] = []
        sent: list[tuple[str, float]] = []
        for kind, tally in sorted(self.answers.items()):
            answers += [
                (f'{{route="{kind}",status="{status}"}}', count) for status, count in sorted(tally.by_status.items())
            ]
            count = 0
            for end, inside in zip([*map(str, BUCKETS), "+Inf"], tally.buckets, strict=True):
                count += inside
                durations.append((f'_bucket{{route="{kind}",le="{end}"}}', count))
            durations += [(f'_sum{{route="{kind}"}}', tally.seconds), (f'_count{{route="{kind}"}}', count)]
            sent.append((f'{{route="{kind}"}}', tally.sent_bytes))
        metric("proxy_answers_total", "counter", "Answers by kind of route (hub, user, …) and status", *answers)
        metric("proxy_answer_seconds", "histogram", "From a request's head to the end of its answer", *durations)
        metric("proxy_sent_bytes_total", "counter", "Bytes of answers", *sent)
        metric("proxy_received_bytes_total", "counter", "Bytes of request bodies", ("", self.bytes_in))
        errors = [(f'{{kind="{kind}"}}', count) for kind, count in sorted(self.upstream_errors.items())]
        metric("proxy_upstream_errors_total", "counter", "Upstreams that failed, by what went wrong", *errors)
        metric(
            "proxy_refused_requests_total", "counter", "Requests that are not proper HTTP", ("", self.refused_requests)
        )
        refused = self.refused_connections
        metric("proxy_refused_connections_total", "counter", "Connections beyond the limits", ("", refused))
        metric("proxy_workers", "gauge", "Processes that proxy", ("", self.workers))
        metric("proxy_open_websockets", "gauge", "Joined connections", ("", self.open_websockets))
        metric("proxy_client_connections", "gauge", "Open connections of clients", ("", self.client_connections))
        metric("proxy_routes", "gauge", "Routes in the table", ("", self.routes))
        metric("process_cpu_seconds_total", "counter", "CPU time of the process", ("", time.process_time()))
        metric("process_start_time_seconds", "gauge", "Start of the process, unix time", ("", self.started_at))
        if (resident := _resident_bytes()) is not None:
            metric("process_resident_memory_bytes", "gauge", "Resident memory of the process", ("", resident))
        return "\n".join(lines) + "\n"


def _resident_bytes() -> int | None:
    """Linux only; None elsewhere."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
