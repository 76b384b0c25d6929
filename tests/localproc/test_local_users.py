"""Servers of real users of the system, forked from a warm process by a hub that is root."""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.system_users import readable_singleuser, system_users

from .house import LOOK_INSIDE, House, seen_outside

__all__ = ["system_users"]

pytestmark = [pytest.mark.slow, pytest.mark.root]

CONFIG = """
import os
c.JupyterHub.spawner_class = "localprocess"
c.Spawner.cmd = [{singleuser!r}]
c.Spawner.args = []
c.LocalProcessSpawner.may_gain_rights = {may_gain_rights}
def which(spawner):
    spawner.fast_start = spawner.user.name != {executed!r}
c.Spawner.pre_spawn_hook = which
"""


def as_user(name: str, *command: str) -> subprocess.CompletedProcess[str]:
    entry = pwd.getpwnam(name)
    return subprocess.run(
        command, user=entry.pw_uid, group=entry.pw_gid, extra_groups=[], capture_output=True, text=True, cwd="/",
        check=False,
    )  # fmt: skip


def look_inside(name: str) -> None:
    home = Path(pwd.getpwnam(name).pw_dir)
    as_user(name, "mkdir", "-p", f"{home}/.jupyter")
    path = home / ".jupyter" / "jupyter_server_config.py"
    path.write_text(LOOK_INSIDE)


def seen_inside(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(pwd.getpwnam(name).pw_dir) / "seen.json").read_text())["seen"]
    return found


@pytest.mark.parametrize("may_gain_rights", [True, False])
def test_a_forked_server_is_its_users_own_and_nobody_elses(
    make_house: Callable[..., House], system_users: dict[str, str], may_gain_rights: bool
) -> None:
    eve, max_ = system_users
    config = CONFIG.format(singleuser=readable_singleuser(), executed=max_, may_gain_rights=may_gain_rights)
    house = make_house(config)
    house.hub.start()
    zygote = house.wait_until_warm()
    assert set(zygote.uids()) == {65534}, "what imports packages is nobody"
    for name in (eve, max_):
        look_inside(name)
    state = house.start(eve)
    assert state["started_by"] == "fork", state
    pid = state["pid"]
    assert house.start(max_)["started_by"] == "exec"
    entry = pwd.getpwnam(eve)

    forked, executed = seen_outside(pid), seen_outside((house.hub.server(max_) or {})["state"]["pid"])  # type: ignore[index]
    status = forked["status"]
    assert status["Uid"].split() == [str(entry.pw_uid)] * 4 and status["Gid"].split() == [str(entry.pw_gid)] * 4
    assert all(int(status[name], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"))
    if not may_gain_rights:
        assert status["NoNewPrivs"] == "1" and int(status["CapBnd"], 16) == 0
    else:
        for name in (
            "NoNewPrivs",
            "CapBnd",
            "Seccomp",
            "Umask",
            "SigBlk",
            "SigIgn",
            "SigCgt",
            "CoreDumping",
            "THP_enabled",
        ):
            assert status[name] == executed["status"][name], name
    assert forked["limits"] == executed["limits"] and forked["owner"] == entry.pw_uid
    # it is what it would be, had it been executed
    mine, other = seen_inside(eve), seen_inside(max_)
    for same in ("path", "flags", "main", "umask", "limits", "signals", "mask", "session", "locale", "streams", "zone"):
        assert mine[same] == other[same], same
    assert mine["cwd"] == mine["home"] == entry.pw_dir
    assert mine["ids"] == [[entry.pw_uid] * 3, [entry.pw_gid] * 3, sorted(os.getgrouplist(eve, entry.pw_gid))]
    assert re.sub(max_, eve, json.dumps(other["environ"], sort_keys=True)).count(eve) > 0
    assert set(mine["environ"]) == set(other["environ"])

    # the user may look into the own server, nobody else may
    assert as_user(eve, "cat", f"/proc/{pid}/smaps_rollup", f"/proc/{pid}/environ").returncode == 0
    for path in ("environ", "maps", "mem"):
        assert as_user(max_, "cat", f"/proc/{pid}/{path}").returncode != 0
    for secret_of in (zygote.pid, house.broker().pid):
        assert as_user(eve, "cat", f"/proc/{secret_of}/environ").returncode != 0
    house.stop(eve)
    house.stop(max_)


def test_packages_that_users_could_have_written_are_not_warmed(
    make_house: Callable[..., House], system_users: dict[str, str]
) -> None:
    """A user who owns the interpreter would be asked for nothing, and could become everybody."""
    eve, *_ = system_users
    home = Path(pwd.getpwnam(eve).pw_dir)
    real = readable_singleuser()
    folder = home / "environment" / "bin"
    assert as_user(eve, "mkdir", "-p", str(folder)).returncode == 0
    as_user(eve, "ln", "-s", str(Path(real).parent / "python3"), f"{folder}/python3")
    command = folder / "jupyterhub-singleuser"
    command.write_text(re.sub(r"^#!.*", f"#!{folder}/python3", Path(real).read_text()))
    command.chmod(0o755)
    as_user(eve, "cp", str(Path(real).parent.parent / "pyvenv.cfg"), str(folder.parent))
    as_user(eve, "ln", "-s", str(Path(real).parent.parent / "lib"), f"{folder.parent}/lib")
    house = make_house(CONFIG.format(singleuser=str(command), executed="", may_gain_rights=True))
    house.hub.start()
    state = house.start(eve)
    assert state["started_by"] == "exec" and "can be written by others than root" in state["why_executed"]
    house.stop(eve)
