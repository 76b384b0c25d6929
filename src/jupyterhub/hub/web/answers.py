"""Our models → the JSON that clients expect, field by field as ``models.py`` says.

Which fields a reader sees follows from their scopes and is decided here, for one thing and for lists alike. Nothing
here asks the database: what a model needs is in its ``…Details``, fetched with a constant number of statements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from jupyterhub.hub import addresses
from jupyterhub.hub.bulletin import Posted
from jupyterhub.hub.groups import GroupDetails
from jupyterhub.hub.services import ServiceDetails
from jupyterhub.hub.settings import HubSettings
from jupyterhub.hub.status import Overview
from jupyterhub.hub.tokens import TokenDetails
from jupyterhub.hub.users import UserDetails, UserParts
from jupyterhub.hub.web import models
from jupyterhub.rbac.expand import Owner, identify_scopes
from jupyterhub.rbac.scope_set import ALL, ScopeSet, Target
from jupyterhub.words.clock import isoformat
from jupyterhub.words.models import FailedStart, Json, Phase, Server, Share, ShareCode
from jupyterhub.words.names import ServerKey
from jupyterhub.words.unset import UNSET, Unset
from jupyterhub.words.urls import server_progress_path

# -- users

#: field of the user model → the scopes of which any one shows it
USER_FIELDS: Mapping[str, tuple[str, ...]] = {
    "admin": ("read:users", "read:users:name", "read:roles:users"),
    "user_info": ("read:users", "read:users:name"),
    "roles": ("read:users", "read:roles:users"),
    "groups": ("read:users", "read:users:groups"),
    "server": ("read:users",),
    "pending": ("read:users",),
    "created": ("read:users",),
    "last_activity": ("read:users", "read:users:activity"),
    "servers": ("read:servers",),
    "auth_state": ("admin:auth_state",),
}
_USER_SCOPES = tuple({scope for scopes in USER_FIELDS.values() for scope in scopes})


@lru_cache(maxsize=4096)
def user_parts(scopes: ScopeSet) -> UserParts:
    """Say which rows beside the users' own are needed to show users to the holder of these scopes."""

    def seen(*fields: str) -> bool:
        return any(scopes.has_any(scope) for field in fields for scope in USER_FIELDS[field])

    return UserParts(
        groups=seen("groups") or scopes.needs_groups((*_USER_SCOPES, "admin:server_state")),
        roles=seen("roles"),
        servers=seen("server", "pending", "servers"),
    )


@lru_cache(maxsize=4096)
def _fields(scopes: ScopeSet, target: Target) -> frozenset[str]:
    """Which fields of this user the holder of these scopes may see."""
    return frozenset(field for field, needed in USER_FIELDS.items() if scopes.covers_any(needed, target))


@lru_cache(maxsize=4096)
def _are_filtered(scopes: ScopeSet) -> bool:
    """Say whether it depends on the user what the holder of these scopes may see of them."""
    return any(scopes.has_any(scope) and not scopes.is_unfiltered(scope) for scope in _USER_SCOPES)


class UserModels:
    """Makes user models for one reader; made once per answer, however many users are in it."""

    def __init__(self, scopes: ScopeSet, settings: HubSettings, *, include_stopped_servers: bool = False) -> None:
        self._scopes, self._settings = scopes, settings
        self._include_stopped = include_stopped_servers
        # Scopes without filters, which admins and most services have, answer for all users alike.
        self._fields_of_all = None if _are_filtered(scopes) else _fields(scopes, Target(user=""))
        servers = scopes.held.get("read:servers")
        #: ``owner/name`` of the servers that may be read one by one
        self._single_servers = frozenset[str]() if servers is None or servers is ALL else servers.servers
        self._state_of_all = scopes.is_unfiltered("admin:server_state")
        self._state_of_some = scopes.has_any("admin:server_state")

    def model(
        self, details: UserDetails, *, auth_state: Json | Unset = None, known_as: str | None = None
    ) -> models.User | None:
        """Give what the reader may see of this user, None if that is nothing.

        ``auth_state`` is the value for readers who may see it; only answers about a single user have one.
        ``known_as``: the name by which scopes are looked up, if it is not the user's name (any more).
        """
        user = details.user
        groups = frozenset(details.groups)
        fields = self._fields_of_all
        if fields is None:
            fields = _fields(self._scopes, Target(user=known_as or user.name, user_groups=groups))
        if not fields:
            return None
        model: models.User = {"kind": "user", "name": user.name}
        if "admin" in fields:
            model["admin"] = user.admin
        if "user_info" in fields:
            model["user_info"] = user.user_info
        if "roles" in fields:
            model["roles"] = list(details.roles)
        if "groups" in fields:
            model["groups"] = list(details.groups)
        if "server" in fields:
            default = next((server for server in details.servers if not server.key.name), None)
            is_ready = default is not None and default.is_ready
            model["server"] = addresses.server_url(self._settings, ServerKey(user.name)) if is_ready else None
            model["pending"] = default.pending if default else None
            model["created"] = isoformat(user.created)
        if "last_activity" in fields:
            model["last_activity"] = isoformat(user.last_activity)
        if "servers" in fields:
            model["servers"] = self._servers(self._known(details), groups)
        elif self._single_servers:
            single = [s for s in details.servers if s.key.scope_value in self._single_servers]
            if single:
                model["servers"] = self._servers(single, groups)
        if "auth_state" in fields and auth_state is not UNSET:
            model["auth_state"] = auth_state
        return model

    def _known(self, details: UserDetails) -> Sequence[Server]:
        """Give all servers of a user; everybody has a default one, whether it ever ran or not."""
        if not self._include_stopped or any(not server.key.name for server in details.servers):
            return details.servers
        return [Server.never_started(ServerKey(details.user.name), details.user.id), *details.servers]

    def _servers(self, servers: Sequence[Server], groups: frozenset[str]) -> dict[str, models.Server]:
        return {
            server.key.name: self.server(server, groups)
            for server in servers
            if server.is_active or self._include_stopped
        }

    def server(self, server: Server, groups: frozenset[str]) -> models.Server:
        """Give the model of one server, with its state if the reader may see that."""
        with_state = self._state_of_all or (
            self._state_of_some
            and self._scopes.covers("admin:server_state", Target.of_server(server.key, user_groups=groups))
        )
        return server_model(server, self._settings, with_state=with_state)


