"""Sign: users as plugins see them. They live in ``hub/plugin_views.py``; ``User(orm_user, settings)`` is for tests."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import object_session

from .hub.plugin_views import UserDict, UserView, Views
from .hub.settings import HubSettings
from .hub.spawners import Spawners
from .hub.store.orm import user_of
from .objects import Hub
from .spawner import LocalProcessSpawner

#: settings of the web application that say something about users
_SETTINGS = ("allow_named_servers", "base_url", "domain", "public_url", "subdomain_hook", "subdomain_host")


class User(UserView):
    """A user made from a row and the settings of the web application, for tests of spawners and authenticators."""

    def __init__(self, orm_user: Any, settings: dict[str, Any] | None = None, db: Any = None) -> None:
        given = dict(settings or {})
        values = {name: given[name] for name in _SETTINGS if name in given}
        if "base_url" in values:
            values["hub_prefix"] = f"{values['base_url']}hub/"
        hub_settings = HubSettings(**values)
        views = Views(
            settings=hub_settings,
            hub=given.get("hub") or Hub(),
            authenticator=given.get("authenticator"),
            tornado_settings=given,
        )
        views.db = db if db is not None else object_session(orm_user)
        views.make_spawner = Spawners(
            spawner_class=given.get("spawner_class", LocalProcessSpawner),
            settings=hub_settings,
            views=views,
            authenticator=views.authenticator,
            config=given.get("config"),
        ).make
        self._row = orm_user
        super().__init__(user_of(orm_user), views)

    @property
    def orm_user(self) -> Any:
        return self._row


__all__ = ["User", "UserDict"]
