"""Bodies of API requests: what may be in them, and the parser that turns JSON into these values.

A body is a frozen dataclass; its annotations say which keys there are, what each must be, and what it is for. ``read``
gives the value, or raises ``Invalid`` with the path of the first wrong place and what was expected there. The OpenAPI
document is generated from the same classes. What a value *means* (does that user exist, may they) is asked in the
domain.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union

from jupyterhub.hub.bulletin import LONGEST_TEXT
from jupyterhub.hub.shares import MAX_CODE_LIFE_S, MIN_CODE_LIFE_S
from jupyterhub.hub.web.schemas import Is
from jupyterhub.words.errors import Invalid
from jupyterhub.words.models import Json
from jupyterhub.words.names import MAX_NAME_LENGTH
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


Usernames = Annotated[tuple[str, ...], "Names of users; the authenticator's rules for names apply"]
ScopeList = Annotated[tuple[str, ...] | None, "Scopes, each with or without a filter"]
Label = Annotated[str | Unset, "The label that people see"]
Options = Annotated[Object | None, "What the spawner offers to choose; null for what was chosen the last time"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUsers:
    """Users to create."""

    usernames: Annotated[Usernames, Is(min_items=1)]
    admin: Annotated[bool, "Make them admins; only admins may"] = False
    name: str | None = field(default=None, metadata=_IGNORED)
    groups: tuple[str, ...] = field(default=(), metadata=_IGNORED)
    roles: tuple[str, ...] = field(default=(), metadata=_IGNORED)
    auth_state: Object | None = field(default=None, metadata=_IGNORED)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """A user to create."""

    admin: Annotated[bool, "Make them an admin; only admins may"] = False
    name: str | None = field(default=None, metadata=_IGNORED)
    groups: tuple[str, ...] = field(default=(), metadata=_IGNORED)
    roles: tuple[str, ...] = field(default=(), metadata=_IGNORED)
    auth_state: Object | None = field(default=None, metadata=_IGNORED)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserChange:
    """What to change of a user; what is left out stays."""

    name: Annotated[str | Unset, "A new name"] = UNSET
    admin: Annotated[bool | Unset, "Only admins may change it"] = UNSET
    auth_state: Annotated[Object | Unset, "What the authenticator keeps about them"] = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerActivity:
    """When a server was used."""

    last_activity: Annotated[str, "A time in ISO 8601; without a time zone it is UTC"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityReport:
    """When a user was active, when their servers were used, or both. Times go forward only: older ones are ignored."""

    # unknown keys are let pass: later single-user servers may report more
    last_activity: Annotated[str | None, "A time in ISO 8601; without a time zone it is UTC"] = None
    servers: Annotated[Mapping[str, ServerActivity] | None, 'By name; the default server is `""`'] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """A token to make."""

    # anything but a string is written out; the original never checked it
    note: Annotated[Json, "What it is for, in words"] = None
    expires_in: Annotated[int | None, Is(minimum=1), "Seconds; null for as long as the hub allows"] = None
    scopes: Annotated[ScopeList, "At most what its owner has; without it the token may do what its owner may"] = None
    roles: Annotated[tuple[str, ...] | None, "Roles, in place of scopes"] = None
    auth: Annotated[
        Object | None, "Credentials of the user, such as `username` and `password`, of who has no token"
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """With what a server starts. An object with neither of these keys is taken for `user_options` as a whole."""

    # made by ``read_server_options``, which knows the old form
    display_name: Label = UNSET
    user_options: Options = None

    @property
    def label(self) -> str | None:
        return None if isinstance(self.display_name, Unset) else self.display_name


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerChange:
    """What to change of a server; what is left out stays."""

    name: Annotated[str | Unset, "A new name"] = UNSET
    display_name: Label = UNSET
    user_options: Annotated[Object | Unset, "With what it starts the next time"] = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class StopOptions:
    """How to stop a server."""

    remove: Annotated[bool, "Delete it too; named servers only"] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGroups:
    """Groups to make."""

    groups: Annotated[tuple[Annotated[str, Is(min_length=1, max_length=MAX_NAME_LENGTH)], ...], Is(min_items=1)]
    users: Annotated[tuple[str, ...], "Who becomes a member of each of them"] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGroup:
    """A group to make."""

    users: Annotated[tuple[str, ...], "Its members"] = ()
    name: str | None = field(default=None, metadata=_IGNORED)
    roles: tuple[str, ...] = field(default=(), metadata=_IGNORED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """Members of a group."""

    users: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewService:
    """A service that somebody else runs."""

    name: str | None = field(default=None, metadata=_IGNORED)
    admin: Annotated[bool, "Only admins may add one"] = False
    url: Annotated[str, "Where the hub reaches it, with http or https; empty if it has no page"] = ""
    oauth_client_allowed_scopes: Annotated[tuple[str, ...], "What it may ask its visitors for"] = ()
    api_token: Annotated[str | None, Is(format="password"), "Its token; null for none"] = None
    info: Annotated[Object, "Whatever should be told about it"] = field(default_factory=dict)
    display: Annotated[bool, "Whether the pages of the hub have a link to it"] = True
    oauth_no_confirm: Annotated[bool, "Do not ask visitors whether it may know them"] = False
    command: Annotated[tuple[str, ...], "Empty: only the configuration adds services that the hub starts"] = ()
    cwd: str | None = None
    environment: Object = field(default_factory=dict)
    user: str = ""
    oauth_client_id: Annotated[str | None, Is(pattern="^service-"), "null for `service-` and its name"] = None
    oauth_redirect_uri: Annotated[str | None, "null for the one below its own address"] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """With whom a server is shared: exactly one of `user` and `group`."""

    user: str | None = None
    group: str | None = None
    scopes: Annotated[ScopeList, "Which; a new share without it lets people in, and no more"] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewShareCode:
    """A code to make."""

    scopes: Annotated[ScopeList, "Which it gives; without it the code lets people in, and no more"] = None
    expires_in: Annotated[int | Unset, Is(minimum=MIN_CODE_LIFE_S, maximum=MAX_CODE_LIFE_S), "Seconds"] = UNSET


#: 0 and 1 pass here, as they always did
Switch = Literal[True, False, 0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """What ends with the hub; null or left out: as configured."""

    proxy: Switch | None = None
    servers: Switch | None = None


Until = Annotated[str | None, Is(format="date-time"), "When it ends by itself; without it, somebody has to end it"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAnnouncement:
    """A line on all pages."""

    text: Annotated[str, Is(min_length=1, max_length=LONGEST_TEXT), "Plain text; addresses in it become links"]
    kind: Annotated[Literal["info", "warning"], "How it looks"] = "info"
    until: Until = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMaintenance:
    """No servers can be started, but those of admins and of those who are named here."""

    text: Annotated[str, Is(max_length=LONGEST_TEXT), "What is going on, in plain text"] = ""
    users: Annotated[tuple[str, ...], "Users whose servers may start all the same"] = ()
    groups: Annotated[tuple[str, ...], "Groups of such users"] = ()
    until: Until = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticesChange:
    """What to tell everybody. null takes a notice down, what is left out stays."""

    announcement: NewAnnouncement | Unset | None = UNSET
    maintenance: NewMaintenance | Unset | None = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyAddress:
    """How the hub reaches the proxy; what is left out stays."""

    api_url: Annotated[str | None, Is(format="uri")] = None
    auth_token: Annotated[str | None, Is(format="password")] = None


# forms of the OAuth endpoints: read by oauthlib, not here


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeExchange:
    """RFC 6749 §4.1.3, RFC 7636 §4.5"""

    grant_type: Annotated[str, Is(one_of=("authorization_code",))]
    code: str
    client_id: str
    client_secret: Annotated[str, Is(format="password")]
    redirect_uri: Annotated[str, Is(format="uri-reference")]
    code_verifier: Annotated[str | None, "If the code was asked for with a `code_challenge`"] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What the user agrees to."""

    scopes: Annotated[tuple[str, ...], "Of those that the client asked for"] = ()
    _xsrf: Annotated[str, "The value of the cookie `_xsrf`"] = ""


