"""Limits of memory and processors, enforced by the kernel, and what a person is told who needed more."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyterhub.localproc import cgroups
from tests.support.waiting import wait_until

from .house import House


@pytest.fixture(autouse=True)
def _possible() -> None:
    try:
        cgroups._place("memory"), cgroups._place("cpu")
    except cgroups.Unavailable as error:
        pytest.skip(f"no control groups here: {error}")


def value(pid: int, start_time: int, *names: str) -> str:
    """The first of these files of a process's groups."""
    for _, folder in cgroups.Group.of(pid, start_time).places:
        for name in names:
            if (folder / name).exists():
                return (folder / name).read_text().strip()
    raise AssertionError(f"{names}: {cgroups.Group.of(pid, start_time)}")


@pytest.mark.slow
@pytest.mark.parametrize("fast", [True, False])
def test_a_server_that_wants_too_much_memory_is_ended_and_its_page_says_so(
    make_house: Callable[..., House], fast: bool
) -> None:
    house = make_house(
        f"""
c.LocalProcessSpawner.fast_start = {fast}
c.Spawner.mem_limit = "200M"
c.Spawner.mem_guarantee = "50M"
c.Spawner.cpu_limit = 1.5
c.Spawner.cpu_guarantee = 0.5
"""
    )
    house.hub.start()
    if fast:
        house.make_warm()
    # what a person can run into: a file in the configuration that loads too much, told when to do it
    home = house.home("ada")
    (home / ".jupyter").mkdir(parents=True)
    (home / ".jupyter" / "jupyter_server_config.py").write_text(
        f"""
import threading, time
from pathlib import Path
def eat():
    while not Path({str(home)!r}, "go").exists():
        time.sleep(0.02)
    kept = []
    while True:
        kept.append(b"x" * 10_000_000)
threading.Thread(target=eat, daemon=True).start()
"""
    )
    state = house.start("ada")
    pid, start_time = state["pid"], state["pid_start_time"]
    assert state["started_by"] == ("fork" if fast else "exec")
    assert int(value(pid, start_time, "memory.max", "memory.limit_in_bytes")) == 200 * 1024**2
    assert value(pid, start_time, "cpu.max", "cpu.cfs_quota_us").split()[0] == "150000"
    assert value(pid, start_time, "cpu.weight", "cpu.shares") in ("50", "512")
    groups = cgroups.Group.of(pid, start_time)
    assert all(str(pid) in (folder / "cgroup.procs").read_text().split() for _, folder in groups.places)

    (home / "go").touch()
    wait_until(lambda: house.hub.server("ada") is None, what="the end of the server")
    assert "needed more memory than its limit of 200 MiB" in house.page("ada", "user/ada/lab")
    wait_until(lambda: not any(folder.exists() for _, folder in groups.places), what="the end of its groups")
    (home / "go").unlink()
    assert house.start("ada")["pid"] != pid
    house.stop("ada")


@pytest.mark.slow
def test_what_a_server_leaves_behind_ends_with_it(make_house: Callable[..., House]) -> None:
    house = make_house('c.Spawner.mem_limit = "1G"')
    house.hub.start()
    home = house.home("bob")
    (home / ".jupyter").mkdir(parents=True)
    (home / ".jupyter" / "jupyter_server_config.py").write_text(
        f"""
import subprocess
left = subprocess.Popen(["sleep", "600"], start_new_session=True)
open({str(home / "left")!r}, "w").write(str(left.pid))
"""
    )
    house.start("bob")
    left = int((home / "left").read_text())
    assert Path(f"/proc/{left}").exists()
    house.stop("bob")
    wait_until(lambda: not _runs(left), what="the end of what the server had started")


def test_what_cannot_be_limited_says_why(tmp_path: Path) -> None:
    gone = 2**22 + os.getpid()
    with pytest.raises(cgroups.Unavailable, match=r"cgroup\.procs"):
        cgroups.Group.make(gone, 1, cgroups.Limits(memory=10**8))
    assert not any(folder.exists() for _, folder in cgroups.Group.of(gone, 1).places)
    with pytest.raises(cgroups.Unavailable, match="fewer than any server needs"):
        cgroups.Group.make(os.getpid(), 1, cgroups.Limits(memory=2 * 1024**2))


def _runs(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_settings_of_both_versions() -> None:
    limits = cgroups.Limits(memory=2**30, memory_guarantee=2**28, processors=0.5, processors_guarantee=2)

    def settings(version: int, controller: str) -> dict[str, str]:
        return cgroups._settings(cgroups._Place(Path("/"), version, controller), limits)

    assert settings(2, "memory") == {
        "memory.max": str(2**30), "memory.low": str(2**28), "cpu.max": "50000 100000", "cpu.weight": "200",
    }  # fmt: skip
    assert settings(1, "memory") == {"memory.limit_in_bytes": str(2**30), "memory.soft_limit_in_bytes": str(2**28)}
    assert settings(1, "cpu") == {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000", "cpu.shares": "2048"}


def test_a_group_of_version_2_that_was_delegated_is_divided(tmp_path: Path) -> None:
    """In a folder that has the kernel's files, where no machine with version 2 is at hand."""
    own = tmp_path / "system.slice" / "hub.service"
    own.mkdir(parents=True)
    (own / "cgroup.controllers").write_text("cpu io memory pids\n")
    (own / "cgroup.subtree_control").write_text("\n")
    with pytest.raises(cgroups.Unavailable, match="hugetlb has not been delegated"):
        cgroups._place_of_version_2(tmp_path, "/system.slice/hub.service", "hugetlb")
    (own / "jupyterhub-itself").mkdir()
    ours = own / f"jupyterhub-{os.geteuid()}"
    ours.mkdir(exist_ok=True)
    (ours / "cgroup.subtree_control").write_text("")
    place = cgroups._place_of_version_2(tmp_path, "/system.slice/hub.service/jupyterhub-itself", "memory")
    assert (place.folder, place.version) == (tmp_path / "system.slice/hub.service" / ours.name, 2)
    assert (own / "cgroup.subtree_control").read_text() == "+memory"
