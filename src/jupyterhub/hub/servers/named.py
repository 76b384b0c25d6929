"""Rules for named servers: who may have them, how many, and what they may be called (rest-api.md §5).

Pure but for ``named_server_limit_per_user``, which may be a function of the configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jupyterhub.hub.plugin_calls import call
from jupyterhub.words.errors import Invalid
from jupyterhub.words.names import is_valid_display_name, is_valid_new_server_name, normalise_display_name

#: servers that one user may have beside the default one: a number, or a function of the request handler; 0: no limit
NamedLimit = int | Callable[[Any], Any]


def check_allowed(allow_named_servers: bool) -> None:
    if not allow_named_servers:
        raise Invalid("Named servers are not enabled.")


def check_new_name(name: str) -> None:
    if not is_valid_new_server_name(name):
        raise Invalid(
            f"Invalid server name '{name}': use 1 to 30 lower-case letters, digits and single hyphens, "
            "starting with a letter and ending with a letter or digit."
        )


def check_display_name(display_name: str | None) -> str | None:
    """Give the label in its normal form, None if there is none; Invalid if it cannot be shown."""
    if not display_name:
        return None
    normal = normalise_display_name(display_name)
    if not is_valid_display_name(normal):
        raise Invalid(
            f"Invalid display name {display_name!r}: use 1 to 255 printable characters, without leading, trailing or "
            "repeated spaces."
        )
    return normal


async def resolve_limit(limit: NamedLimit, handler: Any) -> int:
    """Give the limit as a number. Call it before a transaction begins: a function of the configuration may be slow."""
    allowed = await call("JupyterHub.named_server_limit_per_user", limit, handler) if callable(limit) else limit
    return int(allowed or 0)


def check_number(existing: int, allowed: int, user: str) -> None:
    """Refuse one more named server when the user has as many as allowed, running or not; 0 allows any number."""
    if 0 < allowed <= existing:
        raise Invalid(
            f"User {user} already has the maximum of {allowed} named servers. One must be deleted before a new one can "
            "be created."
        )
