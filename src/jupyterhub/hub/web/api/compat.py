"""``APIHandler`` as plugins know it: the API's handler with the names of ``compat.BaseHandler`` (plugin-api.md §6).

Plugins add endpoints of their own below ``hub/api`` with it; nothing else inside the hub uses it.
"""

from __future__ import annotations

from typing import Any

from jupyterhub.hub.web.api import base
from jupyterhub.hub.web.compat import BaseHandler
from jupyterhub.words.models import Json, Window


class APIHandler(base.APIHandler, BaseHandler):
    """The class that handlers of plugins subclass to answer JSON."""

    _accept_token_auth = True

    def get_json_body(self) -> Json:
        """Give the body parsed as JSON, None if it is empty; 400 if it is not JSON."""
        return self.body()

    def check_referer(self) -> bool:
        """Forged requests are refused before any method runs; this is what older plugins ask as well."""
        return True

    def get_api_pagination(self) -> tuple[int, int]:
        """Give offset and limit of the page that was asked for."""
        window = self.window()
        return window.offset, window.limit

    def paginated_model(self, items: Any, offset: int, limit: int, total_count: int) -> Json:
        """Give a page of a list in the shape that clients who ask for pages expect."""
        return self.page_of(items, total_count, Window(offset=offset, limit=limit))
