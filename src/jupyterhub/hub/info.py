"""What runs here: versions of the hub, of Python, and of the plugins (``GET /info``)."""

from __future__ import annotations

import sys
from typing import Any

from jupyterhub.words.models import Json
from jupyterhub.words.version import __version__


def hub_info(*, authenticator_class: type[Any], spawner_class: type[Any]) -> dict[str, Json]:
    return {
        "version": __version__,
        "python": sys.version,
        "sys_executable": sys.executable,
        "spawner": _plugin(spawner_class),
        "authenticator": _plugin(authenticator_class),
    }


def _plugin(plugin: type[Any]) -> dict[str, str]:
    package = sys.modules.get(plugin.__module__.partition(".")[0])
    return {
        "class": f"{plugin.__module__}.{plugin.__name__}",
        "version": str(getattr(package, "__version__", "unknown")),
    }
