"""What answers of the API look like, field by field (reference: rest-api.md §1).

Nothing happens here: ``answers.py`` makes these objects, the type checker sees that they are what is written here, and
the OpenAPI document is generated from the same lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Generic, Literal, NotRequired, TypedDict, TypeVar

from jupyterhub.hub.web.schemas import Is
from jupyterhub.words.models import Json, Pending

T = TypeVar("T")

Time = Annotated[str, Is(format="date-time")]
Object = Mapping[str, Json]
PublicId = Annotated[str, Is(pattern="^a[0-9]+$")]


class Error(TypedDict):
    """A refusal, or a failure."""

    status: Annotated[int, "The status of the answer"]
    message: Annotated[str | None, "What is wrong, for people; null if the status says it all"]


class Message(TypedDict):
    """What has happened, in words."""

    message: str


# -- pages of lists


class NextPage(TypedDict):
    """Where the next page of a list begins."""

    offset: int
    limit: int
    url: Annotated[str, Is(format="uri"), "The address of the next page, with all other arguments of this request"]


class Pagination(TypedDict):
    """Where a page lies in its list."""

    offset: int
    limit: int
    total: Annotated[int, "How many things the whole list has"]
    next: Annotated[NextPage | None, "null on the last page"]


class Page(TypedDict, Generic[T]):
    """A page of a list."""

    items: T
    _pagination: Pagination


# -- the hub


class Version(TypedDict):
    """Which version runs here."""

    version: str


# by call: "class" is a word of Python
Plugin = TypedDict("Plugin", {"class": Annotated[str, "Its full name"], "version": Annotated[str, "Of its package"]})


class Info(TypedDict):
    """What runs here."""

    version: Annotated[str, "Of the hub"]
    python: Annotated[str, "Of Python"]
    sys_executable: Annotated[str, "The Python that runs the hub"]
    spawner: Plugin
    authenticator: Plugin


class ProxyRoute(TypedDict):
    """One route, as the proxy has it."""

    routespec: Annotated[str, "The prefix of the addresses that take this route; begins with a host if not with `/`"]
    target: Annotated[str, "Where it leads"]
    data: Annotated[Object, "What the hub keeps with it, and when it was used last if the proxy tells"]


class Announcement(TypedDict):
    """A line on all pages."""

    text: str
    kind: Literal["info", "warning"]
    until: Annotated[Time | None, "When it goes by itself"]
    since: Time | None
    by: Annotated[str, "Who has put it up"]


class Maintenance(TypedDict):
    """No servers can be started, but those of admins and of those who are named here."""

    text: str
    users: list[str]
    groups: list[str]
    until: Annotated[Time | None, "When it ends by itself"]
    since: Time | None
    by: str


class Notices(TypedDict):
    """What an admin tells everybody."""

    announcement: Announcement | None
    maintenance: Maintenance | None


class HubState(TypedDict):
    """A hub that runs on this database."""

    id: str
    host: str
    pid: int
    url: Annotated[str, "Where other hubs reach it"]
    started: Time | None
    heartbeat: Annotated[Time | None, "When it said last that it lives, in the clock of the database"]
    leads: Annotated[bool, "It does what one hub does for all"]
    answers: Annotated[bool, "It is the one that answers this request"]


class DatabaseState(TypedDict):
    """What the database is, and how fast it answers."""

    engine: str
    took_s: Annotated[float, "How long all questions for this answer took, in seconds"]
    users: Annotated[int, "How many users there are"]


class ProxyState(TypedDict):
    """Whether the proxy answers, and how fast. It is asked every five seconds at most."""

    name: Annotated[str, "The class that drives it"]
    took_s: Annotated[float, "How long it took to answer, in seconds"]
    routes: Annotated[int | None, "How many routes it has; null if it did not answer"]
    problem: Annotated[str, "What it answered instead; empty if all is well"]


class ServerCounts(TypedDict):
    """How many servers are in which state. Those that are stopped are not counted."""

    ready: int
    starting: int
    stopping: int
    checking: Annotated[int, "They ran under a hub that is gone; another one finds out whether they still do"]


class StartsInMinute(TypedDict):
    """The starts that ended in one minute."""

    minute: Annotated[Time | None, "Its beginning"]
    succeeded: int
    failed: int
    mean_s: Annotated[float | None, "How long those that succeeded took, in seconds; null without any"]
    longest_s: Annotated[float | None, "How long the slowest of them took, in seconds"]


class FailedStart(TypedDict):
    """A start that failed."""

    user: str
    server: Annotated[str, "Empty for the default server"]
    minute: Annotated[Time | None, "When it failed"]
    took_s: Annotated[float, "How long it had tried, in seconds"]
    reason: str


class Status(TypedDict):
    """How the hubs are doing, together."""

    at: Time | None
    hubs: list[HubState]
    database: DatabaseState
    proxy: ProxyState
    servers: ServerCounts
    starts: Annotated[list[StartsInMinute], "Of the last hour, in order; minutes without any are left out"]
    failures: Annotated[list[FailedStart], "The last ones of the last day, the latest first, at most 50"]


# -- users and their servers


class Server(TypedDict):
    """A server of a user."""

    name: Annotated[str, "Empty for the default server"]
    display_name: Annotated[str | None, "The label that people see; null for servers from before version 6"]
    full_name: Annotated[str, "`user/server`"]
    last_activity: Time | None
    started: Annotated[Time | None, "null while it is stopped"]
    pending: Annotated[Pending | None, "What is being done with it"]
    ready: Annotated[bool, "It runs and can be used"]
    stopped: Annotated[bool, "It does not run, and nothing is being done with it"]
    url: Annotated[str, "A path, or a full URL if each user has a domain"]
    progress_url: Annotated[str, "The path where a start can be followed"]
    full_url: Annotated[str | None, "null unless the hub knows its public URL"]
    full_progress_url: Annotated[str | None, "null unless the hub knows its public URL"]
    user_options: Annotated[Object | None, "With what it was started last"]
    state: NotRequired[Annotated[Object | None, "What its spawner keeps. Shown with `admin:server_state`"]]


class User(TypedDict):
    """A user. Which fields there are depends on the scopes of who asks."""

    kind: Literal["user"]
    name: str
    admin: NotRequired[bool]
    user_info: NotRequired[Annotated[Object | None, "What the authenticator tells about them"]]
    roles: NotRequired[Annotated[list[str], "Their own; not those of their groups"]]
    groups: NotRequired[list[str]]
    server: NotRequired[Annotated[str | None, "Where their default server is, if it is ready"]]
    pending: NotRequired[Annotated[Pending | None, "What is being done with that server"]]
    created: NotRequired[Time | None]
    last_activity: NotRequired[Time | None]
    servers: NotRequired[Annotated[Mapping[str, Server], "By name. Stopped ones only with `include_stopped_servers`"]]
    auth_state: NotRequired[Annotated[Object | None, "What the authenticator keeps; null in lists and new users"]]


class Service(TypedDict):
    """A service. Which fields there are depends on the scopes of who asks."""

    kind: Literal["service"]
    name: str
    admin: bool
    url: NotRequired[Annotated[str | None, "Where the hub reaches it; empty if it has no page"]]
    prefix: NotRequired[Annotated[str, "The path where browsers reach it; empty if it has no page"]]
    command: NotRequired[Annotated[list[str], "How the hub starts it; empty if the hub does not"]]
    pid: NotRequired[Annotated[int, "Its process; 0 if the hub did not start it"]]
    info: NotRequired[Annotated[Object | None, "Whatever its configuration tells about it"]]
    display: NotRequired[Annotated[bool | None, "Whether the pages of the hub have a link to it"]]
    roles: NotRequired[list[str]]


class Asking(TypedDict):
    """What is told to who asks, beside who they are."""

    token_id: Annotated[PublicId | None, "null for whoever came with a cookie"]
    session_id: Annotated[str | None, "The browser session of a token that was made for a login"]
    scopes: Annotated[list[str], "All that the credential gives, with what is contained in it"]


class UserWhoAsks(User, Asking):
    """The user whose token or cookie the request came with."""


class ServiceWhoAsks(Service, Asking):
    """The service whose token the request came with."""


# -- tokens


class Token(TypedDict):
    """A token: all about it but its secret."""

    user: NotRequired[Annotated[str, "Its owner, if that is a user"]]
    service: NotRequired[Annotated[str, "Its owner, if that is a service"]]
    id: PublicId
    kind: Literal["api_token"]
    roles: Annotated[list[str], "Always empty: roles become scopes when a token is made"]
    scopes: Annotated[list[str], "What it gives now: never more than its owner has"]
    created: Time | None
    last_activity: Time | None
    expires_at: Annotated[Time | None, "null for never"]
    note: str
    session_id: Annotated[str | None, "The browser session that it was made for"]
    oauth_client: Annotated[str, "Who it was made for, in words"]


class MadeToken(Token):
    """A token that has just been made."""

    token: Annotated[str, "The secret: it is in this answer only"]


class Tokens(TypedDict):
    """The tokens of a user, oldest use first."""

    api_tokens: list[Token]


# -- groups


class Group(TypedDict):
    """A group. Which fields there are depends on the scopes of who asks."""

    kind: Literal["group"]
    name: str
    users: NotRequired[list[str]]
    user_count: NotRequired[Annotated[int, "In place of `users`, where the query says `include_users=0`"]]
    properties: NotRequired[Object]
    roles: NotRequired[list[str]]


# -- shares


class Named(TypedDict):
    name: str


class SharedServer(TypedDict):
    """A server that somebody else may use."""

    user: Annotated[Named, "Its owner"]
    name: Annotated[str, "Empty for the default server"]
    url: str
    full_url: Annotated[str | None, "null unless the hub knows its public URL"]
    ready: bool


class Share(TypedDict):
    """What one user, or the members of one group, may do with somebody else's server."""

    server: SharedServer
    scopes: list[str]
    user: Annotated[Named | None, "With whom it is shared; null if with a group"]
    group: Annotated[Named | None, "With whom it is shared; null if with a user"]
    kind: Annotated[Literal["user", "group"], "Which of the two"]
    created_at: Time | None


