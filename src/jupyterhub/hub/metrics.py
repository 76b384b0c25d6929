"""Prometheus metrics of the hub (reference: metrics-events.md §1): names, labels and buckets that dashboards rely on.

Whoever does the work observes it here. The endpoint that shows them is ``hub/web/api/hub.py``; plugins and older code
find the same objects under ``jupyterhub.metrics``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, Literal

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

PREFIX = os.environ.get("JUPYTERHUB_METRICS_PREFIX", "jupyterhub")


def _buckets(variable: str, default: Sequence[float]) -> tuple[float, ...]:
    """Give the buckets of a histogram; an environment variable with a comma-separated list replaces the default."""
    given = os.environ.get(variable, "").strip()
    return tuple(float(each) for each in given.split(",")) if given else tuple(default)


_INF = float("inf")

REQUEST_DURATION_SECONDS = Histogram(
    "request_duration_seconds",
    "Time the hub took to answer a request",
    ["method", "handler", "code"],
    namespace=PREFIX,
)
SERVER_SPAWN_DURATION_SECONDS = Histogram(
    "server_spawn_duration_seconds",
    "Time a server took to start, or to fail",
    ["status", "reason"],
    buckets=_buckets(
        "JUPYTERHUB_SERVER_SPAWN_DURATION_SECONDS_BUCKETS",
        (0.5, 1, 2.5, 5, 10, 15, 30, 60, 120, 180, 300, 600, _INF),
    ),
    namespace=PREFIX,
)
#: whether several hubs of this machine show their metrics together, by files that they share
SHARED: Final = "PROMETHEUS_MULTIPROC_DIR" in os.environ
#: Of several hubs one counts: what it has set last is what all of them show.
_COUNTED_BY_ONE: Final[Literal["mostrecent", "all"]] = "mostrecent" if SHARED else "all"
RUNNING_SERVERS = Gauge(
    "running_servers", "Servers of users that are active", namespace=PREFIX, multiprocess_mode=_COUNTED_BY_ONE
)
TOTAL_USERS = Gauge("total_users", "Users in the database", namespace=PREFIX, multiprocess_mode=_COUNTED_BY_ONE)
ACTIVE_USERS = Gauge(
    "active_users",
    "Users who were active within the period",
    ["period"],
    namespace=PREFIX,
    multiprocess_mode=_COUNTED_BY_ONE,
)
CHECK_ROUTES_DURATION_SECONDS = Histogram(
    "check_routes_duration_seconds", "Time a comparison of the proxy's routes with ours took", namespace=PREFIX
)
HUB_STARTUP_DURATION_SECONDS = Histogram("hub_startup_duration_seconds", "Time the hub took to start", namespace=PREFIX)
INIT_SPAWNERS_DURATION_SECONDS = Histogram(
    "init_spawners_duration_seconds",
    "Time it took to find running servers again when the hub started",
    namespace=PREFIX,
)
PROXY_POLL_DURATION_SECONDS = Histogram(
    "proxy_poll_duration_seconds", "Time it took to fetch all routes of the proxy", namespace=PREFIX
)
LOGIN_DURATION_SECONDS = Histogram("login_duration_seconds", "Time a login took", ["status"], namespace=PREFIX)
LOGOUT_DURATION_SECONDS = Histogram("logout_duration_seconds", "Time a logout took", namespace=PREFIX)
CSP_REPORTS = Counter(
    "csp_reports", "Reports of browsers that something broke the content security policy", namespace=PREFIX
)
PROXY_ADD_DURATION_SECONDS = Histogram(
    "proxy_add_duration_seconds", "Time it took to add the route of a server", ["status"], namespace=PREFIX
)
PROXY_DELETE_DURATION_SECONDS = Histogram(
    "proxy_delete_duration_seconds", "Time it took to delete the route of a server", ["status"], namespace=PREFIX
)
SERVER_POLL_DURATION_SECONDS = Histogram(
    "server_poll_duration_seconds",
    "Time it took to ask a spawner whether its server lives",
    ["status"],
    namespace=PREFIX,
)
SERVER_STOP_DURATION_SECONDS = Histogram(
    "server_stop_seconds",
    "Time a server took to stop",
    ["status"],
    buckets=_buckets(
        "JUPYTERHUB_SERVER_STOP_DURATION_SECONDS_BUCKETS",
        (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, _INF),
    ),
    namespace=PREFIX,
)
EVENT_LOOP_INTERVAL_SECONDS = Histogram(
    "event_loop_interval_seconds",
    "How late the event loop runs what is due",
    buckets=(0.05, 0.055, 0.06, 0.065, 0.07, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, _INF),
    namespace=PREFIX,
)


class ServerSpawnStatus(StrEnum):
    #: the server runs
    success = "success"
    #: somebody refused it on purpose: a limit, a spawner, a hook
    failure = "failure"
    #: nobody meant this to happen
    error = "error"


class SpawnReason(StrEnum):
    """The reasons that the hub itself gives; a spawner may give any other."""

    none = ""
    throttled = "throttled"
    too_many_users = "too-many-users"
    already_pending = "already-pending"
    exited = "exited"
    error = "error"
    timeout = "timeout"


class LoginStatus(StrEnum):
    # The original exports the name of its enum here, and dashboards match on that.
    success = "LoginStatus.success"
    failure = "LoginStatus.failure"


class ServerPollStatus(StrEnum):
    # As with LoginStatus.
    running = "ServerPollStatus.running"
    stopped = "ServerPollStatus.stopped"

    @classmethod
    def from_status(cls, status: int | None) -> ServerPollStatus:
        """Give the label for what ``Spawner.poll`` answered: None means that it runs."""
        return cls.running if status is None else cls.stopped


class ProxyAddStatus(StrEnum):
    success = "success"
    failure = "failure"


class ProxyDeleteStatus(StrEnum):
    success = "success"
    failure = "failure"


class ServerStopStatus(StrEnum):
    success = "success"
    failure = "failure"


class ActiveUserPeriods(StrEnum):
    twenty_four_hours = "24h"
    seven_days = "7d"
    thirty_days = "30d"


#: how long each period is, in seconds
PERIOD_LENGTHS_S = {
    ActiveUserPeriods.twenty_four_hours: 24 * 3600,
    ActiveUserPeriods.seven_days: 7 * 24 * 3600,
    ActiveUserPeriods.thirty_days: 30 * 24 * 3600,
}


def _show_at_zero() -> None:
    """Make the combinations of labels that dashboards expect from the first minute on."""
    for status in ServerSpawnStatus:
        SERVER_SPAWN_DURATION_SECONDS.labels(status=status, reason="")
    for reason in SpawnReason:
        SERVER_SPAWN_DURATION_SECONDS.labels(status=ServerSpawnStatus.failure, reason=reason)
    for metric, statuses in (
        (PROXY_ADD_DURATION_SECONDS, ProxyAddStatus),
        (PROXY_DELETE_DURATION_SECONDS, ProxyDeleteStatus),
        (SERVER_POLL_DURATION_SECONDS, ServerPollStatus),
        (SERVER_STOP_DURATION_SECONDS, ServerStopStatus),
    ):
        for each in statuses:
            metric.labels(status=each)
    for period in ActiveUserPeriods:
        ACTIVE_USERS.labels(period=period)


_show_at_zero()


def count_users(by: int) -> None:
    """Count users along as they come and go. Of several hubs one counts them all, now and then."""
    if not SHARED:
        TOTAL_USERS.inc(by)


def exposition() -> tuple[bytes, str]:
    """Give all metrics as Prometheus reads them, and the content type of that.

    With several hubs on this machine, which then share a folder, those of all of them together.
    """
    registry = REGISTRY
    if SHARED:
        from prometheus_client.multiprocess import MultiProcessCollector  # one hub alone has no use for it

        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST
