"""Bodies of API requests: what may be in them, and the parser that turns JSON into these values.

A body is a frozen dataclass; its annotations say which keys there are and what each must be. ``read`` gives the value,
or raises ``Invalid`` with the path of the first wrong place and what was expected there. The OpenAPI document is
generated from the same classes. What a value *means* (does that user exist, may they) is asked in the domain.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union

from jupyterhub.words.errors import Invalid
from jupyterhub.words.models import Json
from jupyterhub.words.unset import UNSET, Unset

T = TypeVar("T")
Object = Mapping[str, Json]
"""A JSON object that we keep as it is."""

_Reader = Callable[[Json, str], Any]
"""Parses one value; the text is its path from the top of the body, "" for the body itself."""


class WrongBody(Invalid):
    """400: a request body is not what this endpoint takes. ``path`` leads to the wrong place."""

    def __init__(self, path: str, expected: str, found: str) -> None:
        super().__init__(f"Wrong request body: {path or 'it'} must be {expected}, not {found}.")
        self.path = path


def read(shape: type[T], value: Json) -> T:
    """Parse the JSON value of a body as ``shape``; ``WrongBody`` or ``Invalid`` (400) if it is something else."""
    key: Any = shape  # mypy does not know that classes can be hashed
    parsed: T = _object_reader(key)(value, "")
    return parsed


# -- what bodies look like, by endpoint


#: marks a key that older clients send: it is checked, and then not looked at
_IGNORED = {"ignored": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUsers:
    """POST /users"""

    usernames: tuple[str, ...]
    admin: bool = False
    name: str | None = field(default=None, metadata=_IGNORED)
    groups: tuple[str, ...] = field(default=(), metadata=_IGNORED)
    roles: tuple[str, ...] = field(default=(), metadata=_IGNORED)
    auth_state: Object | None = field(default=None, metadata=_IGNORED)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """POST /users/{name}"""

    admin: bool = False
    name: str | None = field(default=None, metadata=_IGNORED)
    groups: tuple[str, ...] = field(default=(), metadata=_IGNORED)
    roles: tuple[str, ...] = field(default=(), metadata=_IGNORED)
    auth_state: Object | None = field(default=None, metadata=_IGNORED)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserChange:
    """PATCH /users/{name}"""

    name: str | Unset = UNSET
    admin: bool | Unset = UNSET
    auth_state: Object | Unset = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerActivity:
    last_activity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityReport:
    """POST /users/{name}/activity; unknown keys are let pass: later single-user servers may report more"""

    last_activity: str | None = None
    servers: Mapping[str, ServerActivity] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """POST /users/{name}/tokens"""

    #: anything but a string is written out; the original never checked it
    note: Json = None
    expires_in: int | None = None
    scopes: tuple[str, ...] | None = None
    roles: tuple[str, ...] | None = None
    auth: Object | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """PUT and POST of a server. Made by ``read_server_options``, which knows the old form of this body."""

    display_name: str | None = None
    user_options: Object | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerChange:
    """PATCH of a server"""

    name: str | Unset = UNSET
    display_name: str | Unset = UNSET
    user_options: Object | Unset = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class StopOptions:
    """DELETE of a server"""

    remove: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGroups:
    """POST /groups"""

    groups: tuple[str, ...] = ()
    users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGroup:
    """POST /groups/{name}"""

    users: tuple[str, ...] = ()
    name: str | None = field(default=None, metadata=_IGNORED)
    roles: tuple[str, ...] = field(default=(), metadata=_IGNORED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """POST and DELETE of /groups/{name}/users"""

    users: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewService:
    """POST /services/{name}"""

    name: str | None = field(default=None, metadata=_IGNORED)
    admin: bool = False
    url: str = ""
    oauth_client_allowed_scopes: tuple[str, ...] = ()
    api_token: str | None = None
    info: Object = field(default_factory=dict)
    display: bool = True
    oauth_no_confirm: bool = False
    command: tuple[str, ...] = ()
    cwd: str | None = None
    environment: Object = field(default_factory=dict)
    user: str = ""
    oauth_client_id: str | None = None
    oauth_redirect_uri: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """POST and PATCH of /shares/{owner}/{server}: exactly one of ``user`` and ``group``"""

    user: str | None = None
    group: str | None = None
    scopes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewShareCode:
    """POST /share-codes/{owner}/{server}"""

    scopes: tuple[str, ...] | None = None
    expires_in: int | Unset = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """POST /shutdown"""

    proxy: bool | None = None
    servers: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyAddress:
    """PATCH /proxy; other keys are let pass"""

    api_url: str | None = None
    auth_token: str | None = None


#: bodies in which unknown keys are let pass
OPEN_SHAPES: frozenset[type] = frozenset(
    {ActivityReport, ServerActivity, NewToken, ServerOptions, StopOptions, Shutdown, ProxyAddress}
)


def read_server_options(value: Json) -> ServerOptions:
    """Parse the body of PUT and POST of a server.

    Up to version 5 the whole object was the options. It still is when neither ``user_options`` nor ``display_name``
    is a key; anything falsy counts as no body at all (rest-api.md §5).
    """
    if not value:
        return ServerOptions()
    if isinstance(value, dict) and not ("user_options" in value or "display_name" in value):
        return ServerOptions(user_options=value)
    if isinstance(value, dict) and value.get("display_name", "") is None:
        raise WrongBody("display_name", "a string", "null")
    return read(ServerOptions, value)


# -- the parser


@cache
def _object_reader(shape: Any) -> _Reader:
    hints = typing.get_type_hints(shape)
    own = fields(shape)
    readers = {f.name: _reader(hints[f.name]) for f in own}
    required = {f.name: hints[f.name] for f in own if f.default is MISSING and f.default_factory is MISSING}
    known = ", ".join(repr(name) for name in sorted(readers))
    is_open = shape in OPEN_SHAPES

    def read_object(value: Json, path: str) -> Any:
        if not isinstance(value, dict):
            raise WrongBody(path, "an object", kind_of(value))
        prefix = f"{path}." if path else ""
        found: dict[str, Any] = {}
        for key, part in value.items():
            reader = readers.get(key)
            if reader is not None:
                found[key] = reader(part, prefix + key)
            elif not is_open:
                raise Invalid(f"Wrong request body: {prefix}{key} is not known here. Known: {known}.")
        for name, hint in required.items():
            if name not in found:
                raise WrongBody(prefix + name, expected(hint), "missing")
        return shape(**found)

    return read_object


def _reader(hint: Any) -> _Reader:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return lambda value, path: value
    if origin in (Union, types.UnionType):
        return _union_reader(hint, [a for a in arguments if a is not Unset])
    if origin is tuple:
        return _list_reader(hint, _reader(arguments[0]))
    if origin is not None and issubclass(origin, Mapping):
        return _mapping_reader(hint, _reader(arguments[1]))
    if is_dataclass(hint):
        assert isinstance(hint, type)
        return _object_reader(hint)
    return {str: _read_str, bool: _read_bool, int: _read_int}[hint]


def _union_reader(hint: Any, alternatives: list[Any]) -> _Reader:
    readers = [_reader(a) for a in alternatives if a is not types.NoneType]
    takes_none = types.NoneType in alternatives
    # A body never leaves us to guess between two shapes: beside null there is one.
    assert len(readers) == 1, hint
    [reader] = readers

    def read_union(value: Json, path: str) -> Any:
        return None if value is None and takes_none else reader(value, path)

    return read_union


def _list_reader(hint: Any, reader: _Reader) -> _Reader:
    def read_list(value: Json, path: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise WrongBody(path, expected(hint), kind_of(value))
        return tuple([reader(part, f"{path}[{i}]") for i, part in enumerate(value)])

    return read_list


def _mapping_reader(hint: Any, reader: _Reader) -> _Reader:
    def read_mapping(value: Json, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise WrongBody(path, "an object", kind_of(value))
        return {key: reader(part, f"{path}[{key!r}]") for key, part in value.items()}

    return read_mapping


def _read_str(value: Json, path: str) -> str:
    if not isinstance(value, str):
        raise WrongBody(path, "a string", kind_of(value))
    # No database takes these, and no name has a use for them.
    if "\0" in value or (not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value)):
        raise WrongBody(path, "text", "a string with NUL or lone surrogate characters")
    return value


def _read_bool(value: Json, path: str) -> bool:
    if not isinstance(value, bool):
        raise WrongBody(path, "true or false", kind_of(value))
    return value


def _read_int(value: Json, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise WrongBody(path, "a whole number", kind_of(value))
    return value


def kind_of(value: Json) -> str:
    """Name the kind of a JSON value, for people; never the value itself, which may be a secret."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"


def expected(hint: Any) -> str:
    """Say what a value must be, for people."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(expected(a) for a in arguments if a is not Unset)
    if origin is tuple:
        plurals = {str: "strings", int: "whole numbers", bool: "true or false"}
        return f"a list of {plurals.get(arguments[0], 'objects')}"
    names = {str: "a string", bool: "true or false", int: "a whole number", types.NoneType: "null", Any: "any value"}
    return names.get(hint, "an object")
