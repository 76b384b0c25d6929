"""Hooks that schemathesis loads for ``test_api_fuzzed``: names of things that exist, and closed answers.

Answers may not have more fields than are documented. Clients are not told so, because later versions may have more.
"""

from __future__ import annotations

import typing
import zlib
from typing import Any

import schemathesis

from jupyterhub.hub.web import models

NAMES = {
    "user_name": ("ada", "bob", "carol"),
    "owner": ("ada",),
    "server_name": ("lab",),
    "shared": ("lab",),
    "group_name": ("staff",),
    "service_name": ("root", "tests"),
    "token_id": ("a1", "a2", "a3"),
}


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Make half of the names those of things that exist; which half follows from the values, so from the seed."""
    if not path_parameters:
        return path_parameters
    chance = zlib.crc32(repr(sorted(path_parameters.items())).encode("utf-8", "replace"))
    known = {name: values[chance // 2 % len(values)] for name, values in NAMES.items()}
    return {name: known.get(name, value) if chance % 2 else value for name, value in path_parameters.items()}


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """Close the models of answers, but for what spawners may add to."""
    for name, schema in raw_schema["components"]["schemas"].items():
        if typing.is_typeddict(getattr(models, name, None)) and name != "ProgressEvent":
            schema["additionalProperties"] = False
