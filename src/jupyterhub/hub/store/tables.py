"""All tables on one page: those of JupyterHub 6 exactly as the original has them, and ours, named ``jhx_…``.

The first part must not change: the original opens the same database (reference: db-schema.md). What we need beyond it
goes into tables and indexes of our own, whose version is in ``jhx_own_schema``. Times are naive UTC, JSON is text.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    Unicode,
)

#: the newest revision of the original's schema that we know
HEAD = "f460b0348206"
#: the version of our own tables
OWN_VERSION = 4

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: how the original marks bytes inside its JSON
_BYTES_MARK = "__jupyterhub_bytes__"


class JsonText(TypeDecorator[Any]):
    """JSON kept as text. None and the empty text read as None; a value that is not JSON is stored as null."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return json.dumps(value, default=_encode)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        if not value:
            return None
        try:
            if _BYTES_MARK not in value:  # a hook makes a decoder anew each time, and takes four times as long
                return json.loads(value)
            found = json.loads(value, object_hook=_decode)
            # A whole column is never bytes: somebody sent the mark as their own JSON, and readers expect an object.
            return json.loads(value) if isinstance(found, bytes) else found
        except ValueError:
            return None


def _encode(value: Any) -> Any:
    """Bytes have a form of their own; what else is no JSON (an uploaded file's handle, say) is dropped."""
    if isinstance(value, bytes):
        return {_BYTES_MARK: True, "data": base64.b64encode(value).decode("ascii")}
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return None


def _decode(value: dict[str, Any]) -> Any:
    if value.get(_BYTES_MARK) is True and isinstance(value.get("data"), str) and len(value) == 2:
        try:
            # the original breaks its base64 into lines, as mail does
            return base64.b64decode("".join(value["data"].split()), validate=True)
        except ValueError:
            return value
    return value


def _key(target: str, *, on_delete: str = "CASCADE") -> ForeignKey:
    return ForeignKey(target, ondelete=on_delete)


# -- JupyterHub's

servers = Table(
    "servers",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("proto", Unicode(15), default="http"),
    Column("ip", Unicode(255), default=""),
    Column("port", Integer),
    Column("base_url", Unicode(255), default="/"),
    Column("cookie_name", Unicode(255), default="cookie"),
)

roles = Table(
    "roles",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", Unicode(255), unique=True),
    Column("description", Unicode(1023)),
    Column("scopes", JsonText, default=list),
    Column("managed_by_auth", Boolean, nullable=False, default=False),
)

groups = Table(
    "groups",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", Unicode(255), unique=True),
    Column("properties", JsonText, default=dict),
)

users = Table(
    "users",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", Unicode(255), unique=True),
    Column("user_info", JsonText),
    Column("admin", Boolean, default=False),
    Column("created", DateTime),
    Column("last_activity", DateTime),
    Column("cookie_id", Unicode(255), unique=True, nullable=False),
    Column("state", JsonText),
    Column("encrypted_auth_state", LargeBinary),
)

oauth_clients = Table(
    "oauth_clients",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("identifier", Unicode(255), unique=True),
    Column("description", Unicode(1023)),
    Column("secret", Unicode(255)),
    Column("redirect_uri", Unicode(1023)),
    Column("allowed_scopes", JsonText, default=list),
)

user_group_map = Table(
    "user_group_map",
    metadata,
    Column("user_id", _key("users.id"), primary_key=True),
    Column("group_id", _key("groups.id"), primary_key=True),
)


def _role_map(kind: str, holders: str) -> Table:
    return Table(
        f"{kind}_role_map",
        metadata,
        Column(f"{kind}_id", _key(f"{holders}.id"), nullable=False),
        Column("role_id", _key("roles.id"), nullable=False),
        Column("managed_by_auth", Boolean, nullable=False, default=False),
        PrimaryKeyConstraint(f"{kind}_id", "role_id"),
    )


user_role_map = _role_map("user", "users")
group_role_map = _role_map("group", "groups")
service_role_map = _role_map("service", "services")

spawners = Table(
    "spawners",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("user_id", _key("users.id")),
    Column("server_id", _key("servers.id", on_delete="SET NULL")),
    Column("state", JsonText),
    Column("name", Unicode(255)),
    Column("display_name", Unicode(255)),
    Column("started", DateTime),
    Column("last_activity", DateTime),
    Column("user_options", JsonText),
    Column("oauth_client_id", _key("oauth_clients.identifier", on_delete="SET NULL")),
)

services = Table(
    "services",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", Unicode(255), unique=True),
    Column("admin", Boolean, default=False),
    Column("url", Unicode(2047)),
    Column("oauth_client_allowed_scopes", JsonText),
    Column("info", JsonText),
    Column("display", Boolean),
    Column("oauth_no_confirm", Boolean),
    Column("command", JsonText),
    Column("cwd", Unicode(4095)),
    Column("environment", JsonText),
    Column("user", Unicode(255)),
    Column("timeout", Integer, nullable=False, default=30),
    Column("from_config", Boolean, default=True),
    Column("_server_id", _key("servers.id", on_delete="SET NULL")),
    Column("pid", Integer),
    Column("oauth_client_id", _key("oauth_clients.identifier", on_delete="SET NULL")),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("user_id", _key("users.id"), nullable=True),
    Column("service_id", _key("services.id"), nullable=True),
    Column("id", Integer, primary_key=True),
    Column("hashed", Unicode(255), unique=True),
    Column("prefix", Unicode(16), index=True),
    Column("client_id", _key("oauth_clients.identifier")),
    Column("session_id", Unicode(255)),
    Column("created", DateTime),
    Column("expires_at", DateTime),
    Column("last_activity", DateTime),
    Column("note", Unicode(1023)),
    Column("scopes", JsonText, default=list),
)

