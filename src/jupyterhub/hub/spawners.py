"""Builds Spawner objects of the configured class, with everything that plugin-api.md §2 says they are given.

One object per server and life of that server. The workflow around it is in ``hub/servers``.
"""

from __future__ import annotations

import logging
from typing import Any

from jupyterhub.spawner import LocalProcessSpawner
from jupyterhub.words.models import Endpoint, Server
from jupyterhub.words.names import ServerKey, oauth_client_id
from jupyterhub.words.urls import server_progress_path

from . import addresses
from .plugin_views import UserView, Views, spawner_row
from .settings import HubSettings

log = logging.getLogger("jupyterhub.spawners")


class Spawners:
    """The factory of this hub's Spawner objects."""

    def __init__(
        self, *, spawner_class: type[Any], settings: HubSettings, views: Views, authenticator: Any, config: Any
    ) -> None:
        self.spawner_class = spawner_class
        self._settings, self._views = settings, views
        self._authenticator, self._config = authenticator, config

    async def warm_up(self) -> None:
        """Let the warm process of local servers be made before anyone asks for one."""
        if not issubclass(self.spawner_class, LocalProcessSpawner):
            return
        try:
            await self.spawner_class(config=self._config).warm_up()
        except Exception as error:
            # A subclass may need a user for what is read here. Its first start makes the process.
            log.debug("no warm process is made in advance: %s", error)

    def build(self, server: Server, user: UserView) -> Any:
        """Give the Spawner of a server, with its stored state loaded; ``server`` may be stopped.

        Made anew, unless a plugin holds one that it was given while nobody drove the server: what it has set on that
        counts for the start.
        """
        prepared = self._views.prepared.get(server.key)
        if prepared is not None and prepared.user.id == user.id:
            prepared.user, prepared.orm_spawner = user, spawner_row(server)
            prepared.load_state(dict(server.state or {}))
            return prepared
        return self.make(server, user)

    def make(self, server: Server, user: UserView, spawner_class: type[Any] | None = None, **values: Any) -> Any:
        """Make a new Spawner; ``values`` override what the hub would give it."""
        settings = self._settings
        key = server.key
        given: dict[str, Any] = {
            "user": user,
            "orm_spawner": spawner_row(server),
            "hub": self._views.hub,
            "authenticator": self._authenticator,
            "config": self._config,
            "proxy_spec": addresses.server_routespec(settings, key),
            "oauth_client_id": server.oauth_client_id or oauth_client_id(key),
            "cookie_options": settings.cookie_options,
            "cookie_host_prefix_enabled": settings.cookie_host_prefix_enabled,
            "trusted_alt_names": list(settings.trusted_alt_names),
            "user_options": dict(server.user_options or {}),
            "public_url": addresses.full_server_url(settings, key) or "",
            "public_hub_url": settings.public_hub_url,
            "_deprecated_db_session": self._views.db,
        }
        if settings.internal_ssl:
            given |= {
                "internal_ssl": True,
                "internal_trust_bundles": dict(settings.internal_trust_bundles),
                "internal_certs_location": settings.internal_certs_location,
            }
        spawner = (spawner_class or self.spawner_class)(**{**given, **values})
        spawner.load_state(dict(server.state or {}))
        spawner._progress_url = server_progress_path(settings.hub_prefix, key)
        if server.endpoint is not None:
            self.set_endpoint(spawner, server.endpoint)
        return spawner

    def set_endpoint(self, spawner: Any, endpoint: Endpoint | None) -> None:
        """Give the Spawner its ``server`` object, or take it away."""
        spawner.server = self._views.endpoint(endpoint) if endpoint is not None else None

    def base_url(self, key: ServerKey) -> str:
        return self._views.server_path(key)
