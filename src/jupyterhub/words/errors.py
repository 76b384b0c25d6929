"""What the hub refuses or fails on purpose: one small family, translated to HTTP only in ``hub/web/errors.py``.

``str(error)`` is always safe to show to the person who caused it; what only the log may know goes to the log.
"""

from __future__ import annotations

from collections.abc import Mapping


class HubError(Exception):
    """Anything the hub refuses or fails on purpose. ``str(error)`` is safe to show; empty means "no message"."""


class NotFound(HubError):
    """404: no such user, server, group, token (or the requester may not know that there is).

    The text that it has by itself is the same for both, so that nobody can tell one from the other.
    """

    def __init__(self, message: str = "No access to resources or resources not found") -> None:
        super().__init__(message)


class Conflict(HubError):
    """409: the thing is in a state that excludes the request."""


class Denied(HubError):
    """403: nobody is asking, or the requester may not do this."""


class Invalid(HubError):
    """400: the request itself cannot be right."""


class Unavailable(HubError):
    """503: try again later; ``retry_after_s`` says when, if that is known."""

    def __init__(self, message: str = "", *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Throttled(HubError):
    """429: a limit on servers is reached. ``retry_after_s`` is set only where waiting a little helps."""

    def __init__(self, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class AlreadyExists(Conflict):
    """409: a user, group, server or service of this name is there already."""


class SpawnFailed(HubError):
    """A server did not start. ``status`` is the HTTP status that the requester sees.

    A spawner or a hook that refuses on purpose raises its own HTTP error; its status, reason phrase and headers are
    carried here, so that the person gets what the plugin meant (reference: rest-api.md §0.2).
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 500,
        reason: str = "",
        html_message: str = "",
        public_message: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        #: the HTTP reason phrase, "" for the standard one
        self.reason = reason
        #: what the plugin wants people to see, as HTML and as text; "" if it did not say
        self.html_message = html_message
        self.public_message = public_message
        self.headers: Mapping[str, str] = headers or {}


class LeaseLost(HubError):
    """Another hub drives this server now: let go and touch nothing. Never shown to anyone."""


class ConfigurationError(Exception):
    """The hub cannot start as it is configured. The message names the place, the trait and the remedy."""
