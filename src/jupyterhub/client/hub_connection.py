"""Is the hub there, and does it speak our version? Asked once when a server starts.

A server that cannot reach its hub is of no use: nobody could log in. It gives up after five tries, so that the hub
sees the start fail and can say so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from logging import Logger

from jupyterhub.words.version import __version__

from .hub_requests import HubUnreachable, TLSFiles, ask_hub

VERSION_HEADER = "X-JupyterHub-Version"

#: seconds to wait between tries
BACK_OFF_S = (2, 4, 8, 16)


async def check_hub(
    api_url: str,
    *,
    tls: TLSFiles,
    log: Logger,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Return when the hub has answered. Raise :class:`HubUnreachable` after the last try."""
    for wait_s in (*BACK_OFF_S, None):
        try:
            answer = await ask_hub(api_url, tls=tls)
        except HubUnreachable as error:
            reason = str(error)
        else:
            if answer.status < 500:
                compare_versions(answer.headers.get(VERSION_HEADER, ""), log)
                return
            reason = f"it answered {answer.status} {answer.reason}"
        if wait_s is None:
            raise HubUnreachable(
                f"The hub's API at {api_url} cannot be reached: {reason}. Is the hub running, and is this the address "
                "under which this server sees it (JupyterHub.hub_connect_ip, Spawner.hub_connect_url)?"
            )
        log.error("The hub's API at %s cannot be reached (%s). Trying again in %s s", api_url, reason, wait_s)
        await sleep(wait_s)


def compare_versions(hub_version: str, log: Logger) -> None:
    """Warn if the hub is of another major version, or does not say."""
    if not hub_version:
        log.warning("The hub does not tell its version; it should be %s like this server's", __version__)
    elif hub_version.partition(".")[0] != __version__.partition(".")[0]:
        log.warning(
            "The hub's version is %s, this server's %s: they may not understand each other. Install the same version "
            "of jupyterhub in both places.",
            hub_version,
            __version__,
        )
    else:
        log.debug("The hub's version is %s, this server's %s", hub_version, __version__)
