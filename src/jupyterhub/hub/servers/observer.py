"""What operators see of servers' lives: log lines, metrics and the event log (metrics-events.md).

Drivers and ``Servers`` call these methods; nothing here decides or waits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from jupyterhub.hub import metrics
from jupyterhub.words.names import ServerKey
from jupyterhub.words.version import __version__

from .failures import Verdict

log = logging.getLogger("jupyterhub.servers")

#: ``emit(action, user, server)`` for the event log; None when none is configured
EmitEvent = Callable[[str, str, str], None]


class Observer:
    """Tells logs, metrics and the event log what happens to servers."""

    def __init__(self, *, emit: EmitEvent | None = None, give_up: Callable[[], None] = lambda: None) -> None:
        self._emit = emit
        #: called when ``Spawner.consecutive_failure_limit`` is reached
        self._give_up = give_up
        self._versions_warned_of: set[str] = set()

    def started(self, key: ServerKey, *, took_s: float) -> None:
        log.info("User %s took %.3f seconds to start", key, took_s)
        metrics.SERVER_SPAWN_DURATION_SECONDS.labels(status="success", reason="").observe(took_s)
        self._event("start", key)

    def failed(self, key: ServerKey, error: BaseException, verdict: Verdict, *, took_s: float) -> None:
        on_purpose = hasattr(error, "status_code")
        log.error(
            "%s: the start failed (%s): %s",
            key,
            verdict.reason,
            error or type(error).__name__,
            exc_info=None if on_purpose or verdict.reason == "timeout" else error,
        )
        metrics.SERVER_SPAWN_DURATION_SECONDS.labels(status=verdict.status, reason=verdict.reason).observe(took_s)

    def failed_too_often(self, failures: int) -> None:
        log.critical("%i starts in a row have failed: the hub ends, so that its supervisor starts it anew", failures)
        self._give_up()

    def refused(self, *, reason: str) -> None:
        """A start that a limit refused."""
        metrics.SERVER_SPAWN_DURATION_SECONDS.labels(status="failure", reason=reason).observe(0)

    def answered(self, key: ServerKey, version: str | None) -> None:
        if version is None:
            self._warn_once("none", "%s: the server does not say which version of jupyterhub it has", key)
        elif version.split(".")[0] != __version__.split(".")[0]:
            self._warn_once(
                version, f"%s: the server has jupyterhub {version}, this hub {__version__}; it may not work", key
            )

    def stopped(self, key: ServerKey, *, took_s: float) -> None:
        log.info("User %s server took %.3f seconds to stop", key, took_s)
        metrics.SERVER_STOP_DURATION_SECONDS.labels(status="success").observe(took_s)
        self._event("stop", key)

    def stop_failed(self, key: ServerKey) -> None:
        metrics.SERVER_STOP_DURATION_SECONDS.labels(status="failure").observe(0)

    def _event(self, action: str, key: ServerKey) -> None:
        if self._emit is not None:
            try:
                self._emit(action, key.user, key.name)
            except Exception:
                log.exception("the event log failed")

    def _warn_once(self, what: str, message: str, key: ServerKey) -> None:
        if what not in self._versions_warned_of:
            self._versions_warned_of.add(what)
            log.warning(message, key)
