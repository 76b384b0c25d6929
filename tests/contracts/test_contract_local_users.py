"""Authenticators for the users of this machine, with real ones."""

from __future__ import annotations

import grp
import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from contract_world import User

from jupyterhub.auth import LocalAuthenticator, PAMAuthenticator

ME = pwd.getpwuid(os.geteuid()).pw_name
MY_GROUP = grp.getgrgid(os.getegid()).gr_name
PASSWORD = secrets.token_hex(8)

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("useradd"), reason="needs root and useradd to make system users"
)


class Local(LocalAuthenticator):
    def authenticate(self, handler: Any, data: Any) -> Any:
        return data["username"]


@pytest.fixture(scope="module")
def someone() -> Iterator[str]:
    """A system user with a password, for as long as the module runs."""
    name = f"jh-{secrets.token_hex(3)}"
    subprocess.run(["useradd", "--create-home", "--shell", "/bin/sh", name], check=True)
    subprocess.run(["chpasswd"], input=f"{name}:{PASSWORD}", text=True, check=True)
    yield name
    subprocess.run(["userdel", "--remove", name], check=True, stderr=subprocess.DEVNULL)


async def test_members_of_allowed_groups_may_enter():
    assert Local(allowed_groups={MY_GROUP}).check_allowed(ME, {})
    assert not Local(allowed_groups={MY_GROUP}).check_allowed("nobody-of-this-name", {})
    assert not Local().check_allowed(ME, {})


def test_a_group_that_does_not_exist_allows_nobody(caplog):
    authenticator = Local(allowed_groups={"no-such-group"})
    authenticator.log.propagate = True
    assert not authenticator.check_allowed(ME, {})
    assert "no-such-group" in caplog.text


def test_the_old_name_of_the_groups_setting_is_not_lost():
    assert Local(group_whitelist={"staff"}).allowed_groups == {"staff"}


async def test_a_user_without_a_system_user_is_refused_unless_it_shall_be_created():
    with pytest.raises(KeyError, match="create_system_users"):
        await Local().add_user(User("nobody-of-this-name"))


async def test_creating_a_system_user_runs_the_command(tmp_path):
    out = tmp_path / "out"
    command = ["sh", "-c", f'echo "$0" "$@" > {out}', "home=/homes/USERNAME"]
    authenticator = Local(create_system_users=True, add_user_cmd=command, uids={"not-here-yet": 4711})
    await authenticator.add_user(User("not-here-yet"))
    assert out.read_text() == "home=/homes/not-here-yet --uid 4711 not-here-yet\n"


async def test_a_command_that_fails_is_an_error_with_its_output():
    authenticator = Local(create_system_users=True, add_user_cmd=["sh", "-c", "echo no room; exit 3"])
    with pytest.raises(RuntimeError, match="no room"):
        await authenticator.add_user(User("not-here-yet"))


async def test_a_name_that_would_be_an_option_creates_nobody(tmp_path):
    authenticator = Local(create_system_users=True, add_user_cmd=["touch", str(tmp_path / "ran")])
    with pytest.raises(RuntimeError, match="option"):
        await authenticator.add_user(User("--system"))
    assert not (tmp_path / "ran").exists()


@needs_root
@pytest.mark.root
async def test_a_system_user_is_really_created():
    name = f"jh-{secrets.token_hex(3)}"
    await Local(create_system_users=True, uids={name: 47110}).add_user(User(name))
    try:
        assert pwd.getpwnam(name).pw_uid == 47110
    finally:
        subprocess.run(["userdel", "--remove", name], check=True, stderr=subprocess.DEVNULL)


# -- PAM


async def pam_login(name: str, password: str, **settings: Any) -> dict[str, Any] | None:
    # "login" waits for three seconds after a wrong password; "other" does not
    authenticator = PAMAuthenticator(**{"allow_all": True, "service": "other", **settings})
    return await authenticator.get_authenticated_user(None, {"username": name, "password": password})


@needs_root
@pytest.mark.root
async def test_pam_lets_in_who_knows_the_password(someone):
    found = await pam_login(someone, PASSWORD)
    assert found is not None and found["name"] == someone and found["admin"] is None
    assert await pam_login(someone, "something else") is None
    assert await pam_login("nobody-of-this-name", PASSWORD) is None


@needs_root
@pytest.mark.root
async def test_pam_refuses_an_expired_account_though_the_password_is_right(someone):
    subprocess.run(["chage", "--expiredate", "1", someone], check=True)
    try:
        assert await pam_login(someone, PASSWORD) is None
        assert await pam_login(someone, PASSWORD, check_account=False)
    finally:
        subprocess.run(["chage", "--expiredate", "-1", someone], check=True)


@needs_root
@pytest.mark.root
async def test_admin_groups_decide_both_ways(someone):
    found = await pam_login(someone, PASSWORD, admin_groups={someone})
    assert found is not None and found["admin"] is True
    found = await pam_login(someone, PASSWORD, admin_groups={"root"})
    assert found is not None and found["admin"] is False
    with pytest.raises(KeyError):
        await pam_login(someone, PASSWORD, admin_groups={"no-such-group"})


@needs_root
@pytest.mark.root
async def test_sessions_are_opened_and_closed(someone):
    authenticator = PAMAuthenticator(open_sessions=True, service="other")
    await authenticator.pre_spawn_start(User(someone), None)
    await authenticator.post_spawn_stop(User(someone), None)
    assert authenticator.open_sessions, "nothing failed"


async def test_a_session_that_fails_turns_sessions_off(monkeypatch):
    from jupyterhub import auth

    authenticator = PAMAuthenticator(open_sessions=True)

    def fails(*args: Any, **kwargs: Any) -> None:
        raise auth.pamela.PAMError("no sessions here")

    monkeypatch.setattr(auth.pamela, "open_session", fails)
    await authenticator.pre_spawn_start(User(ME), None)
    assert not authenticator.open_sessions


async def test_an_unknown_name_stays_as_it_is_when_names_are_normalised_by_the_system():
    authenticator = PAMAuthenticator(pam_normalize_username=True)
    assert authenticator.normalize_username("Nobody-Of-This-Name") == "nobody-of-this-name"
    assert authenticator.normalize_username(ME) == ME.lower()
