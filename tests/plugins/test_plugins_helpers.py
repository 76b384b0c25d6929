"""``jupyterhub.tests``: what the suites of plugins start, as they use it."""

from __future__ import annotations

import asyncio

import pytest
from traitlets.config import Config

from jupyterhub import orm, roles
from jupyterhub.objects import Hub, Server
from jupyterhub.tests.conftest import db  # noqa: F401  (a fixture)
from jupyterhub.tests.mocking import BadSpawner, MockHub, MockSpawner, public_url
from jupyterhub.tests.test_api import add_user, api_request, async_requests
from jupyterhub.user import User

pytestmark = pytest.mark.slow


@pytest.fixture
async def app():
    MockHub.clear_instance()
    hub = MockHub.instance(config=Config())
    await hub.initialize([])
    await hub.start()
    yield hub
    await hub.stop()
    MockHub.clear_instance()


async def test_a_server_is_started_by_the_api_with_the_spawner_that_the_test_has_prepared(app):
    add_user(app.db, app, name="ada")
    user = app.users["ada"]
    spawner = user.spawners[""]
    assert isinstance(spawner, MockSpawner)
    spawner.args = ["--from-the-test"]
    token = user.new_api_token()
    answer = await api_request(app, "users", "ada", "server", method="post")
    assert answer.status_code == 201, answer.text
    assert user.spawners[""] is spawner and spawner.ready
    shown = await async_requests.get(public_url(app, user, "args"), headers={"Authorization": f"token {token}"})
    assert "--from-the-test" in shown.json()
    assert (await api_request(app, "users", "ada", "server", method="delete")).status_code == 204
    assert not app.users["ada"].active


async def test_people_log_in_with_their_name_as_password(app):
    cookies = await app.login_user("bob")
    assert {"_xsrf", "jupyterhub-hub-login", "jupyterhub-session-id"} <= set(cookies.keys())
    answer = await api_request(app, "user", cookies=cookies)
    assert answer.json()["name"] == "bob"


async def test_rows_of_the_hub_and_of_the_test_are_the_same(app):
    assert orm.User.find(app.db, "user") is not None  # the one that every hub of a test has
    ada = add_user(app.db, app, name="ada", admin=True)
    assert {role.name for role in ada.orm_user.roles} == {"user", "admin"}
    model = (await api_request(app, "users", "ada")).json()
    assert model["admin"] is True and sorted(model["roles"]) == ["admin", "user"]
    assert ada.name in {app.users[key].name for key in app.users}
    app.users.delete("ada")
    assert (await api_request(app, "users", "ada")).status_code == 404


async def test_a_failing_spawner_fails():
    MockHub.clear_instance()
    hub = MockHub.instance(config=Config({"JupyterHub": {"spawner_class": BadSpawner, "base_url": "/"}}))
    await hub.initialize([])
    await hub.start()
    try:
        assert hub.base_url == "/"
        add_user(hub.db, hub, name="ada")
        answer = await api_request(hub, "users", "ada", "server", method="post")
        assert answer.status_code == 500
    finally:
        await hub.stop()
        MockHub.clear_instance()


async def test_a_spawner_without_a_hub(db, tmp_path):  # noqa: F811
    """As suites of spawners do it: a row, a user made of it, a spawner of that user."""
    user = User(db.query(orm.User).first(), {})
    spawner = user._new_spawner(
        "", spawner_class=MockSpawner, hub=Hub(), home_dir_template=str(tmp_path), poll_interval=1
    )
    spawner.server = Server(base_url=user.base_url)
    spawner.api_token = user.new_api_token()
    ip, port = await spawner.start()
    try:
        async with asyncio.timeout(20):
            await Server(ip=ip, port=port).wait_up(timeout=20)
        assert await spawner.poll() is None
    finally:
        await spawner.stop()
    assert await spawner.poll() is not None


def test_roles_are_given_and_taken_in_the_synchronous_database(db):  # noqa: F811
    user = db.query(orm.User).first()
    roles.create_role(db, {"name": "teachers", "scopes": ["read:users"]})
    roles.grant_role(db, user, "teachers")
    assert "teachers" in {role.name for role in roles.get_roles_for(user)}
    assert "read:users" in roles.roles_to_scopes(user.roles)
    roles.strip_role(db, user, rolename="teachers")
    assert {role.name for role in user.roles} == {"user"}
