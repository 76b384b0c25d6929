"""Fixtures for the test suites of plugins: ``from jupyterhub.tests.conftest import app, db, user``."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tornado.ioloop import IOLoop

from jupyterhub import orm, roles

from .mocking import MockHub
from .utils import add_user

_numbers = count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MockHub]:
    """A running hub, one for all tests of a module."""
    MockHub.clear_instance()
    hub = MockHub.instance(config_folder=str(tmp_path_factory.mktemp("hub")))
    await hub.initialize([])
    await hub.start()
    yield hub
    await hub.stop()
    MockHub.clear_instance()


@pytest.fixture
def db() -> Iterator[Any]:
    """A session on a database in memory, with the roles that every hub has and one user."""
    session = orm.new_session_factory("sqlite:///:memory:")()
    for role in roles.get_default_roles():
        roles.create_role(session, role)
    add_user(session, name=os.environ.get("USER") or "user")
    yield session
    session.close()


@pytest_asyncio.fixture(loop_scope="module")
async def io_loop() -> IOLoop:
    """The loop of the module's hub."""
    return IOLoop.current()


@pytest.fixture(scope="module")
def ssl_tmpdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ssl")


@pytest.fixture
def username() -> str:
    """A name that nobody has yet."""
    return f"user{next(_numbers)}"


@pytest.fixture
def user(app: MockHub, username: str) -> Any:
    """A user of the running hub."""
    return add_user(app.db, app, name=username)


@pytest.fixture
def admin_user(app: MockHub, username: str) -> Any:
    return add_user(app.db, app, name=f"admin-{username}", admin=True)


@pytest.fixture
def groupname() -> str:
    return f"group{next(_numbers)}"


@pytest.fixture
def group(app: MockHub, groupname: str) -> Any:
    """A group of the running hub."""
    row = orm.Group(name=groupname)
    app.db.add(row)
    app.db.commit()
    return row


@pytest.fixture
def auth_state_enabled(app: MockHub) -> Iterator[None]:
    """The authenticator of the running hub keeps auth state during the test."""
    from jupyterhub.crypto import CryptKeeper

    app.authenticator.enable_auth_state = True
    keeper = CryptKeeper.instance()
    keys, keeper.keys = keeper.keys, [os.urandom(32)]
    yield
    keeper.keys = keys
    app.authenticator.enable_auth_state = False
