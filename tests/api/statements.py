"""Counts the statements that a store executes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from jupyterhub.hub.store.store import Store


@contextmanager
def counted(store: Store) -> Iterator[list[str]]:
    """Collect the SQL of all statements executed inside the block, without those that begin and end transactions."""
    seen: list[str] = []

    def on_execute(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if not statement.startswith(("BEGIN", "SAVEPOINT", "RELEASE", "PRAGMA")):
            seen.append(statement)

    event.listen(store.engine.sync_engine, "before_cursor_execute", on_execute)
    try:
        yield seen
    finally:
        event.remove(store.engine.sync_engine, "before_cursor_execute", on_execute)