class NothingShared(TypedDict):
    """Nothing is left of a share."""


class ShareCode(TypedDict):
    """A code that lets whoever has it make a share for themselves."""

    server: SharedServer
    scopes: list[str]
    id: Annotated[str, Is(pattern="^sc_[0-9]+$")]
    created_at: Time | None
    expires_at: Time | None
    exchange_count: Annotated[int, "How often it was used"]
    last_exchanged_at: Time | None


class MadeShareCode(ShareCode):
    """A code that has just been made."""

    code: Annotated[str, "The secret: it is in this answer only"]
    accept_url: Annotated[str, "The path of the page where it is used"]
    full_accept_url: Annotated[str | None, "null unless the hub knows its public URL"]


# -- following a start


class ProgressEvent(TypedDict):
    """One step of a start. The last one has ``ready`` or ``failed``. Spawners may add keys."""

    progress: NotRequired[Annotated[float, Is(minimum=0, maximum=100), "In percent"]]
    message: NotRequired[str]
    html_message: NotRequired[str]
    ready: NotRequired[bool]
    failed: NotRequired[bool]
    url: NotRequired[Annotated[str, "Where the server is"]]


# -- OAuth


class AccessToken(TypedDict):
    """RFC 6749 §5.1"""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: Annotated[int, "Seconds"]
    scope: Annotated[str, "Scopes, separated by spaces"]


class OAuthError(TypedDict):
    """RFC 6749 §5.2"""

    error: str
    error_description: NotRequired[str]


class OAuthMetadata(TypedDict):
    """RFC 8414"""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    response_types_supported: list[str]
    response_modes_supported: list[str]
    grant_types_supported: list[str]
    token_endpoint_auth_methods_supported: list[str]
    code_challenge_methods_supported: list[str]
    scopes_supported: list[str]
