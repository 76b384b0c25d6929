"""Sign: the API's handlers under the names that plugins import. They live in ``hub/web/api``.

Plugins append ``(path, handler)`` pairs to ``default_handlers``, with paths below ``hub/``; the hub adds them
when it starts.
"""

from typing import Any

from jupyterhub.hub.web.api.compat import APIHandler
from jupyterhub.words.urls import url_path_join

#: what plugins add; ``hub/web/urls.py`` puts these behind its own
default_handlers: list[Any] = []

__all__ = ["APIHandler", "default_handlers", "url_path_join"]
