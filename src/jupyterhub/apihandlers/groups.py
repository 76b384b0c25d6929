"""Sign: the handlers of groups. They live in ``hub/web/api/groups.py``."""

from jupyterhub.hub.web.api.groups import GroupList as GroupListAPIHandler
from jupyterhub.hub.web.api.groups import GroupMembers as GroupUsersAPIHandler
from jupyterhub.hub.web.api.groups import GroupProperties as GroupPropertiesAPIHandler
from jupyterhub.hub.web.api.groups import OneGroup as GroupAPIHandler

__all__ = ["GroupAPIHandler", "GroupListAPIHandler", "GroupPropertiesAPIHandler", "GroupUsersAPIHandler"]
