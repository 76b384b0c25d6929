"""``.well-known/oauth-authorization-server``: what clients need to know of the OAuth provider (RFC 8414).

The original has no such document. Below the hub's prefix it is where OpenID Connect puts it; RFC 8414 puts it at the
root of the host, which is ours only without a base URL.
"""

from __future__ import annotations

from jupyterhub.hub import addresses
from jupyterhub.hub.web import models
from jupyterhub.hub.web.api.base import APIHandler, Operation
from jupyterhub.hub.web.handler import browser_origin

WELL_KNOWN = r"/\.well-known/oauth-authorization-server"


class MetadataHandler(APIHandler):
    operations = {"get": Operation("Read about the OAuth provider", answers={200: models.OAuthMetadata})}
    identifies = False

    def get(self) -> None:
        prefix = (addresses.public_origin(self.hub_settings) or browser_origin(self.request)) + (
            self.hub_settings.hub_prefix
        )
        metadata: models.OAuthMetadata = {
            "issuer": prefix.rstrip("/"),
            "authorization_endpoint": f"{prefix}api/oauth2/authorize",
            "token_endpoint": f"{prefix}api/oauth2/token",
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code"],
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
            "code_challenge_methods_supported": ["S256", "plain"],
            "scopes_supported": sorted(self.house.registry.definitions),
        }
        self.answer(metadata)
