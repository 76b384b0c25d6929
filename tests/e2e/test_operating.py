"""What operators rely on: a hub that is killed at any moment, ends when it should, and tells what happened."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.hubs import Hub
from tests.support.waiting import wait_until

#: a server that answers as soon as a file "open" is in the folder of the hub
SLOW_SERVER = """
import http.server, os, sys, time
from urllib.parse import urlparse
url = urlparse(os.environ["JUPYTERHUB_SERVICE_URL"])
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
http.server.ThreadingHTTPServer((url.hostname, url.port), Answer).serve_forever()
"""


def slow_config(folder: Path) -> str:
    (folder / "slow.py").write_text(SLOW_SERVER)
    return f"""
import sys
c.Spawner.cmd = [sys.executable, {str(folder / "slow.py")!r}]
c.Spawner.args = [{str(folder / "open")!r}]
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0.2}}
"""


def servers_of(folder: Path) -> list[psutil.Process]:
    """The processes that were started as servers by hubs of this folder."""
    script = str(folder / "slow.py")
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if script in (process.info["cmdline"] or ()) and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def phase(hub: Hub, user: str) -> str:
    with sqlite3.connect(hub.folder / "jupyterhub.sqlite") as db:
        row = db.execute(
            "select phase from jhx_server_states s join spawners on spawners.id = s.spawner_id "
            "join users on users.id = spawners.user_id where users.name = ?",
            (user,),
        ).fetchone()
    return row[0] if row else ""


@pytest.mark.slow
def test_a_hub_killed_in_the_middle_of_a_start_leaves_nobody_stuck_and_no_process_behind(
    make_hub: Callable[..., Hub], tmp_path: Path
) -> None:
    hub = make_hub(slow_config(tmp_path)).start()
    hub.api("POST", "users/ada")
    assert hub.api("POST", "users/ada/server").status_code == 202
    wait_until(lambda: len(servers_of(tmp_path)) == 1, what="the server's process")
    hub.kill()
    assert phase(hub, "ada") == "starting"

    hub.start()
    (tmp_path / "open").touch()
    wait_until(lambda: (hub.server("ada") or {}).get("ready"), within_s=30, what="the start that goes on")
    assert len(servers_of(tmp_path)) == 1, "one server, not one for each life of the hub"
    assert httpx.get(f"{hub.url}user/ada/").status_code == 200
    assert hub.api("DELETE", "users/ada/server").status_code == 204
    wait_until(lambda: not servers_of(tmp_path))


@pytest.mark.slow
def test_a_hub_killed_right_after_the_request_leaves_no_process_that_nobody_knows(
    make_hub: Callable[..., Hub], tmp_path: Path
) -> None:
    (tmp_path / "open").touch()
    hub = make_hub(slow_config(tmp_path)).start()
    for user in ("ada", "bob", "cleo", "dora"):
        hub.api("POST", f"users/{user}")
    with httpx.Client(base_url=hub.url, headers={"Authorization": f"token {hub.token}"}) as client:
        for user in ("ada", "bob", "cleo", "dora"):
            try:
                client.post(f"hub/api/users/{user}/server", timeout=0.05)
            except httpx.TimeoutException:
                continue
    hub.kill()
    hub.start()
    users = ("ada", "bob", "cleo", "dora")
    wait_until(lambda: all(phase(hub, user) in ("ready", "stopped", "") for user in users), within_s=40)
    ready = [user for user in users if phase(hub, user) == "ready"]
    wait_until(lambda: len(servers_of(tmp_path)) == len(ready), what=f"one process for each of {ready}")


def test_too_many_failed_starts_in_a_row_end_the_hub(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub('c.Spawner.cmd = ["/nonexistent/server"]\nc.Spawner.consecutive_failure_limit = 2\n').start()
    for user in ("ada", "bob"):
        hub.api("POST", f"users/{user}")
        assert hub.api("POST", f"users/{user}/server").status_code == 500
    assert hub.process is not None
    assert hub.process.wait(20) == 1
    hub.process = None
    hub.config_path.unlink()


def test_the_event_log_says_who_started_and_stopped_a_server(make_hub: Callable[..., Hub], tmp_path: Path) -> None:
    (tmp_path / "open").touch()
    log = tmp_path / "events.jsonl"
    config = slow_config(tmp_path) + f"import logging\nc.EventLogger.handlers = [logging.FileHandler({str(log)!r})]\n"
    hub = make_hub(config).start()
    hub.api("POST", "users/ada")
    hub.api("POST", "users/ada/server")
    wait_until(lambda: (hub.server("ada") or {}).get("ready"))
    hub.api("DELETE", "users/ada/server")
    wait_until(lambda: log.exists() and len(log.read_text().splitlines()) == 2)
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(e["action"], e["username"], e["servername"]) for e in events] == [
        ("start", "ada", ""),
        ("stop", "ada", ""),
    ]
    assert events[0]["__schema__"] == "https://schema.jupyter.org/jupyterhub/events/server-action"


def test_no_secret_of_the_hub_is_readable_by_others(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub().start()
    secret = hub.folder / "jupyterhub_cookie_secret"
    assert os.stat(secret).st_mode & 0o077 == 0
    assert secret.read_text().strip() not in hub.log
    assert hub.token not in hub.log