oauth_codes = Table(
    "oauth_codes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("client_id", _key("oauth_clients.identifier")),
    Column("code", Unicode(36)),
    Column("expires_at", Integer),
    Column("redirect_uri", Unicode(1023)),
    Column("session_id", Unicode(255)),
    Column("user_id", _key("users.id")),
    Column("scopes", JsonText, default=list),
    Column("code_challenge", Unicode(255)),
    Column("code_challenge_method", Unicode(64)),
)

shares = Table(
    "shares",
    metadata,
    Column("user_id", _key("users.id"), nullable=True),
    Column("group_id", _key("groups.id"), nullable=True),
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("created_at", DateTime, nullable=False),
    Column("scopes", JsonText, default=list),
    Column("expires_at", DateTime),
    Column("owner_id", _key("users.id")),
    Column("spawner_id", _key("spawners.id")),
)

share_codes = Table(
    "share_codes",
    metadata,
    Column("hashed", Unicode(255), unique=True),
    Column("prefix", Unicode(16), index=True),
    Column("exchange_count", Integer, default=0),
    Column("last_exchanged_at", DateTime),
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("created_at", DateTime, nullable=False),
    Column("scopes", JsonText, default=list),
    Column("expires_at", DateTime),
    Column("owner_id", _key("users.id")),
    Column("spawner_id", _key("spawners.id")),
)

alembic_version = Table(
    "alembic_version",
    metadata,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

# -- ours

replicas = Table(
    "jhx_replicas",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("url", String(1023), nullable=False),
    Column("started", DateTime, nullable=False),
    #: in the database's clock
    Column("heartbeat", DateTime, nullable=False),
)

server_states = Table(
    "jhx_server_states",
    metadata,
    Column("spawner_id", _key("spawners.id"), primary_key=True, autoincrement=False),
    Column("phase", String(16), nullable=False, default="stopped", server_default="stopped", index=True),
    Column("target", String(16), nullable=False, default="stopped", server_default="stopped"),
    Column("generation", Integer, nullable=False, default=0, server_default="0"),
    #: no foreign key: a hub that is gone leaves its name here until somebody takes over
    Column("hub_id", String(64), index=True),
    Column("phase_since", DateTime),
    Column("failure", JsonText),
    Column("attempts", Integer, nullable=False, default=0, server_default="0"),
    Column("remove_when_stopped", Boolean, nullable=False, default=False, server_default="0"),
)

server_events = Table(
    "jhx_server_events",
    metadata,
    Column("spawner_id", _key("spawners.id"), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("at", DateTime, nullable=False),
    Column("data", JsonText, nullable=False),
    PrimaryKeyConstraint("spawner_id", "generation", "seq"),
)

#: Starts of the last day, for people who look how the hub is doing. Names in place of keys: what happened has happened,
#: also when the user is gone.
starts = Table(
    "jhx_starts",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    #: since 1970, so that any engine can count starts by it
    Column("minute", Integer, nullable=False, index=True),
    Column("user_name", String(255), nullable=False),
    Column("server_name", String(255), nullable=False),
    Column("took_s", Float, nullable=False),
    #: why it failed; null if it did not
    Column("failure", Text),
)

hub_settings = Table(
    "jhx_hub_settings",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("value", JsonText),
    Column("updated", DateTime),
)

#: codes that have been exchanged, until their time is over: whoever brings one again has stolen it, or was stolen from
spent_codes = Table(
    "jhx_spent_codes",
    metadata,
    Column("hashed", String(64), primary_key=True),
    Column("token_id", _key("api_tokens.id"), nullable=False, index=True),
    Column("expires_at", Integer, nullable=False),
)

own_schema = Table("jhx_own_schema", metadata, Column("version", Integer, primary_key=True, autoincrement=False))

#: our own tables, in an order in which they can be created
OWN_TABLES = (replicas, server_states, server_events, starts, hub_settings, spent_codes, own_schema)


def _index(column: Column[Any]) -> Index:
    return Index(f"jhx_ix_{column.table.name}_{column.name}", column)


#: Indexes of ours on tables of the original, which has none on what its rows refer to: without them the servers of one
#: user, or what goes with a deleted row, are found by reading everybody's. (That of activity is there to sort by.) They
#: mean nothing to the original.
OWN_INDEXES = tuple(
    _index(column)
    for column in (
        spawners.c.user_id,
        spawners.c.server_id,
        spawners.c.oauth_client_id,
        api_tokens.c.user_id,
        api_tokens.c.service_id,
        api_tokens.c.client_id,
        user_group_map.c.group_id,
        user_role_map.c.role_id,
        users.c.last_activity,
        oauth_codes.c.user_id,
        shares.c.user_id,
        shares.c.group_id,
        shares.c.owner_id,
        shares.c.spawner_id,
        share_codes.c.owner_id,
        share_codes.c.spawner_id,
    )
)
