"""Real users of this system, and a single-user server that they may execute."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from .waiting import wait_until


@pytest.fixture
def system_users() -> Iterator[dict[str, str]]:
    """Two real users of this system with passwords; removed afterwards."""
    if os.geteuid() != 0:
        pytest.skip("only root can make users of the system")
    users = {"jhx-eve": "eve's secret 1", "jhx-max": "max's secret 2"}
    for name, password in users.items():
        subprocess.run(["userdel", "-rf", name], capture_output=True, check=False)
        subprocess.run(["useradd", "--create-home", "--shell", "/bin/bash", name], check=True)
        subprocess.run(["chpasswd"], input=f"{name}:{password}", text=True, check=True)
    yield users
    for name in users:
        subprocess.run(["pkill", "-9", "-u", name], capture_output=True, check=False)
        wait_until(lambda name=name: not processes_of(name), what=f"the end of all that {name} runs")
        subprocess.run(["userdel", "-rf", name], capture_output=True, check=False)


def processes_of(user: str) -> list[psutil.Process]:
    """What a user of the system runs; remains of processes that nobody has waited for do not count."""
    return [
        process
        for process in psutil.process_iter(["username", "status"])
        if process.info["username"] == user and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def readable_singleuser() -> str:
    """The path of a ``jupyterhub-singleuser`` that every user of the system may execute.

    The environment that runs the tests may lie below a home that nobody else can enter; then one is made from the
    system's own Python, with this checkout in it.
    """
    probe = Path(__file__).parents[2] / ".venv" / "bin" / "jupyterhub-singleuser"
    if probe.exists() and _may_be_executed_by_nobody(probe):
        return str(probe)
    folder = Path("/var/tmp/jhx-singleuser-env")
    command, installed = folder / "bin" / "jupyterhub-singleuser", folder / "installed"
    source = Path(__file__).parents[2]
    newest = max(path.stat().st_mtime for path in (source / "src").rglob("*.py"))
    if command.exists() and installed.exists() and installed.stat().st_mtime >= newest:
        return str(command)
    wheels = folder / "wheel"
    for step in (
        *([] if command.exists() else [["/usr/bin/python3", "-m", "venv", str(folder)]]),
        ["rm", "-rf", str(wheels)],
        [str(folder / "bin" / "pip"), "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), str(source)],
    ):
        result = subprocess.run(step, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            pytest.skip(f"no environment that other users may use: {result.stderr[-300:]}")
    [built] = wheels.glob("jupyterhub-*.whl")
    pip = [str(folder / "bin" / "pip"), "install", "--quiet"]
    if command.exists():
        subprocess.run([*pip, "--no-deps", "--force-reinstall", str(built)], check=True, capture_output=True)
    subprocess.run([*pip, f"{built}[lab]"], check=True, capture_output=True)
    installed.touch()
    os.utime(installed, (newest, newest))
    return str(command)


def _may_be_executed_by_nobody(path: Path) -> bool:
    try:
        check = subprocess.run(
            [str(path), "--version"],
            user=65534,
            group=65534,
            extra_groups=[],
            capture_output=True,
            check=False,
            cwd="/",
        )
    except PermissionError:
        return False
    return check.returncode == 0
