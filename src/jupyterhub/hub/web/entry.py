"""At the door of a handler's method: who may enter (rest-api.md §0.4, pages.md).

Decorators for methods of ``HubHandler``. The thing that a request is about follows from the names of the method's
parameters: ``user_name``, ``server_name`` (beside it), ``group_name``, ``service_name``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from jupyterhub.hub.requester import Requester
from jupyterhub.rbac.scope_set import NOWHERE, Target
from jupyterhub.rbac.scopes import SCOPES
from jupyterhub.words.errors import Denied, NotFound

from .handler import HubHandler

#: for whoever has no valid credentials
NOBODY = "Missing or invalid credentials."
#: for things that are not there and for things that the requester may not see: they must look the same
NOT_FOUND_OR_NOT_ALLOWED = "No access to resources or resources not found"

#: the attribute of a method that says what it needs
NEEDED = "_needed"


@dataclass(frozen=True, slots=True)
class Needed:
    """Any one of these scopes. ``is_filtered``: a filter on it limits what is answered."""

    scopes: tuple[str, ...]
    is_filtered: bool


Method = TypeVar("Method", bound=Callable[..., Any])


def needs_scope(*names: str, post_filter: bool = False) -> Callable[[Method], Method]:
    """Let in whoever holds any of these scopes for the thing that the request is about.

    A method without such a thing takes scopes without filter only, except where it lists: scopes that begin with
    ``list:`` (or, with ``post_filter``, any) may have one, because the list is then filtered by it.
    """
    for name in names:
        if name not in SCOPES and not name.startswith("custom:"):
            raise ValueError(f"There is no scope {name!r}")
    may_be_filtered = [name for name in names if post_filter or name.startswith("list:")]

    def decorator(method: Method) -> Method:
        signature = inspect.signature(method)

        @functools.wraps(method)
        async def checked(self: HubHandler, *args: Any, **kwargs: Any) -> Any:
            requester = self.requester
            if requester is None:
                return _turn_away(self)
            arguments = signature.bind(self, *args, **kwargs)
            arguments.apply_defaults()
            on = await _target(self, requester, names, arguments.arguments)
            scopes = requester.scopes
            allowed = scopes.covers_any(names, on)
            if not allowed and on == NOWHERE:
                allowed = any(scopes.has_any(name) for name in may_be_filtered)
            if not allowed:
                if on != NOWHERE and any(scopes.has_any(name) for name in names):
                    raise NotFound(NOT_FOUND_OR_NOT_ALLOWED)
                raise Denied(f"Action is not authorized with current scopes; requires any of [{', '.join(names)}]")
            return await _result(method(self, *args, **kwargs))

        setattr(checked, NEEDED, Needed(names, bool(may_be_filtered)))
        return checked  # type: ignore[return-value]

    return decorator


def needs_login(method: Method) -> Method:
    """Let in any user or service; visitors of pages are sent to log in."""

    @functools.wraps(method)
    async def checked(self: HubHandler, *args: Any, **kwargs: Any) -> Any:
        if self.requester is None:
            return _turn_away(self)
        return await _result(method(self, *args, **kwargs))

    return checked  # type: ignore[return-value]


def _turn_away(handler: HubHandler) -> None:
    """Send somebody to the login page who looks at a page; refuse everything else."""
    if handler.is_api or handler.request.method not in ("GET", "HEAD"):
        raise Denied(NOBODY)
    handler.redirect(handler.login_page)


async def _target(
    handler: HubHandler, requester: Requester, names: tuple[str, ...], arguments: dict[str, Any]
) -> Target:
    """Say what a request is about. Memberships are read only if a scope in question is limited to a group."""
    user = arguments.get("user_name")
    if user is None:
        group, service = arguments.get("group_name"), arguments.get("service_name")
        if group is not None:
            return Target(group=group)
        return NOWHERE if service is None else Target(service=service)
    # Pages leave the name out where somebody means themselves.
    user = user or requester.name
    groups = frozenset[str]()
    if requester.scopes.needs_groups(names):
        async with handler.house.store.read() as tx:
            groups = (await tx.groups.groups_of_names([user])).get(user, groups)
    if "server_name" not in arguments:
        return Target(user=user, user_groups=groups)
    return Target(user=user, user_groups=groups, server=arguments["server_name"] or "")


async def _result(value: Any) -> Any:
    return await value if isinstance(value, Awaitable) else value
