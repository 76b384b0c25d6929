"""The rules of services: from the configuration, and added while the hub runs."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from jupyterhub.hub import managed_services
from jupyterhub.hub.managed_services import ManagedServices
from jupyterhub.hub.services import parse_service
from jupyterhub.hub.settings import HubSettings
from jupyterhub.rbac.scope_set import EVERYTHING, ListFilter
from jupyterhub.words.errors import AlreadyExists, ConfigurationError, Conflict, Denied, Invalid, NotFound

from .house_of_tests import ROOT, AnswersAtOnce, requester, small_house
from .statements import counted

TOKEN = "0123456789abcdef"


@pytest.mark.parametrize(
    "described",
    [
        {},
        {"name": ""},
        {"name": ".."},
        {"name": "a/b"},
        {"name": "x", "colour": 1},
        {"name": "x", "url": 5},
        {"name": "x", "url": "ftp://x"},
        {"name": "x", "url": "http://"},
        {"name": "x", "oauth_client_id": "x", "url": "http://x"},
        {"name": "x", "oauth_no_confirm": True},
        {"name": "x", "api_token": "short"},
        {"name": "x", "api_token": "x" * 65},
        {"name": "x", "info": "text"},
    ],
    ids=repr,
)
def test_a_service_that_cannot_be_right_is_refused(described):
    with pytest.raises(Invalid):
        parse_service(described, HubSettings())


def test_a_service_with_a_url_can_log_its_visitors_in():
    spec = parse_service({"name": "x", "url": "http://127.0.0.1:9"}, HubSettings(base_url="/lab/"))
    assert spec.has_oauth and spec.oauth_client_id == "service-x"
    assert spec.oauth_redirect_uri == "/lab/services/x/oauth_callback"
    assert not parse_service({"name": "x"}, HubSettings()).has_oauth


async def test_configured_services_come_with_client_address_and_token_and_go(house):
    [spec] = await house.services.load_configured([{"name": "x", "url": "http://127.0.0.1:9", "api_token": TOKEN}])
    who = await house.requesters.by_token(TOKEN)
    assert who.kind == "service" and who.name == spec.name == "x"
    async with house.store.read() as tx:
        client = await tx.oauth.find_client("service-x")
    assert list(client.allowed_scopes) == ["access:services!service=x"] and client.secret.startswith("sha512:")
    assert who.service.endpoint.port == 9 and who.service.from_config
    assert await house.services.load_configured([]) == []
    assert await house.requesters.by_token(TOKEN) is None
    async with house.store.read() as tx:
        assert await tx.oauth.find_client("service-x") is None


async def test_a_restart_makes_no_second_token(house):
    for _ in range(2):
        await house.services.load_configured([{"name": "x", "api_token": TOKEN}])
    async with house.store.read() as tx:
        service = await tx.services.find("x")
        assert len(await tx.tokens.list_of("service", service.id)) == 1


async def test_hubs_on_one_database_give_a_managed_service_the_same_token(house):
    described = [{"name": "x", "command": ["true"], "url": "http://127.0.0.1:9"}, {"name": "y", "command": ["true"]}]
    [first, other] = await house.services.load_configured(described)
    [second, _] = await house.services.load_configured(described)
    assert first.api_token == second.api_token != other.api_token
    assert (await house.requesters.by_token(first.api_token)).name == "x"


async def test_with_another_cookie_secret_a_managed_service_gets_another_token(house, database):
    [first] = await house.services.load_configured([{"name": "x", "command": ["true"]}])
    async with small_house(database, cookie_secret=b"y" * 32) as later:
        [second] = await later.services.load_configured([{"name": "x", "command": ["true"]}])
        assert await later.requesters.by_token(first.api_token) is None
        assert (await later.requesters.by_token(second.api_token)).name == "x"


async def test_a_start_that_changes_nothing_writes_no_service(house):
    described = [
        {"name": "x", "url": "http://127.0.0.1:9", "api_token": TOKEN, "info": {"a": 1}, "environment": {"B": "c"}},
        {"name": "y", "command": ["true", "-x"], "url": "http://127.0.0.1:10", "display": False},
        {"name": "z"},
    ]
    await house.services.load_configured(described)
    with counted(house.store) as statements:
        await house.services.load_configured(described)
    assert [s for s in statements if not s.startswith("SELECT")] == []


@pytest.mark.parametrize(
    "described", [[{"name": "x", "colour": 1}], [{"url": "http://x"}], [{"name": "y", "api_token": TOKEN}]]
)
async def test_a_configuration_that_cannot_work_is_named(house, described):
    await house.services.load_configured([{"name": "x", "api_token": TOKEN}])
    with pytest.raises(ConfigurationError, match=r"c\.JupyterHub\.services"):
        await house.services.load_configured(
            [{"name": "x", "api_token": TOKEN}, *described] if "api_token" in described[0] else described
        )


async def test_admin_gives_the_role_to_a_new_service_only(house):
    await house.services.load_configured([{"name": "x", "admin": True}])
    assert (await house.services.details("x")).roles == ["admin"]
    async with house.store.begin() as tx:
        await tx.roles.strip("service", (await tx.services.find("x")).id, "admin")
    await house.services.load_configured([{"name": "x", "admin": True}])
    assert (await house.services.details("x")).roles == []


# -- while the hub runs


async def test_a_service_is_added_and_removed(house):
    details = await house.services.add({"name": "new", "url": "http://127.0.0.1:9", "api_token": TOKEN}, requester=ROOT)
    assert not details.service.from_config and "/services/new/" in house.routes.table
    assert (await house.requesters.by_token(TOKEN)).name == "new"
    await house.services.load_configured([])
    assert (await house.services.details("new")).service.name == "new", "it outlives a restart"
    await house.services.remove("new")
    assert "/services/new/" not in house.routes.table
    with pytest.raises(NotFound):
        await house.services.details("new")


async def test_names_are_taken_once_and_configured_services_stay(house):
    await house.services.load_configured([{"name": "x"}])
    with pytest.raises(AlreadyExists):
        await house.services.add({"name": "x"}, requester=ROOT)
    with pytest.raises(Conflict):
        await house.services.remove("x")


@pytest.mark.parametrize(
    "described",
    [
        {"admin": True},
        {"oauth_client_allowed_scopes": ["admin:users"]},
        {"oauth_client_allowed_scopes": ["inherit"]},
        {"oauth_client_allowed_scopes": ["no:such"]},
        {"command": ["true"]},
    ],
    ids=repr,
)
async def test_nobody_adds_a_service_with_more_than_they_hold(house, described):
    with pytest.raises(Invalid):
        await house.services.add({"name": "new", **described}, requester=requester("admin:services"))
    with pytest.raises(NotFound):
        await house.services.details("new")


async def test_somebody_elses_token_is_refused(house):
    await house.services.load_configured([{"name": "x", "api_token": TOKEN}])
    with pytest.raises(Invalid):
        await house.services.add({"name": "new", "api_token": TOKEN}, requester=ROOT)


async def test_a_list_follows_the_scope_filter(house):
    await house.services.load_configured([{"name": "x"}, {"name": "y"}])
    assert [d.service.name for d in await house.services.visible(EVERYTHING)] == ["x", "y"]
    assert [d.service.name for d in await house.services.visible(ListFilter(False, services=frozenset("y")))] == ["y"]
    with pytest.raises(Denied):
        await house.services.visible(ListFilter(False, users=frozenset("y")))


# -- processes


@pytest.fixture
async def managed(house):
    managed = services_of(house)
    yield managed
    await managed.stop_all()


def services_of(house) -> ManagedServices:
    async def ours() -> bool:
        return True

    return ManagedServices(
        store=house.store, settings=house.settings, services=house.services, prober=AnswersAtOnce(), is_ours=ours
    )


async def test_what_a_killed_hub_has_left_of_a_service_is_ended_before_the_service_is_started(house, managed):
    specs = await house.services.load_configured([{"name": "x", "command": ["sleep", "60"]}])
    left = services_of(house)
    await left.start_all(specs)
    await managed.start_all(specs)
    assert await left._running["x"].process.wait() == -signal.SIGINT
    assert managed._running["x"].process.returncode is None


async def test_a_process_that_only_got_the_number_of_a_service_is_left_alone(house, managed):
    specs = await house.services.load_configured([{"name": "x", "command": ["sleep", "60"]}])
    other = await asyncio.create_subprocess_exec("sleep", "60")
    async with house.store.begin() as tx:
        service = await tx.services.find("x")
        await tx.services.set_pid(service.id, other.pid)
    await managed.start_all(specs)
    assert other.returncode is None
    other.kill()
    await other.wait()


async def test_a_managed_service_runs_and_ends_with_the_hub(house, managed, tmp_path):
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    specs = await house.services.load_configured([{"name": "x", "command": command, "cwd": str(tmp_path)}])
    await managed.start_all(specs)
    process = managed._running["x"].process
    assert (await house.services.details("x")).service.pid == process.pid
    await managed.stop_all()
    assert process.returncode is not None
    assert (await house.services.details("x")).service.pid is None


def test_the_environment_of_a_service_holds_its_own_and_nothing_of_the_hubs(house, managed, monkeypatch):
    monkeypatch.setenv("CONFIGPROXY_AUTH_TOKEN", "secret")
    spec = parse_service(
        {"name": "x", "url": "http://127.0.0.1:9", "command": "true", "api_token": TOKEN, "environment": {"OWN": 1}},
        house.settings,
    )
    env = managed.environment(spec)
    assert env["JUPYTERHUB_SERVICE_PREFIX"] == "/services/x/" and env["JUPYTERHUB_API_TOKEN"] == TOKEN
    assert env["JUPYTERHUB_OAUTH_CALLBACK_URL"] == "/services/x/oauth_callback" and env["OWN"] == "1"
    assert "CONFIGPROXY_AUTH_TOKEN" not in env


async def test_a_managed_service_that_ends_is_started_again(house, managed, monkeypatch, tmp_path):
    monkeypatch.setattr(managed_services, "POLL_INTERVAL_S", 0.01)
    note = tmp_path / "starts"
    command = ["sh", "-c", f"echo . >> {note}; test $(wc -l < {note}) -gt 1 && sleep 60"]
    await managed.start_all(await house.services.load_configured([{"name": "x", "command": command}]))
    run = asyncio.create_task(managed.run())
    async with asyncio.timeout(20):
        while len(note.read_text().split() if note.exists() else []) < 2:
            await asyncio.sleep(0.01)
    run.cancel()
    # its process number is known to whoever looks at the service
    async with asyncio.timeout(20):
        while (await house.services.details("x")).service.pid != managed._running["x"].process.pid:
            await asyncio.sleep(0.01)


def test_one_that_ends_again_and_again_is_started_later_and_later(house):
    running = managed_services._Running(None, None)
    pauses = []
    for _ in range(8):
        running.pause(now=5.0)
        pauses.append(running.paused_until - 5.0)
    assert pauses == [0, 1, 2, 4, 8, 16, 30, 30]
    running.pause(now=managed_services.STEADY_AFTER_S)
    assert running.paused_until == managed_services.STEADY_AFTER_S


async def test_a_command_that_cannot_be_run_stops_the_start(house, managed):
    specs = await house.services.load_configured([{"name": "x", "command": ["/no/such/program"]}])
    with pytest.raises(ConfigurationError, match="'x'"):
        await managed.start_all(specs)
