"""Arguments behind the question mark of API requests: which there are, and the reader that makes values of them.

As with bodies, the annotations of a dataclass say everything, also to the OpenAPI document. Arguments that are not
known mean nothing: an address may carry some of a spawner's, or of a later version.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Annotated, Any, TypeVar, Union

from jupyterhub.hub.users import USER_ORDERS, USER_STATES
from jupyterhub.hub.web.schemas import Is
from jupyterhub.words.errors import Invalid

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Paging:
    """Which part of a list."""

    offset: Annotated[int, "How many to leave out at the beginning"] = 0
    limit: Annotated[int | None, "How many at most"] = None


@dataclass(frozen=True, kw_only=True)
class ShownServers:
    """Which servers are shown with a user."""

    include_stopped_servers: Annotated[
        bool,
        Is(type=("boolean", "string")),
        "Show servers that do not run as well. Anything but `0` and `false` counts as yes",
    ] = False


@dataclass(frozen=True, kw_only=True)
class UserChoice(ShownServers, Paging):
    """Which users, and how they are shown."""

    state: Annotated[
        str,
        Is(one_of=tuple(sorted(USER_STATES))),
        "Only users with a server that is not stopped, with one that is ready, or without any that runs",
    ] = ""
    name_filter: Annotated[
        str, "Only users whose name has this in it; `%` stands for any text, `_` for any character"
    ] = field(default="", metadata={"keeps_spaces": True})
    group: Annotated[str, "Only members of this group, which takes `read:groups`"] = field(
        default="", metadata={"keeps_spaces": True}
    )
    admin: Annotated[
        bool | None, Is(type=("boolean", "string")), "Only admins, or only others. Anything but `0` and `false` is yes"
    ] = None
    sort: Annotated[
        str, Is(one_of=tuple(sign + order for order in sorted(USER_ORDERS) for sign in ("", "-"))), "`-` for descending"
    ] = "id"


@dataclass(frozen=True, kw_only=True)
class GroupChoice(Paging):
    """Which groups, and how they are shown."""

    name_filter: Annotated[
        str, "Only groups whose name has this in it; `%` stands for any text, `_` for any character"
    ] = field(default="", metadata={"keeps_spaces": True})
    include_users: Annotated[
        bool,
        Is(type=("boolean", "string")),
        "Name all members. With `0` or `false` the answer says how many there are: groups may have very many",
    ] = True


@dataclass(frozen=True, kw_only=True)
class CodeChoice:
    """Which share code; without either, all of the server."""

    code: Annotated[str | None, "The code itself"] = None
    id: Annotated[str | None, "Its id, such as `sc_7`"] = None


@dataclass(frozen=True, kw_only=True)
class Authorization:
    """RFC 6749 §4.1.1, RFC 7636 §4.3; read by oauthlib, not here."""

    client_id: str
    redirect_uri: str
    response_type: Annotated[str, Is(one_of=("code",))]
    scope: Annotated[str | None, "Scopes, separated by spaces"] = None
    state: Annotated[str | None, "Comes back with the browser"] = None
    code_challenge: str | None = None
    code_challenge_method: Annotated[str | None, Is(one_of=("S256", "plain"))] = None


def read(shape: type[T], argument: Callable[[str], str | None]) -> T:
    """Give the arguments of a query as ``shape``; Invalid (400) names the one that is wrong.

    ``argument`` gives the text of an argument, None if it is not there.
    """
    key: Any = shape
    found = {}
    for name, reader in _readers(key):
        text = argument(name)
        if text is not None:
            found[name] = reader(text, name)
    return shape(**found)


@cache
def _readers(shape: Any) -> list[tuple[str, Callable[[str, str], Any]]]:
    hints = typing.get_type_hints(shape)
    return [(f.name, _reader(_without_none(hints[f.name]), **f.metadata)) for f in fields(shape)]


def _reader(hint: Any, *, keeps_spaces: bool = False) -> Callable[[str, str], Any]:
    if hint is str:
        return (lambda text, name: text) if keeps_spaces else (lambda text, name: text.strip())
    return {int: _read_int, bool: _read_flag}[hint]


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) not in (Union, types.UnionType):
        return hint
    [only] = [part for part in typing.get_args(hint) if part is not types.NoneType]
    return only


def _read_int(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise Invalid(f"The query argument {name!r} must be a whole number.") from error


def _read_flag(text: str, name: str) -> bool:
    return text.strip().lower() not in ("0", "false")
