"""The base Spawner: what a subclass must be, the environment it gives, options, hooks, progress and polling."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from contract_world import Group, User, make_spawner
from traitlets import Bool, List, TraitError, Unicode
from traitlets.config import Config

from jupyterhub.objects import Server
from jupyterhub.spawner import Spawner, SpawnException


class Plain(Spawner):
    flavour = Unicode("vanilla", help="a setting").tag(config=True)
    fast = Bool(False, help="a setting").tag(config=True)
    toppings = List(Unicode(), help="a setting").tag(config=True)
    status: int | None = None

    async def start(self) -> tuple[str, int]:
        return "127.0.0.1", 9999

    async def stop(self, now: bool = False) -> None:
        self.status = 0

    async def poll(self) -> int | None:
        return self.status


def make(**traits: Any) -> Any:
    return make_spawner(Plain, **traits)


# -- what it is


@pytest.mark.parametrize("left_out", ["start", "stop", "poll"])
def test_a_class_that_cannot_start_stop_or_poll_cannot_be_made(left_out):
    methods = {name: lambda self: None for name in ("start", "stop", "poll") if name != left_out}
    with pytest.raises(NotImplementedError, match=left_out):
        type("Half", (Spawner,), methods)


def test_names():
    spawner = make(name="ada", server="gpu")
    assert (spawner.name, spawner.display_name, spawner._log_name) == ("gpu", "gpu", "ada:gpu")
    assert make(name="ada")._log_name == "ada" and make(name="ada").name == ""


@pytest.mark.parametrize(
    ("flag", "pending"),
    [
        ("_spawn_pending", "spawn"),
        ("_proxy_pending", "spawn"),
        ("_stop_pending", "stop"),
        ("_check_pending", "check"),
        ("_rename_pending", "rename"),
    ],
)
def test_flags_that_the_hub_sets_say_what_is_pending(flag, pending):
    spawner = make()
    assert spawner.pending is None and spawner.ready and spawner.active
    setattr(spawner, flag, True)
    assert spawner.pending == pending and not spawner.ready and spawner.active


def test_without_a_server_it_is_neither_ready_nor_active():
    spawner = make()
    spawner.server = None
    assert not spawner.ready and not spawner.active and spawner.server is None


def test_a_row_of_old_style_gives_the_server():
    spawner = make()
    spawner.server = None
    spawner.orm_spawner.server = Server(proto="http", ip="10.0.0.7", port=8888, base_url="/user/ada/")
    assert spawner.server.host == "http://10.0.0.7:8888"


def test_a_refusal_has_words_for_people_for_the_log_and_for_metrics():
    error = SpawnException(
        "Come <later>", reason="quota", log_message="9 of 9 used", message_html="<b>", status_code=429
    )
    assert (error.status_code, error.reason, error.log_message) == (429, "quota", "9 of 9 used")
    assert error.jupyterhub_message == "Come <later>" and error.jupyterhub_html_message == "<b>"
    assert str(error) == "Come <later>"
    assert SpawnException("100% full", reason="full").status_code == 400


# -- settings


def test_an_ip_loses_its_brackets():
    assert make(ip="[::1]").ip == "::1"


def test_the_old_placeholder_of_the_name_still_works():
    assert make(notebook_dir="/home/%U/x").notebook_dir == "/home/{username}/x"


@pytest.mark.parametrize(("text", "size"), [("512M", 512 * 1024**2), ("1.5G", 1536 * 1024**2), ("7", 7), (8, 8)])
def test_memory_is_written_with_units(text, size):
    assert make(mem_limit=text).mem_limit == size


@pytest.mark.parametrize("text", ["512MB", "a lot", "", "5m"])
def test_memory_in_other_words_is_an_error(text):
    with pytest.raises(TraitError):
        make(mem_limit=text)


# -- the environment


def test_the_environment_says_who_where_and_by_which_token():
    spawner = make(name="ada l", server="big", oauth_client_id="jupyterhub-user-ada%20l-big")
    spawner.port = 4567
    env = spawner.get_env()
    scopes = ["access:servers!server=ada l/big", "access:servers!user=ada l"]
    assert json.loads(env.pop("JUPYTERHUB_OAUTH_ACCESS_SCOPES")) == json.loads(env.pop("JUPYTERHUB_OAUTH_SCOPES"))
    assert spawner.oauth_access_scopes == scopes
    assert env == {
        "JUPYTERHUB_API_TOKEN": "secret-of-the-server",
        "JPY_API_TOKEN": "secret-of-the-server",
        "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-ada%20l-big",
        "JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED": "0",
        "JUPYTERHUB_HOST": "",
        "JUPYTERHUB_OAUTH_CALLBACK_URL": "/user/ada%20l/big/oauth_callback",
        "JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES": "[]",
        "JUPYTERHUB_USER": "ada l",
        "JUPYTERHUB_SERVER_NAME": "big",
        "JUPYTERHUB_API_URL": "http://127.0.0.1:8081/hub/api",
        "JUPYTERHUB_ACTIVITY_URL": "http://127.0.0.1:8081/hub/api/users/ada%20l/activity",
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_SERVICE_PREFIX": "/user/ada l/big/",
        "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:4567/user/ada l/big/",
        "JUPYTERHUB_PUBLIC_URL": "",
        "JUPYTERHUB_PUBLIC_HUB_URL": "",
    }


def test_settings_add_to_the_environment(monkeypatch):
    monkeypatch.setenv("KEPT", "yes")
    monkeypatch.setenv("NOT_KEPT", "no")
    env = make(
        env_keep=["KEPT", "NOT_THERE"],
        cookie_options={"samesite": "Lax"},
        cookie_host_prefix_enabled=True,
        mem_limit="1K",
        cpu_guarantee=0.5,
        notebook_dir="~/{username}",
        default_url="/lab/{username}",
        debug=True,
        disable_user_config=True,
        hub_connect_url="http://hub.internal:9999",
        environment={"FIXED": "1", "COMPUTED": lambda spawner: spawner.user.name, "MEM_LIMIT": "mine"},
    ).get_env()
    assert env["KEPT"] == "yes" and "NOT_KEPT" not in env and "NOT_THERE" not in env
    assert env["JUPYTERHUB_COOKIE_OPTIONS"] == '{"samesite": "Lax"}'
    assert env["JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED"] == "1"
    assert (env["MEM_LIMIT"], env["CPU_GUARANTEE"]) == ("mine", "0.5") and "CPU_LIMIT" not in env
    assert (env["JUPYTERHUB_ROOT_DIR"], env["JUPYTERHUB_DEFAULT_URL"]) == ("~/ada", "/lab/ada")
    assert env["JUPYTERHUB_DEBUG"] == env["JUPYTERHUB_DISABLE_USER_CONFIG"] == "1"
    assert env["JUPYTERHUB_API_URL"] == "http://hub.internal:9999/hub/api"
    assert (env["FIXED"], env["COMPUTED"]) == ("1", "ada")


@pytest.mark.parametrize(("ip", "host"), [("", ""), ("0.0.0.0", "0.0.0.0"), ("::", "[::]")])
def test_the_service_url_names_the_interface(ip, host):
    env = make(ip=ip, port=80).get_env()
    assert env["JUPYTERHUB_SERVICE_URL"] == f"http://{host}:80/user/ada/"


async def test_scopes_of_the_client_may_be_computed():
    async def scopes(spawner: Any) -> list[str]:
        return [f"read:users!user={spawner.user.name}"]

    spawner = make(oauth_client_allowed_scopes=scopes)
    assert json.loads(spawner.get_env()["JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES"]) == []
    await spawner.resolve_oauth_client_allowed_scopes()
    assert json.loads(spawner.get_env()["JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES"]) == ["read:users!user=ada"]


# -- options


async def test_the_form_may_be_text_or_a_function_or_a_coroutine():
    async def later(spawner: Any) -> str:
        return f"<i>{spawner.user.name}</i>"

    assert await make().get_options_form() == ""
    assert await make(options_form="<b>").get_options_form() == "<b>"
    assert await make(options_form=lambda spawner: spawner.user.name).get_options_form() == "ada"
    assert await make(options_form=later).get_options_form() == "<i>ada</i>"


FORM = {"size": ["small"], "fast": ["on"], "many": ["a", "b"]}


def test_form_data_pass_through_by_default():
    assert make().run_options_from_form(FORM) == FORM
    assert make(options_from_form="passthrough").run_options_from_form(FORM) == FORM


def test_simple_form_data_are_unwrapped():
    simple = {"size": "small", "fast": True, "many": ["a", "b"]}
    spawner = make_spawner(Plain, config=Config({"Spawner": {"options_from_form": "simple"}}))
    assert spawner.run_options_from_form(FORM) == simple
    assert spawner.options_from_query(FORM) == simple


def test_an_unknown_way_to_read_forms_is_an_error():
    with pytest.raises(TraitError, match="simple"):
        make(options_from_form="simpel")


def test_functions_for_form_data_get_the_spawner_if_they_take_it():
    assert make(options_from_form=lambda form: {"n": len(form)}).run_options_from_form(FORM) == {"n": 3}
    spawner = make(options_from_form=lambda form, spawner: {"who": spawner.user.name})
    assert spawner.run_options_from_form(FORM) == {"who": "ada"}


def test_a_subclass_may_read_forms_in_a_method():
    class Methodical(Plain):
        def options_from_form(self, form_data: Any) -> Any:
            return {"from": self.user.name}

    assert make_spawner(Methodical).run_options_from_form(FORM) == {"from": "ada"}


def test_options_named_in_a_dict_are_read_like_the_command_line():
    spawner = make(apply_user_options={"memory": "mem_limit", "taste": "flavour", "quick": "fast"})
    spawner.run_apply_user_options({"memory": "2M", "taste": "lemon", "quick": "true", "cmd": "evil"})
    assert (spawner.mem_limit, spawner.flavour, spawner.fast) == (2 * 1024**2, "lemon", True)
    assert spawner.cmd == ["jupyterhub-singleuser"]


@pytest.mark.parametrize("options", [{"memory": "lots"}, {"quick": "perhaps"}])
def test_wrong_options_are_errors(options):
    spawner = make(apply_user_options={"memory": "mem_limit", "quick": "fast"})
    with pytest.raises((TraitError, ValueError)):
        spawner.run_apply_user_options(options)


def test_an_option_for_an_attribute_that_is_not_there_is_an_error():
    with pytest.raises(AttributeError, match="flavor"):
        make(apply_user_options={"taste": "flavor"}).run_apply_user_options({"taste": "x"})


# -- groups


OVERRIDES = {
    "20": {"groups": ["chiefs"], "spawner_override": {"flavour": "gold", "environment": {"B": "2", "A": None}}},
    "10": {"groups": ["bakers"], "spawner_override": {"flavour": "rye", "mem_limit": "1K"}},
    "30": {"groups": ["others"], "spawner_override": {"flavour": "wrong"}},
    "40": {"groups": ["chiefs"], "spawner_override": {"toppings": lambda spawner: [spawner.user.name]}},
}


def test_group_overrides_apply_in_the_order_of_their_keys():
    config = Config({"Spawner": {"group_overrides": OVERRIDES, "environment": {"A": "1"}}})
    user = User("ada", groups=[Group("chiefs"), Group("bakers")])
    spawner = make_spawner(Plain, user=user, config=config)
    assert spawner.apply_group_overrides() is None
    assert (spawner.flavour, spawner.mem_limit, spawner.toppings) == ("gold", 1024, ["ada"])
    assert spawner.environment == {"B": "2"}
    assert make_spawner(Plain, config=config).environment == {"A": "1"}, "what others share is not changed"


async def test_group_overrides_may_be_computed_and_awaited():
    async def overrides(spawner: Any) -> Any:
        return OVERRIDES

    spawner = make(user=User("ada", groups=[Group("bakers")]), group_overrides=overrides)
    await spawner.apply_group_overrides()
    assert spawner.flavour == "rye"


# -- hooks, progress, polling


async def test_an_error_of_the_post_stop_hook_goes_no_further():
    def fails(spawner: Any) -> None:
        raise RuntimeError("ignored")

    async def fails_later(spawner: Any) -> None:
        raise RuntimeError("ignored")

    assert make(post_stop_hook=fails).run_post_stop_hook() is None
    await make(post_stop_hook=fails_later).run_post_stop_hook()


async def test_an_error_of_the_pre_spawn_hook_goes_to_the_hub():
    def refuses(spawner: Any) -> None:
        raise SpawnException("no", reason="policy")

    with pytest.raises(SpawnException):
        make(pre_spawn_hook=refuses).run_pre_spawn_hook()


async def test_progress_ends_with_the_start():
    class Chatty(Plain):
        async def progress(self) -> Any:
            yield {"progress": 10, "message": "one"}
            yield {"progress": 20, "message": "two"}
            await asyncio.sleep(3600)

    spawner = make_spawner(Chatty)
    spawner._spawn_pending = True
    spawner._spawn_future = asyncio.get_running_loop().create_future()
    seen = []
    async with asyncio.timeout(5):
        async for event in spawner._generate_progress():
            seen.append(event["message"])
            if len(seen) == 2:
                spawner._spawn_future.set_result(None)
    assert seen == ["one", "two"]


async def test_there_is_no_progress_without_a_start():
    assert [event async for event in make()._generate_progress()] == []


async def test_poll_callbacks_run_once():
    spawner, seen = make(), []
    spawner.add_poll_callback(seen.append, "a")
    spawner.add_poll_callback(lambda: seen.append("b"))
    assert await spawner.poll_and_notify() is None and seen == []
    spawner.status = 3
    assert await spawner.poll_and_notify() == 3
    assert await spawner.poll_and_notify() == 3
    assert seen == ["a", "b"]


async def test_polling_notices_the_end():
    spawner = make(poll_interval=1, poll_jitter=0)
    ended = asyncio.Event()
    spawner.add_poll_callback(ended.set)
    spawner.status = 0
    spawner.start_polling()
    async with asyncio.timeout(5):
        await ended.wait()
    assert spawner._poll_callback is None


async def test_waiting_for_death_ends_with_it_or_with_the_time():
    spawner = make(death_interval=0.01)
    assert await spawner.wait_for_death(0.05) is False
    asyncio.get_running_loop().call_later(0.05, setattr, spawner, "status", 0)
    assert await spawner.wait_for_death(5) is True
