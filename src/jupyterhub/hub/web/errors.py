"""What went wrong → what the client is told: status, reason phrase, headers, text. The one table, for API and pages.

The domain raises the kinds of ``words/errors.py`` and knows nothing of HTTP; plugins raise tornado's ``HTTPError``, or
anything. Of an error that nobody meant to happen the client learns nothing but 500; the log has the rest.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from tornado.web import HTTPError

from jupyterhub.utils import format_exception
from jupyterhub.words.errors import Conflict, Denied, HubError, Invalid, NotFound, SpawnFailed, Throttled, Unavailable

#: kind of error → status; the first that fits counts
STATUS_OF_KIND: tuple[tuple[type[HubError], int], ...] = (
    (NotFound, 404),
    (Conflict, 409),
    (Denied, 403),
    (Invalid, 400),
    (Throttled, 429),
    (Unavailable, 503),
)

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorAnswer:
    status: int
    #: the HTTP reason phrase; never empty
    reason: str
    headers: Mapping[str, str] = field(default_factory=dict)
    #: for the client, as text; None: there is nothing to say beyond the status
    message: str | None = None
    #: the same as HTML, where a plugin gives it; "" else
    message_html: str = ""
    #: it should not have happened: the log needs a traceback
    is_our_fault: bool = False


class XsrfRefused(HTTPError):
    """403: a request that a foreign site may have made the browser send."""

    def __init__(self, problem: str) -> None:
        super().__init__(403, problem)


def status_of(error: BaseException) -> ErrorAnswer:
    """Translate an error. A text in ``error.jupyterhub_message`` takes the place of any other."""
    answer = _translate(error)
    text, html = format_exception(error, only_jupyterhub=True)
    if not text and not html:
        return answer
    return ErrorAnswer(
        status=answer.status,
        reason=answer.reason,
        headers=answer.headers,
        message=str(text) if text else answer.message,
        message_html=str(html or ""),
        is_our_fault=answer.is_our_fault,
    )


def _translate(error: BaseException) -> ErrorAnswer:
    if isinstance(error, SpawnFailed):
        return ErrorAnswer(
            status=error.status,
            reason=reason_phrase(error.status, error.reason),
            headers=error.headers,
            message=error.public_message or str(error) or None,
            message_html=error.html_message,
        )
    if isinstance(error, HTTPError):
        return ErrorAnswer(
            status=error.status_code,
            reason=reason_phrase(error.status_code, error.reason or ""),
            headers=_headers(error),
            message=http_error_text(error),
        )
    for kind, status in STATUS_OF_KIND:
        if isinstance(error, kind):
            retry_after_s = getattr(error, "retry_after_s", None)
            headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
            return ErrorAnswer(status=status, reason=reason_phrase(status), headers=headers, message=str(error) or None)
    return ErrorAnswer(status=500, reason=reason_phrase(500), message=reason_phrase(500), is_our_fault=True)


def http_error_text(error: HTTPError) -> str | None:
    """Give the text of a tornado HTTPError; of a SpawnException its ``message``, for its log text is private."""
    text = getattr(error, "message", None)
    if isinstance(text, str) and text:
        return text
    return _formatted(error) or None


def log_text_of(error: BaseException) -> str:
    """Give what the log says about an error that was raised on purpose; "" for nothing."""
    return _formatted(error) if isinstance(error, HTTPError) else str(error)


def _formatted(error: HTTPError) -> str:
    text = error.log_message or ""
    try:
        # tornado doubles the % of texts without arguments
        return text % error.args
    except (TypeError, ValueError):
        return text


def reason_phrase(status: int, given: str = "") -> str:
    return _UNPRINTABLE.sub("?", given) or http.client.responses.get(status, "Unknown")


def _headers(error: BaseException) -> Mapping[str, str]:
    headers = getattr(error, "headers", None) or {}
    return {str(name): str(value) for name, value in dict(headers).items()}
