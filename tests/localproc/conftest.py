from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.hubs import Hub
from tests.support.waiting import wait_until

from .house import House, command_line


@pytest.fixture(scope="module")
def runtime_directory() -> Iterator[Path]:
    """Where the broker of these tests has its socket: one of their own, so that it can be killed.

    Not below pytest's folder: the name of a socket may have 107 bytes.
    """
    folder = Path(tempfile.mkdtemp(prefix="jhx-"))
    yield folder
    for process in brokers_of(folder):
        process.send_signal(signal.SIGTERM)
    wait_until(lambda: not brokers_of(folder), what="the end of the broker")
    shutil.rmtree(folder)


def brokers_of(runtime_directory: Path) -> list[psutil.Process]:
    """The brokers whose log is in that folder."""
    found = []
    for process in psutil.process_iter():
        try:
            output = os.readlink(f"/proc/{process.pid}/fd/2")
        except OSError:
            continue
        if output.startswith(f"{runtime_directory}/") and "localproc.broker" in command_line(process):
            found.append(process)
    return found


@pytest.fixture(scope="module")
def make_house(tmp_path_factory: pytest.TempPathFactory, runtime_directory: Path) -> Iterator[Callable[..., House]]:
    """Makes hubs with local servers; their broker is that of the module."""
    hubs: list[Hub] = []

    def make(extra_config: str = "", **env: str) -> House:
        folder = tmp_path_factory.mktemp("hub")
        hub = Hub(folder, extra_config, env={"JUPYTERHUB_RUNTIME_DIR": str(runtime_directory), **env})
        hubs.append(hub)
        return House(hub, lambda: brokers_of(runtime_directory))

    yield make
    for hub in hubs:
        hub.close()
