"""The life of a server as a table: which phase may follow which.

    stopped --asked for--> starting --answers its readiness probe--> ready
       ^                      | fails, times out, cancelled            | asked to stop, or found dead
       +------- stopping <----+----------------------------------------+

``checking`` stands for ``ready`` while a hub that took the server over finds out whether it lives. Requests write
*starting* and *stopping*; all other steps belong to the driver that holds the lease. The store's conditional updates
follow this table; the driver asserts it.
"""

from __future__ import annotations

from collections.abc import Mapping

from jupyterhub.words.models import Phase

TRANSITIONS: Mapping[Phase, frozenset[Phase]] = {
    Phase.STOPPED: frozenset({Phase.STARTING}),
    Phase.STARTING: frozenset({Phase.READY, Phase.STOPPING}),
    Phase.READY: frozenset({Phase.STOPPING, Phase.CHECKING}),
    Phase.CHECKING: frozenset({Phase.READY, Phase.STOPPING}),
    # back to ready: a spawner that could not stop a server which still runs
    Phase.STOPPING: frozenset({Phase.STOPPED, Phase.READY}),
}


def may_follow(before: Phase, after: Phase) -> bool:
    return after in TRANSITIONS[before]
