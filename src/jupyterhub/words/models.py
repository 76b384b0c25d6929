"""Values that travel between the rooms of the hub: frozen, typed, without behaviour beyond what follows from them.

The store makes them from rows; ``hub/web/answers.py`` turns them into the JSON that clients expect. Times are aware.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from .names import ServerKey

Json = Any
"""A value that came from or goes to JSON; parsed one step after it enters."""


class Phase(StrEnum):
    """Where a server is."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    #: a hub has taken the server over from another (or from itself before a restart) and asks whether it lives
    CHECKING = "checking"


class Target(StrEnum):
    """Where a server should be."""

    STOPPED = "stopped"
    RUNNING = "running"


Pending = Literal["spawn", "stop", "check"]
#: what clients read as ``pending``
PENDING: Mapping[Phase, Pending] = {Phase.STARTING: "spawn", Phase.STOPPING: "stop", Phase.CHECKING: "check"}


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    id: int
    name: str
    admin: bool
    created: datetime | None
    last_activity: datetime | None
    cookie_id: str
    user_info: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a running server or service listens, as the hub and the proxy reach it."""

    proto: str
    ip: str
    port: int
    base_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why the last start of a server failed; kept until the next start."""

    message: str
    status: int = 500
    #: HTTP reason phrase, "" for the standard one
    reason: str = ""
    #: what the plugin wants people to see; the raw ``message`` is shown in the progress stream only
    public_message: str = ""
    html_message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartsInMinute:
    """The starts of servers that ended in one minute."""

    #: its beginning
    minute: datetime
    succeeded: int
    failed: int
    #: how long those that succeeded took; None without any
    mean_s: float | None
    longest_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedStart:
    """A start that has failed, with the reason as the log has it."""

    key: ServerKey
    minute: datetime
    took_s: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A user's server, running or not: one row of ``spawners`` with its row in our ``server_states``."""

    id: int
    key: ServerKey
    user_id: int
    display_name: str | None
    started: datetime | None
    last_activity: datetime | None
    user_options: Mapping[str, Json] | None
    #: what the spawner asked to keep (``Spawner.get_state``)
    state: Mapping[str, Json] | None
    oauth_client_id: str | None
    #: set while the server has an address, that is from the end of ``Spawner.start`` to the end of ``stop``
    endpoint: Endpoint | None
    phase: Phase
    target: Target
    #: counts the starts; every write of a driver names the generation it drives
    generation: int
    #: the hub whose lease it is, None for nobody's
    hub_id: str | None
    failure: Failure | None

    @classmethod
    def never_started(cls, key: ServerKey, user_id: int) -> Server:
        """Give a default server that has no row yet: everybody has one, made when it is first needed."""
        return cls(
            id=0,
            key=key,
            user_id=user_id,
            display_name="",
            started=None,
            last_activity=None,
            user_options=None,
            state=None,
            oauth_client_id=None,
            endpoint=None,
            phase=Phase.STOPPED,
            target=Target.STOPPED,
            generation=0,
            hub_id=None,
            failure=None,
        )

    @property
    def pending(self) -> Pending | None:
        return PENDING.get(self.phase)

    @property
    def is_ready(self) -> bool:
        return self.phase is Phase.READY

    @property
    def is_stopped(self) -> bool:
        return self.phase is Phase.STOPPED

    @property
    def is_active(self) -> bool:
        """Anything but stopped: what limits count and what user models list."""
        return self.phase is not Phase.STOPPED


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An API token; the secret itself exists only in the answer that created it."""

    id: int
    owner_kind: Literal["user", "service"]
    owner_id: int
    owner_name: str
    #: raw, as stored; the effective scopes are computed at each use
    scopes: Sequence[str]
    client_id: str | None
    #: description of the issuing OAuth client
    client_description: str | None
    session_id: str | None
    created: datetime | None
    expires_at: datetime | None
    last_activity: datetime | None
    note: str | None

    @property
    def public_id(self) -> str:
        return f"a{self.id}"

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    @property
    def is_a_servers_own(self) -> bool:
        """Whether it was made for a server. Its use says nothing about what its owner does (rest-api.md §0.3)."""
        return bool(self.note and self.note.startswith("Server at "))


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    id: int
    name: str
    properties: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    id: int
    name: str
    description: str | None
    scopes: Sequence[str]
    managed_by_auth: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service as its row holds it; what only the configuration knows is in ``hub/services.py``."""

    id: int
    name: str
    admin: bool
    url: str | None
    oauth_client_allowed_scopes: Sequence[str]
    info: Mapping[str, Json] | None
    display: bool | None
    oauth_no_confirm: bool | None
    command: Sequence[str]
    cwd: str | None
    environment: Mapping[str, str]
    user: str | None
    timeout_s: int
    from_config: bool
    pid: int | None
    oauth_client_id: str | None
    endpoint: Endpoint | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthClient:
    identifier: str
    description: str | None
    #: hashed (``secret_hash``); "" means that the client cannot be used in flows
    secret: str
    redirect_uri: str | None
    allowed_scopes: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthCode:
    client_id: str
    code: str
    #: unix time in seconds
    expires_at: int
    redirect_uri: str
    session_id: str | None
    user_id: int
    scopes: Sequence[str]
    code_challenge: str | None = None
    code_challenge_method: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a user or the members of a group may do with somebody else's server."""

    id: int
    server_id: int
    #: as the owner and the server are called now
    server: ServerKey
    is_ready: bool
    #: exactly one of the two
    user: str | None
    group: str | None
    #: with the filter of ``server``, whatever the names were when it was shared
    scopes: Sequence[str]
    created_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareCode:
    """A code whose holders may make a share for themselves; the code itself exists only in the answer that made it."""

    id: int
    server_id: int
    server: ServerKey
    is_ready: bool
    scopes: Sequence[str]
    created_at: datetime | None
    expires_at: datetime | None
    exchange_count: int
    last_exchanged_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which rows of a list: ``limit`` is at least 1."""

    offset: int = 0
    limit: int = 200


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to drive one server: ``hub_id`` for one ``generation``. Each write of a driver names it and fails
    with :class:`~jupyterhub.words.errors.LeaseLost` when another hub has taken over meanwhile (invariant I2)."""

    server_id: int
    generation: int
    hub_id: str


@dataclass(frozen=True, slots=True)
class SpawnLimits:
    """How many servers may start and run at once, in all hubs together; 0 means no limit."""

    concurrent: int = 0
    active: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEvent:
    """One step of a start, as the progress stream sends it."""

    seq: int
    data: Mapping[str, Json]

    @property
    def is_last(self) -> bool:
        return bool(self.data.get("ready") or self.data.get("failed"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A running hub process as the database knows it."""

    id: str
    host: str
    pid: int
    url: str
    started: datetime
    heartbeat: datetime
