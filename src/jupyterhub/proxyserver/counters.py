"""What the proxy counts, and how the metrics endpoint writes it; names and types are configurable-http-proxy's.

Plain integers that are always counted. The text format is written by hand: the client library would add ``_total`` to
names that dashboards already know without it, and it costs a start more time than all of the proxy's own modules.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Summary:
    """How often something was done and the seconds it took."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.seconds += seconds


@dataclass(slots=True)
class Counters:
    api_route_get: int = 0
    api_route_add: int = 0
    api_route_delete: int = 0
    requests_ws: int = 0
    requests_web: int = 0
    #: by status
    requests_proxy: Counter[int] = field(default_factory=Counter)
    requests_api: Counter[int] = field(default_factory=Counter)
    find_target_for_req: Summary = field(default_factory=Summary)
    last_activity_updating: Summary = field(default_factory=Summary)
    #: gauges
    client_connections: int = 0
    routes: int = 0
    started_at: float = field(default_factory=time.time)

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
