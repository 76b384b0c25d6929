"""Local servers outlive whoever made them, and a start succeeds whatever becomes of broker and warm process."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.support.waiting import wait_until

from .house import House, in_memory

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def house(make_house: Callable[..., House]) -> House:
    """A hub with secrets in its environment and in its configuration."""
    house = make_house(
        'c.JupyterHub.cookie_secret = bytes.fromhex("c0ffee" * 10 + "0ddb")',
        OF_THE_HUB_ONLY="a-secret-of-the-hub",
    )
    house.hub.start()
    return house


def test_nobody_has_another_ones_secrets_in_memory(house: House) -> None:
    ada = house.start_warm("ada")["pid"]
    found = re.search(rb"JUPYTERHUB_API_TOKEN=(\w+)", Path(f"/proc/{ada}/environ").read_bytes())
    assert found
    token = found[1]
    bob = house.start_warm("bob")["pid"]
    zygote, broker = house.wait_until_warm().pid, house.broker().pid
    secrets = (token, b"a-secret-of-the-hub", bytes.fromhex("c0ffee" * 10 + "0ddb"), house.hub.token.encode())
    try:
        assert in_memory(ada, *secrets) == [token]
    except PermissionError:
        pytest.skip("this system lets nobody look into memory")
    for other in (bob, zygote, broker):
        assert in_memory(other, *secrets) == []
    for other in (bob, zygote, broker):
        environment = Path(f"/proc/{other}/environ").read_bytes()
        assert not any(secret in environment for secret in secrets)


def test_servers_share_no_descriptor_with_the_hub(house: House) -> None:
    pid = house.start_warm("cleo")["pid"]
    assert house.hub.process is not None

    def sockets(pid: int) -> set[str]:
        return {link for link in _links(pid) if link.startswith(("socket:", "pipe:"))}

    inside = sockets(pid)
    for other in (house.hub.process.pid, house.broker().pid, house.wait_until_warm().pid):
        assert not inside & sockets(other)


def test_a_killed_hub_finds_its_servers_again_and_hears_of_their_end(make_house: Callable[..., House]) -> None:
    house = make_house("c.JupyterHub.cleanup_servers = False")
    house.hub.start()
    pid = house.start_warm("ada")["pid"]
    house.hub.kill()
    house.hub.start()
    assert house.wait_for("ada")["pid"] == pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: house.hub.server("ada") is None, within_s=5, what="the hub's notice of the end")
    assert "the server ended with status -9" in house.hub.log
    house.hub.stop()
    house.hub.extra_config = ""  # so that the end of the tests ends its proxy, too


def test_a_killed_warm_process_takes_no_server_along(house: House) -> None:
    running = house.start_warm("dora")["pid"]
    zygote = house.wait_until_warm()
    zygote.kill()
    house.start("emil")  # in one way or the other
    assert psutil.pid_exists(running) and house.get("dora", "api/status").status_code == 200
    again = wait_until(lambda: next((z for z in house.zygotes() if z.pid != zygote.pid), None), what="another one")
    assert again is not None
    assert house.start_warm("fay")["started_by"] == "fork"
    # of a server whose warm process is gone the broker is the parent, and knows how it ended
    os.kill(running, signal.SIGTERM)
    wait_until(lambda: house.hub.server("dora") is None, within_s=10, what="the end of dora's server")


@pytest.mark.parametrize("whose", ["warm process", "broker"])
def test_of_many_starts_during_which_it_is_killed_all_succeed(house: House, whose: str) -> None:
    house.make_warm()
    names = [f"{whose.split()[0]}{number}" for number in range(10)]
    for name in names:
        house.hub.api("POST", f"users/{name}")
    threads = [
        threading.Thread(target=house.hub.api, args=("POST", f"users/{name}/server"), daemon=True) for name in names
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: any(house.hub.server(name) for name in names), what="the first start")
    (house.wait_until_warm() if whose == "warm process" else house.broker()).kill()
    for thread in threads:
        thread.join(60)
    pids = {name: house.wait_for(name, within_s=90)["pid"] for name in names}
    assert len(set(pids.values())) == len(names)
    for name in names:
        assert house.get(name, "api/status").status_code == 200
        running = [p for p in psutil.process_iter(["cmdline"]) if f"/user/{name}/" in " ".join(_environment(p))]
        assert [p.pid for p in running if "singleuser" in " ".join(p.info["cmdline"] or ())] == [pids[name]]
        house.stop(name)


def test_a_stopped_broker_only_makes_starts_slower(house: House) -> None:
    house.make_warm()
    broker = house.broker()
    broker.suspend()
    try:
        began = time.monotonic()
        state = house.start("gus")
        assert state["started_by"] == "exec" and "does not answer" in state["why_executed"]
        assert time.monotonic() - began < 20
    finally:
        broker.resume()


def _links(pid: int) -> list[str]:
    folder = Path(f"/proc/{pid}/fd")
    return [os.readlink(folder / name) for name in os.listdir(folder)]


def _environment(process: psutil.Process) -> list[str]:
    try:
        return [f"{name}={value}" for name, value in process.environ().items()]
    except psutil.Error:
        return []
