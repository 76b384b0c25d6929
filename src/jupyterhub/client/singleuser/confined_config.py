"""Leaving a user's own configuration out (``JUPYTERHUB_DISABLE_USER_CONFIG``).

Deployments use it where what a user left in the home directory must not keep the server from starting, or change what
it is. It is no barrier: the user's code runs in the server anyway.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jupyter_core.application
import jupyter_core.paths

_NAMES = ("jupyter_config_path", "jupyter_path", "jupyter_config_dir")


def leave_home_out() -> None:
    """Drop every directory below the home directory from where Jupyter looks for configuration and data.

    Each package finds these directories for itself through three functions of jupyter_core, often imported by name;
    replacing the functions reaches all of them, and saves us from knowing who they are.
    """
    home = Path.home().resolve()
    if getattr(jupyter_core.paths.jupyter_config_path, "leaves_home_out", False):
        return
    replacements: dict[Any, Callable[..., Any]] = {
        jupyter_core.paths.jupyter_config_path: _without(home, jupyter_core.paths.jupyter_config_path),
        jupyter_core.paths.jupyter_path: _without(home, jupyter_core.paths.jupyter_path),
    }
    if not os.environ.get("JUPYTER_CONFIG_DIR"):
        system_wide = jupyter_core.paths.SYSTEM_CONFIG_PATH[0]
        original = jupyter_core.paths.jupyter_config_dir

        @functools.wraps(original)
        def config_dir() -> str:
            found = original()
            return system_wide if _is_below(found, home) else found

        replacements[original] = config_dir
    for name, module in list(sys.modules.items()):
        if not name.startswith(("jupyter", "notebook", "nb")):
            continue
        for attribute in _NAMES:
            present = module.__dict__.get(attribute)
            if callable(present) and present in replacements:
                setattr(module, attribute, replacements[present])


def _without(home: Path, find: Callable[..., list[str]]) -> Callable[..., list[str]]:
    @functools.wraps(find)
    def find_elsewhere(*args: str) -> list[str]:
        return [path for path in find(*args) if not _is_below(path, home)]

    find_elsewhere.leaves_home_out = True  # type: ignore[attr-defined]
    return find_elsewhere


def _is_below(path: str, home: Path) -> bool:
    return Path(path).resolve().is_relative_to(home)
