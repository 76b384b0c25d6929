"""The one adapter through which the hub calls functions of plugins: authenticators, spawners, hooks from configuration.

They may be plain functions or coroutines, may raise anything, and may be slow. What they raise passes through, with a
note that names the call; the driver or handler that called decides what it means. Plain code in them may ask the
database and the hub as if the answers came at once (``store/waiting.py``).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import logging
import time
from collections.abc import Callable
from typing import Any

from .store import waiting

log = logging.getLogger("jupyterhub.plugins")

#: a synchronous plugin call longer than this blocks everybody, and is worth a line in the log
BLOCKING_WARNING_S = 0.5


async def call(what: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call ``function`` and await what it gives, if that can be awaited.

    ``what`` names the call in logs and in the notes of exceptions, for example ``"Spawner.pre_spawn_hook"``.
    """
    return await waiting.run(_call(what, function, args, kwargs))


async def _call(what: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    started, turns = time.monotonic(), waiting.turns()
    try:
        result = function(*args, **kwargs)
        blocked_s = time.monotonic() - started
        if blocked_s > BLOCKING_WARNING_S and waiting.turns() == turns:
            log.warning(
                "%s blocked the hub for %.1f s: make it a coroutine or run its work in a thread", what, blocked_s
            )
        if isinstance(result, concurrent.futures.Future):
            return await asyncio.wrap_future(result)
        if inspect.isawaitable(result):
            return await result
        return result
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # Nobody cancelled us: the plugin waited for something of its own that was cancelled. Passed on as it is, it
        # would end our task as if we had wanted that.
        raise RuntimeError(f"{what} waited for something that was cancelled") from error
    except Exception as error:
        error.add_note(f"raised by {what}")
        raise
