"""Sign: the OAuth provider of the hub, ``handler.oauth_provider``. It lives in ``hub/oauth``."""

from jupyterhub.hub.oauth.provider import OAuthProvider

__all__ = ["OAuthProvider"]
