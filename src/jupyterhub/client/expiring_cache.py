"""A mapping whose entries grow old: what the hub said about a token, and logins that are under way.

Ages are measured on the monotonic clock, so that setting the system's clock neither prolongs nor ends anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, MutableMapping
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class ExpiringCache(MutableMapping[K, V]):
    """Entries vanish ``max_age_s`` seconds after they were set; 0 keeps them.

    Callers choose the keys (any token that anyone sends becomes one), so there is a bound: beyond ``max_size`` the
    oldest entries go first.
    """

    def __init__(
        self, max_age_s: float = 0, *, max_size: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.max_age_s = max_age_s
        self.max_size = max_size
        self._clock = clock
        #: in the order of their setting: the first is the oldest
        self._entries: dict[K, tuple[float, V]] = {}

    def __setitem__(self, key: K, value: V) -> None:
        self._entries.pop(key, None)
        self._entries[key] = (self._clock(), value)
        self._drop_the_old()

    def __getitem__(self, key: K) -> V:
        set_at, value = self._entries[key]
        if self._is_old(set_at):
            del self._entries[key]
            raise KeyError(key)
        return value

    def __delitem__(self, key: K) -> None:
        del self._entries[key]

    def __iter__(self) -> Iterator[K]:
        self._drop_the_old()
        return iter(list(self._entries))

    def __len__(self) -> int:
        self._drop_the_old()
        return len(self._entries)

    def clear(self) -> None:
        self._entries.clear()

    def _is_old(self, set_at: float) -> bool:
        return bool(self.max_age_s) and set_at + self.max_age_s < self._clock()

    def _drop_the_old(self) -> None:
        while self._entries:
            key, (set_at, _) = next(iter(self._entries.items()))
            if not self._is_old(set_at) and len(self._entries) <= self.max_size:
                return
            del self._entries[key]
