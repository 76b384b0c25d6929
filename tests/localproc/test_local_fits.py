"""What cannot be forked is executed, and says why; what can be, is what is forked."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyterhub.spawners.fast_start import DoesNotFit, check_environment, check_readings, find_program
from tests.support.hubs import BIN
from tests.support.waiting import wait_until

from .house import House, command_line

SCRIPT = """#!{python}
# -*- coding: utf-8 -*-
import re
import sys
from jupyterhub.singleuser import main
if __name__ == "__main__":
    sys.argv[0] = re.sub(r"(-script\\.pyw|\\.exe)?$", "", sys.argv[0])
    sys.exit(main())
"""


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., str]:
    def write(text: str = SCRIPT.format(python=sys.executable), name: str = "jupyterhub-singleuser") -> str:
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    return write


def test_the_console_script_is_found_in_the_servers_path(script: Callable[..., str], tmp_path: Path) -> None:
    path = script()
    program = find_program(["jupyterhub-singleuser", "--debug"], f"/nowhere:{tmp_path}")
    assert (program.interpreter, program.script) == (sys.executable, path)
    assert program.argv == (sys.executable, path, "--debug")
    assert program.arguments == ("--debug",)


def test_the_module_is_known_too() -> None:
    program = find_program([sys.executable, "-m", "jupyterhub.singleuser", "--debug"], "")
    assert (program.module, program.arguments) == ("jupyterhub.singleuser", ("--debug",))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("#!/bin/sh\nexec jupyterhub-singleuser\n", "not jupyterhub-singleuser"),
        ("#!/usr/bin/env python3\nfrom jupyterhub.singleuser import main\n", "without options"),
        ("#!/usr/bin/python3 -s\nfrom jupyterhub.singleuser import main\n", "without options"),
        ("#!/usr/bin/python3\nfrom notebook import main\n", "not jupyterhub-singleuser"),
        ("\x7fELF", "not jupyterhub-singleuser"),
    ],
)
def test_other_commands_are_executed(script: Callable[..., str], text: str, why: str) -> None:
    with pytest.raises(DoesNotFit, match=why):
        find_program([script(text)], "")


@pytest.mark.parametrize(
    "command",
    [["no-such-command"], [sys.executable], [sys.executable, "-m", "jupyterlab"], [sys.executable, "-I", "x"]],
)
def test_commands_that_are_something_else(command: list[str]) -> None:
    with pytest.raises(DoesNotFit):
        find_program(command, "/nowhere")


@pytest.mark.parametrize(
    "name",
    ["PYTHONPATH", "PYTHONHASHSEED", "LD_PRELOAD", "MALLOC_ARENA_MAX", "OPENSSL_CONF", "SSL_CERT_FILE",
     "JUPYTERHUB_SINGLEUSER_APP", "JUPYTERHUB_SINGLEUSER_EXTENSION", "JUPYTERHUB_DISABLE_USER_CONFIG"],
)  # fmt: skip
def test_variables_that_come_before_everything(name: str) -> None:
    check_environment({"HOME": "/home/ada"})
    with pytest.raises(DoesNotFit, match=name):
        check_environment({"HOME": "/home/ada", name: "1"})


def test_a_variable_that_an_import_has_read_must_be_the_same() -> None:
    seen = {"JUPYTER_PREFER_ENV_PATH": None, "LANG": "C.UTF-8"}
    check_readings({"LANG": "C.UTF-8", "OTHER": "1"}, seen)
    for other in ({"LANG": "C"}, {}, {"LANG": "C.UTF-8", "JUPYTER_PREFER_ENV_PATH": ""}):
        with pytest.raises(DoesNotFit):
            check_readings(other, seen)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "why"),
    [
        ("c.LocalProcessSpawner.fast_start = False", "fast_start is off"),
        ("c.LocalProcessSpawner.shell_cmd = ['bash', '-c']", "shell_cmd is set"),
        ("c.LocalProcessSpawner.popen_kwargs = {'pass_fds': ()}", "popen_kwargs is set"),
        ("c.Spawner.environment = {'PYTHONUNBUFFERED': '1'}", "PYTHONUNBUFFERED"),
        ("c.Spawner.environment = {'JUPYTER_PLATFORM_DIRS': '1'}", "another JUPYTER_PLATFORM_DIRS"),
        ("c.Spawner.cmd = ['bash', '-c', 'exec jupyterhub-singleuser $*', '-']", "not jupyterhub-singleuser"),
    ],
)
def test_a_server_that_is_executed_says_why(make_house: Callable[..., House], config: str, why: str) -> None:
    house = make_house(config)
    house.hub.start()
    if "PLATFORM_DIRS" in config:
        house.make_warm()  # what was read is known then
    state = house.start("ada")
    assert state["started_by"] == "exec" and why in state["why_executed"]
    if "fast_start" not in config:
        events = house.hub.api("GET", "users/ada/server/progress").text
        assert "Started from the beginning" in events or '"ready": true' in events
        assert f"executing the server: {state['why_executed']}" in house.hub.log


def environment_of_its_own(folder: Path) -> tuple[Path, Path]:
    """A Python environment with what is installed here; its ``jupyterhub-singleuser``, and where packages go."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    [packages] = folder.glob("lib/python3*/site-packages")
    ours = next(path for path in sys.path if path.endswith("site-packages"))
    source = Path(__file__).parents[2] / "src"
    (packages / "others.pth").write_text(f"{source}\n{ours}\n")
    command = folder / "bin" / "jupyterhub-singleuser"
    command.write_text((BIN / "jupyterhub-singleuser").read_text().replace(str(BIN), str(folder / "bin")))
    command.chmod(0o755)
    return command, packages


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()", "threads run in it"),
        ("import os; kept = open(os.devnull)", "descriptors of somebody's are open"),
        ("import os; HOMES = (os.environ['HOME'] + '/notes',)", "values made of HOME"),
        ("import os; NAMES = frozenset([os.environ['USER']])", "values made of HOME"),
    ],
)
def test_an_extension_that_leaves_something_behind_keeps_servers_from_being_forked(
    make_house: Callable[..., House], tmp_path: Path, code: str, why: str
) -> None:
    """As each of them would be a copy of something that must not be copied."""
    command, packages = environment_of_its_own(tmp_path / "environment")
    (packages / "leaves_something.py").write_text(f"{code}\ndef _jupyter_server_extension_points(): return []\n")
    enabled = tmp_path / "environment" / "etc" / "jupyter" / "jupyter_server_config.d"
    enabled.mkdir(parents=True)
    (enabled / "it.json").write_text('{"ServerApp": {"jpserver_extensions": {"leaves_something": true}}}')
    house = make_house(f"c.Spawner.cmd = [{str(command)!r}]")
    house.hub.start()

    def reason() -> str:
        state = house.start("ada")
        house.stop("ada")
        return "" if "not warm yet" in state["why_executed"] else str(state["why_executed"])

    assert why in wait_until(reason, within_s=60, what="a decision")


@pytest.mark.slow
def test_what_is_installed_later_is_there_at_the_next_start(make_house: Callable[..., House], tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    command, packages = environment_of_its_own(environment)
    house = make_house(f"c.Spawner.cmd = [{str(command)!r}]")
    house.hub.start()

    def forked() -> int:
        """The warm process that the next server comes from."""

        def try_it() -> int:
            state = house.start("ada")
            zygotes = {z.pid: z for z in house.zygotes()}
            house.stop("ada")
            if state["started_by"] != "fork":
                return 0
            [zygote] = [pid for pid, z in zygotes.items() if str(environment) in command_line(z)]
            return zygote

        return wait_until(try_it, within_s=60, what="a forked server")

    before = forked()
    (packages / "later.dist-info").mkdir()
    os.utime(packages)
    assert forked() != before
