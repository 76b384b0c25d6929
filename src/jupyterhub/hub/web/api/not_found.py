"""The catch-all below ``hub/api``: addresses that do not exist answer 404 in JSON, to anybody and every method."""

from __future__ import annotations

from typing import Any

from jupyterhub.hub.web.api.base import APIHandler
from jupyterhub.words.errors import NotFound


class NotFoundHandler(APIHandler):
    metrics_name = "jupyterhub.apihandlers.base.API404"
    identifies = False

    def _refuse(self, *args: Any, **kwargs: Any) -> None:
        raise NotFound()

    get = post = put = patch = delete = head = options = _refuse


HANDLERS: list[tuple[str, type]] = [(r"/.*", NotFoundHandler)]
