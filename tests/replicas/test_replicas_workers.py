"""``jupyterhub --hubs 3``: a supervisor and three hubs, killed, paused and replaced while people use them."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.hubs import Hub
from tests.support.waiting import wait_until


def workers(hub: Hub) -> dict[int, psutil.Process]:
    """The hubs that run under the supervisor, by process number."""
    assert hub.process is not None
    found = {}
    for child in psutil.Process(hub.process.pid).children():
        try:
            if child.status() != psutil.STATUS_ZOMBIE and "jupyterhub.proxyserver" not in child.cmdline():
                found[child.pid] = child
        except psutil.NoSuchProcess:
            continue
    return found


def leader(hub: Hub) -> int:
    """The hub that runs the managed service."""
    [service] = processes_with("JUPYTERHUB_SERVICE_NAME", "once", hub)
    return psutil.Process(service).ppid()


def processes_with(variable: str, value: str, hub: Hub) -> list[int]:
    """The processes of this hub whose environment has this."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if environment.get(variable) == value and str(hub.hub_port) in environment.get("JUPYTERHUB_API_URL", ""):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def start_servers(hub: Hub, count: int) -> list[str]:
    names = [f"user-{number}" for number in range(count)]
    for name in names:
        assert hub.api("POST", f"users/{name}").status_code == 201
        assert hub.api("POST", f"users/{name}/server").status_code == 201
    return names


def answers(hub: Hub, names: list[str]) -> dict[str, str]:
    """What each user's server says through the proxy: its process number and prefix."""
    return {name: httpx.get(f"{hub.url}user/{name}/api", timeout=20).text for name in names}


class Visitor(threading.Thread):
    """Uses the hub all the time, and notes what went wrong."""

    def __init__(self, hub: Hub, names: list[str]) -> None:
        super().__init__(daemon=True)
        self.hub, self.names = hub, names
        self.failures: list[str] = []
        self.requests = 0
        self._done = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._done.is_set():
            number += 1
            for method, path in (("GET", f"users/{self.names[0]}"), ("POST", f"users/{self.names[0]}/activity")):
                body = {"json": {"last_activity": "2026-01-01T00:00:00Z"}} if method == "POST" else {}
                try:
                    response = self.hub.api(method, path, **body)
                    self.requests += 1
                    if response.status_code != 200:
                        self.failures.append(f"{method} {path}: {response.status_code} {response.text[:200]}")
                    elif method == "GET" and not response.json()["servers"][""]["ready"]:
                        self.failures.append(f"not ready: {response.text}")
                except Exception as error:
                    self.failures.append(f"{method} {path}: {error!r}")

    def stop(self) -> None:
        self._done.set()
        self.join(30)


SERVICE = 'c.JupyterHub.services += [{"name": "once", "command": ["sleep", "10000"]}]\n'


@pytest.fixture
def hub(make_hubs) -> Hub:
    return make_hubs(SERVICE)


def test_a_killed_hub_is_replaced_and_nothing_of_it_is_lost(hub):
    """Also the one that leads: its managed service runs once, before and afterwards."""
    names = start_servers(hub, 6)
    before = answers(hub, names)
    wait_until(lambda: len(workers(hub)) == 3)
    killed = leader(hub)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: len(workers(hub)) == 3 and killed not in workers(hub), what=hub.log[-3000:])
    wait_until(lambda: all((hub.server(name) or {}).get("ready") for name in names), what=hub.log[-3000:])
    assert answers(hub, names) == before
    wait_until(lambda: len(processes_with("JUPYTERHUB_SERVICE_NAME", "once", hub)) == 1 and leader(hub) != killed)
    for name in names:
        assert hub.api("DELETE", f"users/{name}/server").status_code == 204
    assert not [pid for name in names for pid in processes_with("JUPYTERHUB_USER", name, hub)]


def test_all_hubs_are_replaced_one_after_the_other_and_no_request_fails(hub):
    names = start_servers(hub, 3)
    before, old = answers(hub, names), wait_until(lambda: len(workers(hub)) == 3 and set(workers(hub)))
    visitor = Visitor(hub, names)
    visitor.start()
    hub.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(new := workers(hub)) == 3 and not old & set(new), within_s=60, what=hub.log[-3000:])
    wait_until(lambda: "All workers are replaced" in hub.log)
    visitor.stop()
    assert visitor.failures == [] and visitor.requests > 20
    assert answers(hub, names) == before
    wait_until(lambda: len(processes_with("JUPYTERHUB_SERVICE_NAME", "once", hub)) == 1)


def test_a_hub_that_stops_answering_is_taken_out_and_replaced(hub):
    names = start_servers(hub, 2)
    wait_until(lambda: len(workers(hub)) == 3)
    paused = next(iter(workers(hub)))
    os.kill(paused, signal.SIGSTOP)
    wait_until(lambda: paused not in workers(hub) and len(workers(hub)) == 3, within_s=40, what=hub.log[-3000:])
    wait_until(lambda: all((hub.server(name) or {}).get("ready") for name in names))


def test_a_request_to_end_the_hub_ends_all_of_it(hub):
    names = start_servers(hub, 2)
    assert hub.api("POST", "shutdown", json={}).status_code == 202
    assert hub.process.wait(30) == 0
    hub.process = None
    for name in names:
        assert processes_with("JUPYTERHUB_USER", name, hub) == []
    assert processes_with("JUPYTERHUB_SERVICE_NAME", "once", hub) == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(hub.url)


def test_workers_without_a_supervisor_end_and_the_next_one_goes_on_where_they_were(hub):
    names = start_servers(hub, 2)
    before, proxy = answers(hub, names), (Path(hub.folder) / "jupyterhub-proxy.pid").read_text()
    orphans = wait_until(lambda: len(workers(hub)) == 3 and workers(hub))
    hub.kill()
    wait_until(lambda: not any(worker.is_running() for worker in orphans.values()))
    assert answers(hub, names) == before  # nobody's work is interrupted
    hub.start()
    wait_until(lambda: all((hub.server(name) or {}).get("ready") for name in names))
    assert answers(hub, names) == before
    assert (Path(hub.folder) / "jupyterhub-proxy.pid").read_text() == proxy


def test_a_mistake_in_the_configuration_ends_the_start_with_one_message(make_hubs):
    with pytest.raises(AssertionError, match="the hub ended with 1"):
        make_hubs('c.JupyterHub.services += [{"name": "broken", "command": ["/no/such/program"]}]\n')


def test_several_hubs_need_a_database_that_they_can_share(tmp_path):
    hub = Hub(tmp_path)
    with pytest.raises(AssertionError, match="needs PostgreSQL"):
        hub.start("--hubs=2")
    hub.process = None