#: bodies in which unknown keys are let pass
OPEN_SHAPES: frozenset[type] = frozenset(
    {
        ActivityReport,
        ServerActivity,
        NewToken,
        ServerOptions,
        StopOptions,
        Shutdown,
        ProxyAddress,
        CodeExchange,
        Consent,
    }
)
#: bodies that must have a key: without one they would say nothing
NEVER_EMPTY: frozenset[type] = frozenset({NoticesChange, ServerChange, NewService, ProxyAddress})


def read_server_options(value: Json) -> ServerOptions:
    """Parse the body of PUT and POST of a server.

    Up to version 5 the whole object was the options. It still is when neither ``user_options`` nor ``display_name``
    is a key; anything falsy counts as no body at all (rest-api.md §5).
    """
    if not value:
        return ServerOptions()
    if isinstance(value, dict) and not ("user_options" in value or "display_name" in value):
        return ServerOptions(user_options=value)
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
        if not value and shape in NEVER_EMPTY:
            raise WrongBody(path, f"an object with at least one of {known}", "an empty one")
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
    if origin is Literal:
        return _choice_reader(hint, arguments)
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


def _choice_reader(hint: Any, choices: tuple[Any, ...]) -> _Reader:
    def read_choice(value: Json, path: str) -> Any:
        if value not in choices:
            raise WrongBody(path, expected(hint), kind_of(value))
        return value

    return read_choice


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
    if origin is Literal:
        return f"one of {', '.join(map(json.dumps, arguments))}"
    if origin is tuple:
        plurals = {str: "strings", int: "whole numbers", bool: "true or false"}
        return f"a list of {plurals.get(arguments[0], 'objects')}"
    names = {str: "a string", bool: "true or false", int: "a whole number", types.NoneType: "null", Any: "any value"}
    return names.get(hint, "an object")
