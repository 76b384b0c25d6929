"""What was worked out from rows, kept for as long as nobody has written anything.

SQLite tells within microseconds whether any connection, of this process or another, has committed since it was asked
before. So what follows from rows may be kept without ever being older than the database: the next commit of anybody
ends all of it. On other databases nothing is kept; asking them costs as much as the query.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Kept:
    """Values by key; ask for them with ``now`` before reading the rows that a new one follows from."""

    def __init__(self, version: Callable[[], int | None], *, most: int) -> None:
        self._version, self._most = version, most
        self._values: dict[Any, Any] = {}
        self._version_of_values: int | None = None

    def now(self) -> dict[Any, Any]:
        """Give the values that are true at this moment, as a dict that takes new ones.

        What is put into it later, after a wait, may rest on newer rows than the others, never on older ones: by then
        the dict is out of use if anybody has written.
        """
        version = self._version()
        if version is None:
            return {}
        if version != self._version_of_values or len(self._values) >= self._most:
            self._values, self._version_of_values = {}, version
        return self._values
