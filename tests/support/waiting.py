"""Waiting for conditions: with a limit, and with what was seen last when it fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], *, within_s: float = 20, every_s: float = 0.05, what: str = "") -> T:
    """Give the first true value of ``condition()``; AssertionError with the last one after ``within_s`` seconds."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {within_s} s: {what or condition}; last seen: {value!r}"
        time.sleep(every_s)  # between two looks at the condition, not instead of one