def server_model(server: Server, settings: HubSettings, *, with_state: bool = False) -> models.Server:
    key = server.key
    # The default server has no label of its own; a row without one is from before version 6.
    display_name = server.display_name if key.name else server.display_name or ""
    model: models.Server = {
        "name": key.name,
        "display_name": display_name,
        "full_name": key.scope_value,
        "last_activity": isoformat(server.last_activity),
        "started": None if server.is_stopped else isoformat(server.started),
        "pending": server.pending,
        "ready": server.is_ready,
        "stopped": server.is_stopped,
        "url": addresses.server_url(settings, key),
        "progress_url": server_progress_path(settings.hub_prefix, key),
        "full_url": addresses.full_server_url(settings, key),
        "full_progress_url": addresses.full_progress_url(settings, key),
        "user_options": server.user_options,
    }
    if with_state:
        model["state"] = server.state
    return model


# -- tokens


def token_model(details: TokenDetails) -> models.Token:
    token = details.token
    model: models.Token = {
        "id": token.public_id,
        "kind": "api_token",
        "roles": [],
        "scopes": sorted(details.scopes.raw),
        "created": isoformat(token.created),
        "last_activity": isoformat(token.last_activity),
        "expires_at": isoformat(token.expires_at),
        "note": token.note or "",
        "session_id": token.session_id,
        "oauth_client": token.client_description or token.client_id or "JupyterHub",
    }
    model[token.owner_kind] = token.owner_name
    return model


# -- groups


def group_model(details: GroupDetails, scopes: ScopeSet) -> models.Group | None:
    """Give what the reader may see of this group, None if that is nothing."""
    group, on = details.group, Target(group=details.group.name)
    reads, reads_roles = scopes.covers("read:groups", on), scopes.covers("read:roles:groups", on)
    if not (reads or reads_roles or scopes.covers("read:groups:name", on)):
        return None
    model: models.Group = {"kind": "group", "name": group.name}
    if reads:
        if details.member_count is None:
            model["users"] = list(details.members)
        else:
            model["user_count"] = details.member_count
        model["properties"] = dict(group.properties)
    if reads_roles:
        model["roles"] = list(details.roles)
    return model


# -- services


def service_model(details: ServiceDetails, scopes: ScopeSet, settings: HubSettings) -> models.Service | None:
    """Give what the reader may see of this service, None if that is nothing."""
    service, on = details.service, Target(service=details.service.name)
    reads, reads_roles = scopes.covers("read:services", on), scopes.covers("read:roles:services", on)
    if not (reads or reads_roles or scopes.covers("read:services:name", on)):
        return None
    model: models.Service = {"kind": "service", "name": service.name, "admin": service.admin}
    if reads:
        model |= {
            "url": service.url or "",
            "prefix": addresses.service_prefix(settings, service.name) if service.url else "",
            "command": list(service.command),
            "pid": service.pid or 0,
            "info": dict(service.info or {}),
            "display": service.display is not False,
        }
    if reads_roles:
        model["roles"] = list(details.roles)
    return model


