"""Reading the environment variables that a hub gives to its servers and services."""

from __future__ import annotations

import json
import os
from typing import Any


def env_bool(name: str, default: bool) -> bool:
    """Unset and empty mean ``default``; ``0`` and ``false`` mean no; everything else yes."""
    value = os.environ.get(name, "")
    return default if not value else value.lower() not in ("0", "false")


def env_json(name: str, default: Any) -> Any:
    """Parse a variable; unset and empty mean ``default``. Raise ValueError that names the variable."""
    value = os.environ.get(name, "")
    if not value:
        return default
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"The environment variable {name} should hold JSON: {error}") from error
