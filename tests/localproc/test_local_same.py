"""A server that is forked from a warm process is the same as one that is executed, in all that can be seen."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from .house import House, seen_outside

pytestmark = pytest.mark.slow

CONFIG = """
c.Spawner.environment = {"OF_THE_CONFIGURATION": "yes", "TZ": "Pacific/Auckland"}
c.Spawner.notebook_dir = "~/notes"
def which(spawner):
    import os
    spawner.fast_start = not os.path.exists(spawner.home_dir + "/executed")
    os.makedirs(spawner.home_dir + "/notes", exist_ok=True)
c.Spawner.pre_spawn_hook = which
"""


@pytest.fixture(scope="module")
def pair(make_house: Callable[..., House]) -> dict[str, dict[str, Any]]:
    """What is seen of the same user's server, first forked and then executed."""
    house = make_house(CONFIG)
    house.hub.start()
    house.look_inside("ada")
    both = {}
    for way in ("fork", "exec"):
        if way == "exec":
            (house.home("ada") / "executed").touch()
            state = house.start("ada")
        else:
            state = house.start_warm("ada")
        assert state["started_by"] == way
        token = re.search(rb"JUPYTERHUB_API_TOKEN=(\w+)", b"\n".join(seen_outside(state["pid"])["environment"]))
        assert token
        both[way] = {
            "inside": house.seen_inside("ada"),
            "lab": house.get("ada", "lab").text,
            "kernels": house.get("ada", "api/kernelspecs").json(),
            "extensions": house.get("ada", "lab/api/extensions").json(),
            "settings": house.get("ada", "lab/api/settings").json(),
            "contents": house.get("ada", "api/contents").json(),
            "token": token[1].decode(),
            # last: at first it runs a program or two
            "outside": seen_outside(state["pid"]),
        }
        house.stop("ada")
    return both


def alike(text: Any, seen: dict[str, Any]) -> Any:
    """Replace what is a secret, a time or a port of one start."""
    plain = json.dumps(text, default=lambda value: value.decode() if isinstance(value, bytes) else repr(value))
    plain = plain.replace(seen["token"], "TOKEN")
    plain = re.sub(r"127\.0\.0\.1:\d+", "HOST", plain)
    plain = re.sub(r'JPY_COOKIE_SECRET=\w+|(?<="last_modified": ")[^"]*|(?<="created": ")[^"]*', "", plain)
    return json.loads(plain)


@pytest.mark.parametrize("what", ["arguments", "environment", "limits", "cgroup", "oom", "program", "directory",
                                  "root", "dumped", "owner", "standard", "descriptors", "status"])  # fmt: skip
def test_the_system_tells_the_same(pair: dict[str, dict[str, Any]], what: str) -> None:
    forked, executed = (alike(pair[way]["outside"][what], pair[way]) for way in ("fork", "exec"))
    assert forked == executed


def test_the_process_sees_the_same_of_itself(pair: dict[str, dict[str, Any]]) -> None:
    forked, executed = (alike(pair[way]["inside"]["seen"], pair[way]) for way in ("fork", "exec"))
    different = {name: (forked[name], executed[name]) for name in executed if forked[name] != executed[name]}
    assert not different


@pytest.mark.parametrize("what", ["kernels", "extensions", "settings", "contents"])
def test_the_server_offers_the_same(pair: dict[str, dict[str, Any]], what: str) -> None:
    forked, executed = (alike(pair[way][what], pair[way]) for way in ("fork", "exec"))
    assert forked == executed


def test_jupyterlab_is_told_the_same(pair: dict[str, dict[str, Any]]) -> None:
    def page_config(way: str) -> dict[str, Any]:
        found = re.search(r'<script id="jupyter-config-data"[^>]*>(.*?)</script>', pair[way]["lab"], re.DOTALL)
        assert found
        return dict(alike(json.loads(found[1]), pair[way]))

    forked, executed = page_config("fork"), page_config("exec")
    # each server has a token of its own for its pages
    for volatile in ("token", "wsUrl"):
        forked.pop(volatile, None), executed.pop(volatile, None)
    assert forked == executed


def test_random_values_are_others(make_house: Callable[..., House]) -> None:
    house = make_house()
    house.hub.start()
    house.wait_until_warm()
    names = [f"user{number}" for number in range(8)]
    for name in names:
        house.look_inside(name)
        assert house.start(name)["started_by"] == "fork"
    columns = zip(*(house.seen_inside(name)["random"] for name in names), strict=True)
    assert [len(set(column)) for column in columns] == [len(names)] * 5


def test_each_server_writes_into_its_own_home(make_house: Callable[..., House]) -> None:
    house = make_house()
    house.hub.start()
    for name in ("ada", "bob"):
        house.start_warm(name)
        settings = house.get(name, "lab/api/settings/@jupyterlab/apputils-extension:themes")
        assert settings.status_code == 200
        page = house.get(name, "lab").text
        config = json.loads(re.findall(r'<script id="jupyter-config-data"[^>]*>(.*?)</script>', page, re.DOTALL)[0])
        for directory in ("userSettingsDir", "workspacesDir"):
            assert config[directory].startswith(f"{house.home(name)}/")
        written = {path.relative_to(house.home(name)).parts[0] for path in house.home(name).rglob("*")}
        assert ".local" in written