def service_row_model(details: ServiceDetails, scopes: ScopeSet, settings: HubSettings) -> models.Service | None:
    """Give the model as a service sees itself: of its row only, with null for what is not set there."""
    service, model = details.service, service_model(details, scopes, settings)
    if model is not None and "url" in model:
        model |= {"url": service.url or None, "info": service.info or None, "display": service.display, "pid": 0}
    return model


@lru_cache(maxsize=4096)
def with_identity(scopes: ScopeSet, owner: Owner) -> ScopeSet:
    """Add the scopes by which anyone may read who they are; what models of oneself are made with."""
    return ScopeSet.of(scopes.raw | identify_scopes(owner))


# -- shares


def _shared_server(key: ServerKey, is_ready: bool, settings: HubSettings) -> models.SharedServer:
    return {
        "user": {"name": key.user},
        "name": key.name,
        "url": addresses.server_url(settings, key),
        "full_url": addresses.full_server_url(settings, key),
        "ready": is_ready,
    }


def share_model(share: Share, settings: HubSettings) -> models.Share:
    return {
        "server": _shared_server(share.server, share.is_ready, settings),
        "scopes": sorted(share.scopes),
        "user": {"name": share.user} if share.user is not None else None,
        "group": {"name": share.group} if share.group is not None else None,
        "kind": "user" if share.user is not None else "group",
        "created_at": isoformat(share.created_at),
    }


def share_code_model(code: ShareCode, settings: HubSettings) -> models.ShareCode:
    return {
        "server": _shared_server(code.server, code.is_ready, settings),
        "scopes": sorted(code.scopes),
        "id": f"sc_{code.id}",
        "created_at": isoformat(code.created_at),
        "expires_at": isoformat(code.expires_at),
        "exchange_count": code.exchange_count,
        "last_exchanged_at": isoformat(code.last_exchanged_at),
    }


def made_share_code_model(code: ShareCode, secret: str, settings: HubSettings) -> models.MadeShareCode:
    """Give the answer that makes a code: the only one with the code itself and the links to its page."""
    path = f"{settings.hub_prefix}accept-share?code={secret}"
    origin = addresses.public_origin(settings)
    return {
        **share_code_model(code, settings),
        "code": secret,
        "accept_url": path,
        "full_accept_url": origin + path if origin else None,
    }


# -- the hubs


def notices_model(posted: Posted) -> models.Notices:
    """Give what an admin tells everybody."""
    announcement, maintenance = posted.announcement, posted.maintenance
    return {
        "announcement": None
        if announcement is None
        else {
            "text": announcement.text,
            "kind": announcement.kind,
            "until": isoformat(announcement.until),
            "since": isoformat(announcement.since),
            "by": announcement.by,
        },
        "maintenance": None
        if maintenance is None
        else {
            "text": maintenance.text,
            "users": list(maintenance.users),
            "groups": list(maintenance.groups),
            "until": isoformat(maintenance.until),
            "since": isoformat(maintenance.since),
            "by": maintenance.by,
        },
    }


def status_model(overview: Overview, failures: Sequence[FailedStart]) -> models.Status:
    """Give how the hubs are doing, with those of the failures that the reader may see."""
    servers = overview.servers
    return {
        "at": isoformat(overview.at),
        "hubs": [
            {
                "id": hub.replica.id,
                "host": hub.replica.host,
                "pid": hub.replica.pid,
                "url": hub.replica.url,
                "started": isoformat(hub.replica.started),
                "heartbeat": isoformat(hub.replica.heartbeat),
                "leads": hub.leads,
                "answers": hub.answers,
            }
            for hub in overview.hubs
        ],
        "database": {
            "engine": overview.database.dialect,
            "took_s": round(overview.database.took_s, 6),
            "users": overview.database.users,
        },
        "proxy": {
            "name": overview.proxy.name,
            "took_s": round(overview.proxy.took_s, 6),
            "routes": overview.proxy.routes,
            "problem": overview.proxy.problem,
        },
        "servers": {
            "ready": servers.get(Phase.READY, 0),
            "starting": servers.get(Phase.STARTING, 0),
            "stopping": servers.get(Phase.STOPPING, 0),
            "checking": servers.get(Phase.CHECKING, 0),
        },
        "starts": [
            {
                "minute": isoformat(part.minute),
                "succeeded": part.succeeded,
                "failed": part.failed,
                "mean_s": part.mean_s,
                "longest_s": part.longest_s,
            }
            for part in overview.starts
        ],
        "failures": [
            {
                "user": failed.key.user,
                "server": failed.key.name,
                "minute": isoformat(failed.minute),
                "took_s": failed.took_s,
                "reason": failed.reason,
            }
            for failed in failures
        ],
    }
