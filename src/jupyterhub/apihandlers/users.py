"""Sign: the handlers of users and servers that plugins derive from. They live in ``hub/web/api``."""

from jupyterhub.hub.web.api.servers import SpawnProgress as SpawnProgressAPIHandler
from jupyterhub.hub.web.api.servers import UserServer as UserServerAPIHandler
from jupyterhub.hub.web.api.tokens import OneToken as UserTokenAPIHandler
from jupyterhub.hub.web.api.tokens import TokenList as UserTokenListAPIHandler
from jupyterhub.hub.web.api.users import AdminAccess as UserAdminAccessAPIHandler
from jupyterhub.hub.web.api.users import OneUser as UserAPIHandler
from jupyterhub.hub.web.api.users import UserActivity as ActivityAPIHandler
from jupyterhub.hub.web.api.users import UserList as UserListAPIHandler
from jupyterhub.hub.web.api.whoami import WhoAmI as SelfAPIHandler

__all__ = [
    "ActivityAPIHandler",
    "SelfAPIHandler",
    "SpawnProgressAPIHandler",
    "UserAPIHandler",
    "UserAdminAccessAPIHandler",
    "UserListAPIHandler",
    "UserServerAPIHandler",
    "UserTokenAPIHandler",
    "UserTokenListAPIHandler",
]
