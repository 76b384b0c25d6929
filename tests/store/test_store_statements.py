"""How many statements a method takes, and that none of those of every request reads a whole table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event

from jupyterhub.hub.store.store import Store, Transaction
from jupyterhub.rbac.scope_set import EVERYTHING, ListFilter
from jupyterhub.words.models import Phase, Window
from jupyterhub.words.names import ServerKey

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECRET = "cafe0123456789ab"

Read = Callable[[Transaction], Awaitable[Any]]

#: what every request, start or login asks
HOT: dict[str, Read] = {
    "tokens.find_by_secret": lambda tx: tx.tokens.find_by_secret(SECRET, NOON),
    "tokens.find": lambda tx: tx.tokens.find(1),
    "tokens.list_of user": lambda tx: tx.tokens.list_of("user", 1),
    "tokens.list_of service": lambda tx: tx.tokens.list_of("service", 1),
    "tokens.delete_of_session": lambda tx: tx.tokens.delete_of_session(1, "s1"),
    "tokens.touch": lambda tx: tx.tokens.touch(1, NOON),
    "users.find": lambda tx: tx.users.find("ada"),
    "users.find_by_id": lambda tx: tx.users.find_by_id(1),
    "users.find_by_cookie_id": lambda tx: tx.users.find_by_cookie_id("x"),
    "users.touch": lambda tx: tx.users.touch(1, NOON),
    "roles.scopes_of_user": lambda tx: tx.roles.scopes_of_user(1),
    "roles.scopes_of_service": lambda tx: tx.roles.scopes_of_service(1),
    "roles.holders": lambda tx: tx.roles.holders("admin", "user"),
    "groups.groups_of": lambda tx: tx.groups.groups_of(1),
    "groups.members_of": lambda tx: tx.groups.members_of([1]),
    "groups.groups_of_names": lambda tx: tx.groups.groups_of_names(["ada"]),
    "servers.find": lambda tx: tx.servers.find(ServerKey("ada", "gpu")),
    "servers.find_by_id": lambda tx: tx.servers.find_by_id(1),
    "servers.list_of_user": lambda tx: tx.servers.list_of_user(1),
    "servers.list_of_users": lambda tx: tx.servers.list_of_users([1, 2]),
    "servers.held_ids": lambda tx: tx.servers.held_ids("hub"),
    "servers.list_orphans": lambda tx: tx.servers.list_orphans(),
    "servers.list_in": lambda tx: tx.servers.list_in([Phase.STOPPING]),
    "servers.count": lambda tx: tx.servers.count(),
    "oauth.find_client": lambda tx: tx.oauth.find_client("lab"),
    "shares.list_of_server": lambda tx: tx.shares.list_of_server(1, Window()),
    "shares.find_code": lambda tx: tx.shares.find_code(SECRET, NOON),
}


@contextmanager
def executed(store: Store) -> Iterator[list[tuple[str, Any]]]:
    """Collect the statements of the block with their parameters."""
    seen: list[tuple[str, Any]] = []

    def on_execute(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA", "EXPLAIN")):
            seen.append((statement, parameters))

    event.listen(store.engine.sync_engine, "before_cursor_execute", on_execute)
    try:
        yield seen
    finally:
        event.remove(store.engine.sync_engine, "before_cursor_execute", on_execute)


@pytest.mark.parametrize("engine_name", ["sqlite"], indirect=True)
@pytest.mark.parametrize("what", HOT)
async def test_what_every_request_asks_is_one_statement_that_uses_indexes(store, what):
    async with store.begin() as tx:
        with executed(store) as seen:
            await HOT[what](tx)
        assert len(seen) == 1
        for statement, parameters in seen:
            plan = (await tx.connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, parameters)).all()
            steps = [step[-1] for step in plan]
            # tables that stay small may be read as a whole
            large = [step for step in steps if step.startswith("SCAN") and step.split()[1] not in ("roles", "groups")]
            assert large == [], steps


@pytest.mark.parametrize("engine_name", ["sqlite"], indirect=True)
@pytest.mark.parametrize("with_groups", [True, False])
async def test_what_is_shared_with_a_user_is_one_statement_that_uses_indexes(store, with_groups):
    async with store.begin() as tx:
        with executed(store) as seen:
            await tx.shares.scopes_for_user(1, with_groups=with_groups)
        [(statement, parameters)] = seen
        plan = (await tx.connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, parameters)).all()
        assert not any(step[-1].startswith("SCAN") for step in plan), plan


@pytest.mark.parametrize("engine_name", ["sqlite"], indirect=True)
@pytest.mark.parametrize("sort", ["id", "name", "last_activity"])
@pytest.mark.parametrize("descending", [True, False])
async def test_a_page_of_users_is_read_in_the_order_of_an_index(store, sort, descending):
    async with store.read() as tx:
        with executed(store) as seen:
            await tx.users.list(EVERYTHING, sort=sort, descending=descending, window=Window(limit=50))
        statement, parameters = seen[0]
        plan = (await tx.connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, parameters)).all()
        assert not any("TEMP B-TREE" in step[-1] for step in plan), plan


@pytest.mark.parametrize("state", ["active", "ready", "inactive"])
async def test_the_state_of_servers_is_not_asked_for_each_user_in_turn(store, state):
    """A subquery that refers to the user outside of it took minutes for 100,000 users."""
    async with store.read() as tx:
        with executed(store) as seen:
            await tx.users.list(EVERYTHING, state=state, window=Window())
    statement = seen[0][0]
    inner = statement[statement.index("(SELECT") :].split(") ")[0]
    assert "users.id" not in inner


@pytest.mark.parametrize("count", [1, 60])
async def test_a_page_of_users_takes_two_statements_however_many_there_are(store, count):
    listed = ListFilter(everything=False, users=frozenset({"user1"}), groups=frozenset({"physics"}))
    async with store.begin() as tx:
        users = await tx.users.create_many([f"user{number}" for number in range(count)])
        await tx.groups.set_groups_of(users[0].id, ["physics"])
        for listing in (EVERYTHING, listed):
            with executed(store) as seen:
                await tx.users.list(listing, state="inactive", sort="last_activity", window=Window(limit=20))
            assert len(seen) <= 2


@pytest.mark.parametrize("count", [1, 40])
async def test_groups_of_a_login_take_few_statements_however_many_there_are(store, count):
    async with store.begin() as tx:
        ada = await tx.users.create("ada")
        with executed(store) as seen:
            await tx.groups.set_groups_of(ada.id, [f"group{number}" for number in range(count)])
        assert len({statement for statement, _ in seen}) <= 6
        assert len(seen) <= 6
