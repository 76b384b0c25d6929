"""Why a start failed, as the requester, the progress stream, the page and the metrics each need it.

Spawners and hooks raise anything: their own refusals (``SpawnException``, a tornado ``HTTPError``), time-outs, bugs.
Pure functions from an exception to a :class:`~jupyterhub.words.models.Failure`.
"""

from __future__ import annotations

from dataclasses import dataclass

from tornado.web import HTTPError

from jupyterhub.utils import AnyTimeoutError
from jupyterhub.words.errors import SpawnFailed
from jupyterhub.words.models import Failure


@dataclass(frozen=True, slots=True)
class Verdict:
    """A failure and what the metrics call it (metrics-events.md §1)."""

    failure: Failure
    #: ``failure`` for a refusal on purpose, ``error`` for all else; only errors count towards the failure limit
    status: str
    reason: str


def judge(error: BaseException) -> Verdict:
    """Classify what a start raised."""
    public = str(getattr(error, "jupyterhub_message", "") or "")
    html = str(getattr(error, "jupyterhub_html_message", "") or "")
    if isinstance(error, AnyTimeoutError):
        failure = Failure(message=str(error) or "timeout", status=500, public_message=public, html_message=html)
        return Verdict(failure, "error", "timeout")
    # Other libraries have errors with a status too: what an engine of containers has not found is no 404 of ours.
    if isinstance(error, HTTPError):
        return _http(error, error.status_code, public, html)
    failure = Failure(message=f"{error}" or type(error).__name__, status=500, public_message=public, html_message=html)
    return Verdict(failure, "error", "error")


def _http(error: BaseException, status: int, public: str, html: str) -> Verdict:
    """A refusal with a status: tornado's HTTPError, or the SpawnException derived from it."""
    machine_reason = str(getattr(error, "reason", "") or "")
    text = public or _log_message(error) or machine_reason
    headers = {str(name): str(value) for name, value in (getattr(error, "headers", None) or {}).items()}
    failure = Failure(
        message=text,
        status=status,
        reason=machine_reason or "error",
        public_message=public,
        html_message=html,
        headers=headers,
    )
    return Verdict(failure, "failure" if status < 500 else "error", machine_reason or "error")


def _log_message(error: BaseException) -> str:
    """The text of a tornado HTTPError; for a SpawnException, whose log text is private, its ``message``."""
    message = getattr(error, "message", None)
    if isinstance(message, str) and message:
        return message
    text = str(getattr(error, "log_message", "") or "")
    args = getattr(error, "args", ())
    if text and args and "%" in text:
        try:
            return str(text % args)
        except (TypeError, ValueError):
            return text
    return text


def as_error(failure: Failure) -> SpawnFailed:
    """Give the error that the one who asked for the start gets."""
    message = failure.public_message or (failure.message if failure.status < 500 else "")
    return SpawnFailed(
        message,
        status=failure.status,
        reason=failure.reason,
        html_message=failure.html_message,
        public_message=failure.public_message,
        headers=failure.headers,
    )
