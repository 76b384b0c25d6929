"""jupyterhub-idle-culler, as PyPI has it, as a service of a real hub: what its README promises holds."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.hubs import Hub
from tests.support.waiting import wait_until

#: a server that answers at once, and nothing else
LIGHT_SERVER = """
import http.server, os
from urllib.parse import urlparse
url = urlparse(os.environ["JUPYTERHUB_SERVICE_URL"])
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
http.server.ThreadingHTTPServer((url.hostname, url.port), Answer).serve_forever()
"""

#: the role is the README's
CONFIG = """
import sys
c.JupyterHub.allow_named_servers = True
c.Spawner.cmd = [sys.executable, "-c", {server!r}]
c.Spawner.args = []
c.JupyterHub.services += [{{
    "name": "jupyterhub-idle-culler-service",
    "command": [
        sys.executable, "-m", "jupyterhub_idle_culler",
        "--timeout=600", "--cull-every=1", "--remove-named-servers=True",
    ],
}}, {{"name": "by-hand", "api_token": "token-of-the-culler-by-hand"}}]
c.JupyterHub.load_roles += [{{
    "name": "jupyterhub-idle-culler-role",
    "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
    "services": ["jupyterhub-idle-culler-service"],
}}, {{
    "name": "deletes-users",
    "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers", "admin:users"],
    "services": ["by-hand"],
}}]
"""


@pytest.fixture(scope="module")
def hub(make_hub: Callable[..., Hub]) -> Hub:
    return make_hub(CONFIG.format(server=LIGHT_SERVER)).start()


def start(hub: Hub, user: str, name: str = "") -> None:
    hub.api("POST", f"users/{user}")
    assert hub.api("POST", f"users/{user}/servers/{name}").status_code in (201, 202)
    wait_until(lambda: (hub.server(user, name) or {}).get("ready"), what=f"{user}'s server {name!r}")


def grow_old(hub: Hub, *users: str) -> None:
    """Make users and servers idle for a day: activity only moves forward, so that is done in the database."""
    a_day_ago = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%d %H:%M:%S.000000")
    with sqlite3.connect(hub.folder / "jupyterhub.sqlite", timeout=20) as db:
        for user in users:
            [[user_id]] = db.execute("select id from users where name = ?", (user,))
            db.execute("update users set last_activity = ?, created = ? where id = ?", (a_day_ago, a_day_ago, user_id))
            db.execute(
                "update spawners set last_activity = ?, started = ? where user_id = ?", (a_day_ago, a_day_ago, user_id)
            )


def test_it_stops_idle_servers_removes_named_ones_and_leaves_busy_ones(hub: Hub) -> None:
    start(hub, "busy")
    start(hub, "idle")
    start(hub, "idle", "named")
    grow_old(hub, "idle")
    wait_until(lambda: hub.server("idle") is None, what=f"the idle server is culled\n{hub.log[-3000:]}")
    known = "users/idle?include_stopped_servers"
    wait_until(lambda: "named" not in hub.api("GET", known).json()["servers"], what="the named server is removed")
    assert (hub.server("busy") or {})["ready"] is True
    assert hub.api("GET", "users/idle").status_code == 200, "users stay"


def test_run_by_hand_with_cull_users_it_deletes_idle_users(hub: Hub) -> None:
    for user in ("gone", "fresh"):
        hub.api("POST", f"users/{user}")
    grow_old(hub, "gone")
    env = {
        **os.environ,
        "JUPYTERHUB_API_TOKEN": "token-of-the-culler-by-hand",
        "JUPYTERHUB_API_URL": f"{hub.url}hub/api",
        "JUPYTERHUB_SERVICE_NAME": "by-hand",
    }
    command = [sys.executable, "-m", "jupyterhub_idle_culler", "--timeout=600", "--cull-users=True", "--cull-every=1"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as culler:
        try:
            wait_until(lambda: hub.api("GET", "users/gone").status_code == 404, what="the idle user is deleted")
        finally:
            culler.kill()
    assert hub.api("GET", "users/fresh").status_code == 200
