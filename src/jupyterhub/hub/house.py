"""The house: everything that the hub's rooms need of each other at run time, put together once in ``cli/build.py``.

Handlers find it as ``self.house``. It holds no state of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jupyterhub.rbac.scopes import ScopeRegistry

from .activity import Activity
from .bulletin import Bulletin
from .groups import Groups
from .login import Logins
from .oauth.provider import OAuthProvider
from .plugin_views import Views
from .requesters import Requesters
from .routes import Routes
from .servers.servers import Servers
from .services import Services
from .settings import HubSettings
from .shares import Shares
from .status import Status
from .store.store import Store
from .tokens import Tokens
from .users import Users


@dataclass(kw_only=True)
class House:
    """One hub process."""

    settings: HubSettings
    store: Store
    registry: ScopeRegistry
    requesters: Requesters
    logins: Logins
    users: Users
    groups: Groups
    tokens: Tokens
    activity: Activity
    services: Services
    shares: Shares
    servers: Servers
    oauth: OAuthProvider
    routes: Routes
    views: Views
    status: Status
    bulletin: Bulletin
    #: the configured plugins
    authenticator: Any
    #: renders pages; its type lives in ``hub/web``, above us
    templates: Any
    #: ends this hub: ``shutdown(proxy=…, servers=…)``, None for what is configured
    shutdown: Callable[..., None]
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("jupyterhub"))
