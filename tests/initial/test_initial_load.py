"""Users, groups, services and tokens after a start, and what a start costs."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from jupyterhub.auth import Authenticator
from jupyterhub.hub.store import tables as t
from jupyterhub.rbac.scope_set import EVERYTHING
from jupyterhub.words import secret_hash
from jupyterhub.words.clock import utcnow
from jupyterhub.words.errors import ConfigurationError
from jupyterhub.words.models import OAuthClient, Phase
from jupyterhub.words.names import ServerKey

from .conftest import Starts

SECRET = "a-token-of-the-configuration"


class Recording(Authenticator):
    """Notes whom it was told of."""

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self.told: list[str] = []

    async def add_user(self, user: Any) -> None:
        if user.name == "unknown":
            raise KeyError("no such person")
        super().add_user(user)
        self.told.append(user.name)


async def secrets_of(hub: Starts, secret: str = SECRET) -> list[str]:
    """Whose token a secret is, and how many tokens there are."""
    async with hub.store.read() as tx:
        token = await tx.tokens.find_by_secret(secret, utcnow())
    return [] if token is None else [token.owner_kind, token.owner_name, *token.scopes]


async def hashes(hub: Starts) -> list[str]:
    async with hub.store.read() as tx:
        return [row.hashed for row in await tx.connection.execute(t.api_tokens.select().order_by(t.api_tokens.c.id))]


# -- users


async def test_the_lists_of_the_authenticator_are_normalised_and_admins_are_allowed(hub: Starts) -> None:
    authenticator = Authenticator(admin_users={"Boss"}, allowed_users={"Ada"}, blocked_users={"Eve"})
    await hub.start(authenticator)
    assert authenticator.allowed_users == {"ada", "boss"} and authenticator.blocked_users == {"eve"}
    assert authenticator.admin_users == {"boss"} and await hub.users() == {"ada", "boss"}


async def test_admins_are_not_a_list_of_who_is_allowed(hub: Starts) -> None:
    authenticator = Authenticator(admin_users={"boss"})
    await hub.start(authenticator)
    assert authenticator.allowed_users == set()


@pytest.mark.parametrize("trait", ["admin_users", "allowed_users"])
async def test_an_impossible_name_is_refused_with_the_trait_that_holds_it(hub: Starts, trait: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{trait} holds 'a/b'"):
        await hub.start(Authenticator(**{trait: {"a/b"}}))


async def test_the_authenticator_is_told_of_every_user_but_blocked_ones(hub: Starts) -> None:
    await hub.add_user("ada")
    await hub.add_user("eve")
    authenticator = Recording(allowed_users={"bob"}, blocked_users={"eve"})
    await hub.start(authenticator, load_groups={"staff": ["cyd"]})
    assert sorted(authenticator.told) == ["ada", "bob", "cyd"]
    assert authenticator.allowed_users == {"ada", "bob", "cyd"}, "allow_existing_users, as allowed_users is set"


async def test_existing_users_are_allowed_by_the_authenticators_own_rule_too(hub: Starts) -> None:
    await hub.add_user("ada")
    authenticator = Authenticator(allowed_users={"bob"})
    await hub.start(authenticator)
    assert authenticator.allowed_users == {"ada", "bob"}


async def test_a_user_whom_the_authenticator_does_not_know_stays(hub: Starts, caplog: Any) -> None:
    await hub.add_user("unknown")
    await hub.start(Recording(allow_all=True))
    assert await hub.users() == {"unknown"} and "no such person" in caplog.text


async def test_invalid_users_are_deleted_where_that_is_wanted_unless_their_server_runs(hub: Starts) -> None:
    await hub.add_user("unknown")
    await hub.start(Recording(allow_all=True, delete_invalid_users=True))
    assert await hub.users() == set()
    unknown = await hub.add_user("unknown")
    await make_server(hub, unknown.id)
    await hub.start(Recording(allow_all=True, delete_invalid_users=True))
    assert await hub.users() == {"unknown"}


# -- blocked users


async def make_server(hub: Starts, user_id: int, name: str = "", phase: Phase = Phase.READY) -> None:
    async with hub.store.begin() as tx:
        server = await tx.servers.create(user_id, name)
        states = t.server_states
        await tx.connection.execute(update(states).where(states.c.spawner_id == server.id).values(phase=phase))


async def test_a_blocked_user_loses_all_rights_and_their_servers_are_to_be_stopped(hub: Starts) -> None:
    role = {"name": "reader", "scopes": ["read:users"], "users": ["eve", "ada"]}
    groups = {"staff": ["eve", "ada"]}
    await hub.start(Authenticator(admin_users={"eve"}), load_roles=[role], load_groups=groups)
    eve = await hub.user("eve")
    assert eve is not None and eve.admin
    await make_server(hub, eve.id)
    await make_server(hub, eve.id, "old", Phase.STOPPED)
    authenticator = Authenticator(admin_users={"eve"}, blocked_users={"Eve"}, allow_all=True)
    loaded = await hub.start(authenticator, load_roles=[role], load_groups=groups)
    assert await hub.roles_of("eve") == set() and await hub.admins() == set()
    assert await hub.members("staff") == {"ada"} and await hub.roles_of("ada") == {"user", "reader"}
    assert loaded.blocked_with_servers == [ServerKey("eve")]


# -- groups


async def test_groups_are_made_and_their_members_added_to_those_who_are_there(hub: Starts) -> None:
    await hub.start(load_groups={"staff": ["Ada"], "team": {"users": ["bob"], "properties": {"colour": "red"}}})
    assert await hub.members("staff") == {"ada"} and await hub.roles_of("ada") == {"user"}
    await hub.start(load_groups={"staff": {"users": ["cyd"]}, "team": {"properties": {"colour": "blue"}}})
    assert await hub.members("staff") == {"ada", "cyd"} and await hub.members("team") == {"bob"}
    async with hub.store.read() as tx:
        staff, team = await tx.groups.find("staff"), await tx.groups.find("team")
    assert staff is not None and team is not None and team.properties == {"colour": "blue"}


async def test_properties_stay_when_the_configuration_does_not_mention_them(hub: Starts) -> None:
    await hub.start(load_groups={"team": {"properties": {"colour": "red"}}})
    await hub.start(load_groups={"team": ["ada"]})
    async with hub.store.read() as tx:
        team = await tx.groups.find("team")
    assert team is not None and team.properties == {"colour": "red"}


async def test_groups_cannot_come_from_configuration_and_authenticator(hub: Starts) -> None:
    with pytest.raises(ConfigurationError, match="manage_groups"):
        await hub.start(Authenticator(manage_groups=True, allow_all=True), load_groups={"staff": []})


@pytest.mark.parametrize("wrong", [{"staff": "ada"}, {"staff": {"users": "ada"}}, {"": []}, {"x": {"properties": 3}}])
async def test_a_group_that_makes_no_sense_is_refused(hub: Starts, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="load_groups"):
        await hub.start(load_groups=wrong)


# -- services


async def service_names(hub: Starts) -> set[str]:
    async with hub.store.read() as tx:
        return {service.name for service in await tx.services.list(EVERYTHING)}


async def test_services_come_and_go_with_the_configuration_and_those_added_at_runtime_stay(hub: Starts) -> None:
    loaded = await hub.start(services=[{"name": "cull", "api_token": SECRET}, {"name": "site"}])
    assert [spec.name for spec in loaded.services] == ["cull", "site"]
    async with hub.store.begin() as tx:
        await tx.services.save("added", from_config=False)
    await hub.start(services=[{"name": "site"}, {"name": "added"}])
    assert await service_names(hub) == {"site", "added"} and await secrets_of(hub) == []
    await hub.start()
    assert await service_names(hub) == {"added"}


async def test_a_role_may_name_a_service_that_was_added_at_runtime(hub: Starts) -> None:
    await hub.start()
    async with hub.store.begin() as tx:
        await tx.services.save("added", from_config=False)
    await hub.start(load_roles=[{"name": "reader", "scopes": ["read:users"], "services": ["added"]}])
    assert await hub.roles_of_service("added") == {"reader"}


async def test_a_service_with_a_mistake_is_refused(hub: Starts) -> None:
    with pytest.raises(ConfigurationError, match=r"JupyterHub\.services"):
        await hub.start(services=[{"name": "cull", "no_such_key": 1}])


# -- tokens


async def test_tokens_of_the_configuration_work_for_users_and_services(hub: Starts) -> None:
    await hub.start(api_tokens={SECRET: "Ada"}, service_tokens={SECRET[::-1]: "cull"})
    assert await secrets_of(hub) == ["user", "ada", "inherit"] and await hub.roles_of("ada") == {"user"}
    assert await secrets_of(hub, SECRET[::-1]) == ["service", "cull", "inherit"]


async def test_a_token_that_is_there_is_neither_hashed_nor_added_again(hub: Starts) -> None:
    config: dict[str, Any] = {"api_tokens": {SECRET: "ada"}, "services": [{"name": "cull", "api_token": SECRET[::-1]}]}
    await hub.start(**config)
    before = await hashes(hub)
    await hub.start(**config)
    assert await hashes(hub) == before and len(before) == 2


@pytest.mark.parametrize(("trusted", "rounds"), [(False, secret_hash.CHOSEN_ROUNDS), (True, 1)])
async def test_tokens_that_people_chose_are_hashed_slowly_unless_trusted(
    hub: Starts, trusted: bool, rounds: int
) -> None:
    await hub.start(api_tokens={SECRET: "ada"}, trust_user_provided_tokens=trusted)
    assert [each.split(":")[1] for each in await hashes(hub)] == [str(rounds)]


async def test_tokens_that_are_taken_out_of_the_configuration_end_and_others_stay(hub: Starts) -> None:
    await hub.start(
        api_tokens={SECRET: "ada", "kept-in-the-file": "ada"},
        service_tokens={"service-old": "cull"},
        services=[{"name": "site", "api_token": "site-token-old"}],
    )
    async with hub.store.begin() as tx:
        ada = await tx.users.find("ada")
        assert ada is not None
        await tx.tokens.create("user", ada.id, secret="made-by-herself", scopes=["self"], note="mine")
    await hub.start(
        api_tokens={"kept-in-the-file": "ada"},
        service_tokens={"service-new": "cull"},
        services=[{"name": "site", "api_token": "site-token-new"}],
    )
    for gone in (SECRET, "service-old", "site-token-old"):
        assert await secrets_of(hub, gone) == []
    for there in ("kept-in-the-file", "service-new", "site-token-new", "made-by-herself"):
        assert await secrets_of(hub, there) != []


async def test_a_token_of_somebody_else_is_refused_without_naming_it(hub: Starts) -> None:
    await hub.start(api_tokens={SECRET: "ada"})
    with pytest.raises(ConfigurationError, match="'ada'") as caught:
        await hub.start(api_tokens={SECRET: "bob"})
    assert SECRET not in str(caught.value)
    with pytest.raises(ConfigurationError, match="cull"):
        await hub.start(services=[{"name": "cull", "api_token": SECRET}])


async def test_a_token_that_is_too_short_is_refused(hub: Starts) -> None:
    with pytest.raises(ConfigurationError, match="api_tokens"):
        await hub.start(api_tokens={"short": "ada"})


# -- what nobody needs any more


async def test_expired_tokens_and_clients_of_nobody_are_removed(hub: Starts) -> None:
    await hub.start()
    ada = await hub.add_user("ada", "user")
    stopped, stray = (
        OAuthClient(identifier=name, description="", secret="", redirect_uri="/", allowed_scopes=())
        for name in ("jupyterhub-user-ada", "jupyterhub-user-gone")
    )
    async with hub.store.begin() as tx:
        for client in (stopped, stray):
            await tx.oauth.save_client(client)
        server = await tx.servers.create(ada.id, "")
        of_server = update(t.spawners).where(t.spawners.c.id == server.id)
        await tx.connection.execute(of_server.values(oauth_client_id=stopped.identifier))
        for secret, expires_at in ((SECRET, utcnow()), (SECRET[::-1], None)):
            await tx.tokens.create("user", ada.id, secret=secret, scopes=[], note="", expires_at=expires_at)
    await hub.start()
    async with hub.store.read() as tx:
        assert set(await tx.oauth.client_ids()) == {"jupyterhub", stopped.identifier}
    assert len(await hashes(hub)) == 1


# -- the command line


async def test_on_the_command_line_users_of_the_configuration_are_there_before_any_start(hub: Starts) -> None:
    await hub.start(Authenticator(admin_users={"boss"}, allowed_users={"ada"}), on_command_line=True)
    assert await hub.roles_of("boss") == {"user", "admin"} and await hub.roles_of("ada") == {"user"}
    assert await hub.admins() == {"boss"}


async def test_on_the_command_line_nothing_is_taken_from_anybody(hub: Starts) -> None:
    role = {"name": "reader", "scopes": ["read:users"], "users": ["ada"]}
    await hub.start(load_roles=[role], services=[{"name": "cull", "command": ["true"]}])
    before = await hashes(hub)
    authenticator = Recording(blocked_users={"ada"})
    loaded = await hub.start(authenticator, on_command_line=True)
    assert await hub.roles_of("ada") == {"user", "reader"} and authenticator.told == []
    assert await service_names(hub) == {"cull"} and await hashes(hub) == before and not loaded.services


# -- what it costs

CONFIG: dict[str, Any] = {
    "load_roles": [{"name": "reader", "scopes": ["read:users"], "users": ["ada"], "groups": ["staff"]}],
    "load_groups": {"staff": {"users": ["ada"], "properties": {"colour": "red"}}},
    "api_tokens": {SECRET: "ada"},
}


def configured() -> Authenticator:
    return Authenticator(admin_users={"boss"}, allowed_users={"ada"}, blocked_users={"eve"})


async def test_a_start_that_changes_nothing_writes_nothing(hub: Starts) -> None:
    await hub.add_user("eve")
    await hub.start(configured(), **CONFIG)
    hub.statements.clear()
    await hub.start(configured(), **CONFIG)
    reads = ("SELECT", "BEGIN", "WITH")
    assert [text for text, rows in hub.statements if not text.startswith(reads) and rows != 0] == []


async def test_a_start_takes_as_many_statements_with_many_users_as_with_few(hub: Starts) -> None:
    await hub.start(configured(), **CONFIG)
    hub.statements.clear()
    await hub.start(configured(), **CONFIG)
    few = len(hub.statements)
    async with hub.store.begin() as tx:
        await tx.users.create_many([f"user-{number}" for number in range(2000)])
    hub.statements.clear()
    await hub.start(configured(), **CONFIG)
    assert len(hub.statements) == few < 50
