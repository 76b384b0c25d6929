"""Start a process only after its number has been written down.

A hub may be killed between the fork of a server and the write that says how to find it again; that server would run for
ever and belong to nobody. Therefore the child waits at a gate, between fork and exec, until the parent has written
down its number. If the parent dies before that, the child ends without having executed anything.
"""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Awaitable, Callable
from subprocess import Popen
from typing import Any

_LOOK_EVERY_S = 0.5
_EXIT_UNWANTED = 75


async def start_behind_gate(
    start: Callable[[Callable[[], None]], Popen[Any]], keep: Callable[[int], Awaitable[None]]
) -> Popen[Any]:
    """Start a process, and let it execute its program once ``keep(pid)`` has returned.

    ``start(gate)`` calls ``Popen`` in a thread, with a ``preexec_fn`` whose last act is ``gate()``. What ``Popen`` or
    ``keep`` raises is raised here; then nothing runs.
    """
    number_r, number_w = os.pipe()
    go_r, go_w = os.pipe()
    parent = os.getpid()

    def gate() -> None:
        os.close(number_r)
        os.close(go_w)
        os.write(number_w, str(os.getpid()).encode())
        os.close(number_w)
        # An end of file alone would not tell us of the parent's death: children that wait at gates of their own hold
        # copies of our pipe. So we look at who our parent is, too.
        while not select.select([go_r], [], [], _LOOK_EVERY_S)[0]:
            if os.getppid() != parent:
                os._exit(_EXIT_UNWANTED)
        if os.read(go_r, 1) != b"g":
            os._exit(_EXIT_UNWANTED)

    ends = {number_r, number_w, go_r, go_w}

    def close(*which: int) -> None:
        for end in which:
            if end in ends:
                ends.discard(end)
                os.close(end)

    starting = asyncio.ensure_future(asyncio.to_thread(start, gate))
    try:
        number = await _number(number_r, starting)
        if number is not None:
            await keep(number)
            os.write(go_w, b"g")
        return await starting
    finally:
        close(go_w)
        if not starting.done():
            # Cancelled, or `keep` failed: without its sign the child ends, and Popen returns or raises.
            await asyncio.wait({starting})
            if not starting.cancelled() and starting.exception() is None:
                starting.result().wait()
        close(number_r, number_w, go_r)


async def _number(end: int, starting: asyncio.Future[Popen[Any]]) -> int | None:
    """Read the child's number; None when ``Popen`` failed before there was a child that could tell."""
    loop = asyncio.get_running_loop()
    readable = loop.create_future()
    os.set_blocking(end, False)

    def wake() -> None:
        if not readable.done():
            readable.set_result(None)

    loop.add_reader(end, wake)
    try:
        await asyncio.wait({readable, starting}, return_when=asyncio.FIRST_COMPLETED)
        if not readable.done():
            return None
        return int(os.read(end, 32))
    finally:
        loop.remove_reader(end)
        readable.cancel()
