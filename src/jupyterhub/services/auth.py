"""Sign: how services learn who is asking. It lives in ``jupyterhub.client``.

``HubAuth`` and ``HubOAuth`` ask the hub; ``HubAuthenticated`` and ``HubOAuthenticated`` are mixins for tornado
handlers; ``HubOAuthCallbackHandler`` belongs at ``<prefix>oauth_callback``.
"""

from jupyterhub.client.hub_auth import HubAuth, UserNotAllowed, check_scopes
from jupyterhub.client.mixins import HubAuthenticated, HubOAuthCallbackHandler, HubOAuthenticated
from jupyterhub.client.oauth_login import HubOAuth

__all__ = [
    "HubAuth",
    "HubAuthenticated",
    "HubOAuth",
    "HubOAuthCallbackHandler",
    "HubOAuthenticated",
    "UserNotAllowed",
    "check_scopes",
]
