"""Lets plain functions wait: for plugins that ask the database, or the hub, as if the answer came at once.

``run`` executes a coroutine in a greenlet. Any plain function that it calls, however deep, may call ``wait``: the event
loop goes on meanwhile, as with ``await``. SQLAlchemy's asynchronous drivers wait in the same way, so its synchronous
``Session`` works there too (``legacy_session.py``) and blocks nobody. Without this a plugin that waits for a lock which
another coroutine of this process holds would wait for ever.

The stretch of plain code between two ``await`` of the coroutine itself is a *section*. What was registered with
``at_end_of_section`` happens before the coroutine waits for something of its own, and when it ends.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

from .steady import settled

T = TypeVar("T")

#: is told whether the section failed; may wait
AtEnd = Callable[[bool], None]


class _Worker(greenlet):  # type: ignore[misc]  # greenlet has no types
    """Where one coroutine runs whose plain code may wait."""

    #: tells SQLAlchemy that its drivers may wait here
    __sqlalchemy_greenlet_provider__ = True

    def __init__(self, function: Callable[..., Any]) -> None:
        driver = getcurrent()
        super().__init__(function, driver)
        self.gr_context = driver.gr_context
        #: what this section has begun, and how that ends
        self.at_end: dict[Any, AtEnd] = {}
        #: how often the event loop had its turn
        self.turns = 0

    def end_section(self, *, failed: bool = False) -> None:
        while self.at_end:
            key, end = next(reversed(self.at_end.items()))
            try:
                end(failed)  # which is a part of the section still
            finally:
                del self.at_end[key]


class _Own:
    """What the coroutine itself waits for: handed on to the event loop as it is."""

    __slots__ = ("yielded",)

    def __init__(self, yielded: Any) -> None:
        self.yielded = yielded

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self.yielded)


class _Called:
    """What plain code waits for by ``wait``: cancelled with its caller, unlike the statements of a driver."""

    __slots__ = ("awaitable",)

    def __init__(self, awaitable: Awaitable[Any]) -> None:
        self.awaitable = awaitable

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.awaitable.__await__()


def can_wait() -> bool:
    """Say whether the code that asks was called by ``run``."""
    return isinstance(getcurrent(), _Worker)


def wait(awaitable: Awaitable[T]) -> T:
    """Give the result of ``awaitable`` to plain code; RuntimeError where it cannot wait.

    Ends the section first: nobody shall hold the database while waiting for something else.
    """
    worker = getcurrent()
    if not isinstance(worker, _Worker):
        if isinstance(awaitable, Coroutine):
            awaitable.close()
        raise RuntimeError(
            "This would have to wait, and a plain function can do so only where the hub has called it: in hooks and "
            "methods of plugins and in their request handlers, not in tasks or callbacks that a plugin has made itself."
        )
    worker.end_section()
    return _hand_over(worker, _Called(awaitable))  # type: ignore[no-any-return]


def wait_in_section(awaitable: Awaitable[T]) -> T:
    """As ``wait``, without ending the section: for what belongs to it, such as its lock."""
    worker = getcurrent()
    assert isinstance(worker, _Worker)
    return _hand_over(worker, _Called(awaitable))  # type: ignore[no-any-return]


def at_end_of_section(key: Any, function: AtEnd) -> None:
    """Have ``function`` called when this section ends; ``key`` says who asks, once per section."""
    worker = getcurrent()
    assert isinstance(worker, _Worker)
    worker.at_end[key] = function


def section_has(key: Any) -> bool:
    worker = getcurrent()
    return isinstance(worker, _Worker) and key in worker.at_end


def turns() -> int:
    """Say how often the event loop has had its turn since ``run`` was called around the code that asks."""
    worker = getcurrent()
    return worker.turns if isinstance(worker, _Worker) else 0


async def run(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` so that the plain code it calls may wait; give its result."""
    if can_wait():
        return await work
    worker = _Worker(_drive)
    step = worker.switch(work)
    cancelled: asyncio.CancelledError | None = None
    while not worker.dead:
        worker.turns += 1
        try:
            if isinstance(step, _Own | _Called):
                if cancelled is not None:
                    due, cancelled = cancelled, None
                    raise due
                answer = await step
            else:
                # A statement ends before a cancellation counts: torn, it would leave connection and locks behind.
                task, late = await settled(_awaited(step))
                cancelled = cancelled or late
                answer = task.result()
        except BaseException:
            step = worker.throw(*sys.exc_info())
        else:
            step = worker.switch(answer)
    if cancelled is not None:
        raise cancelled
    return step  # type: ignore[no-any-return]


def _drive(work: Coroutine[Any, Any, Any]) -> Any:
    """Step through a coroutine as a task does, and end a section whenever it waits."""
    worker = getcurrent()
    assert isinstance(worker, _Worker)
    step: Callable[[Any], Any] = work.send
    given: Any = None
    while True:
        try:
            yielded = step(given)
        except StopIteration as end:
            worker.end_section()
            return end.value
        except BaseException:
            worker.end_section(failed=True)
            raise
        try:
            worker.end_section()
            step, given = work.send, _hand_over(worker, _Own(yielded))
        except BaseException as error:
            step, given = work.throw, error


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable


def _hand_over(worker: _Worker, what: _Own | _Called) -> Any:
    """Let the event loop have its turn until ``what`` is there."""
    assert worker.parent is not None
    return worker.parent.switch(what)
