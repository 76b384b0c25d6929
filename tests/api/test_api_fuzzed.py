"""The API against its own description: schemathesis asks a real hub whatever the OpenAPI document allows, and what it
does not.

It looks for server errors, for statuses, content types and answers that are not documented, and for wrong requests
that are taken. What it asks follows from a fixed seed here; CONTRIBUTING.md says how to let it search for longer.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.hubs import BIN, Hub

#: for a longer search by hand: more examples of each operation, another seed
EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "2")
SEED = os.environ.get("FUZZ_SEED", "2718")
ROOT = "0123456789abcdef" * 2

CONFIG = """
import asyncio
from jupyterhub.spawner import Spawner

class Light(Spawner):
    # a server inside of the hub: it is there at once
    light = None

    async def start(self):
        self.light = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        return self.light.sockets[0].getsockname()[:2]

    async def answer(self, reader, writer):
        await reader.read(65536)
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
        writer.close()

    async def poll(self):
        return 0 if self.light is None else None

    async def stop(self, now=False):
        if self.light is not None:
            self.light.close()
            self.light = None

c.JupyterHub.spawner_class = Light
c.JupyterHub.allow_named_servers = True
c.JupyterHub.load_groups = {"staff": {"users": ["ada", "bob"]}}
c.JupyterHub.services.append({"name": "root", "api_token": "{root}", "admin": True})
c.JupyterHub.load_roles = [{"name": "root", "services": ["root"], "scopes": [
    "admin-ui", "admin:users", "admin:servers", "admin:groups", "admin:services", "tokens", "proxy", "read:hub",
    "read:metrics", "shares", "read:roles", "access:servers", "access:services", "users:shares", "groups:shares"]}]
""".replace("{root}", ROOT)

#: what ends the hub, or cuts it off from its proxy, and the pages for browsers with a cookie
LEFT_OUT = ("shut_hub_down", "say_where_proxy_is", "ask_whether_client_may_act_for_user", "let_client_act_for_user")
#: it may refuse what the schema allows: there is no such user. Who may what is asked by other tests.
CHECKS_LEFT_OUT = "positive_data_acceptance,ignored_auth,use_after_free,ensure_resource_availability"


def ask(hub: Hub, method: str, path: str, token: str = ROOT, **kwargs: object) -> httpx.Response:
    """Ask the hub itself: the proxy answers TRACE, for one, with 501."""
    url = f"http://127.0.0.1:{hub.hub_port}/hub/api/{path}"
    headers = {"Authorization": f"token {token}"}
    return httpx.request(method, url, headers=headers, timeout=60, **kwargs)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with two users, a group, a server that runs and one that is shared."""
    hub = Hub(tmp_path_factory.mktemp("fuzzed"), extra_config=CONFIG).start()
    assert ask(hub, "POST", "users/ada/servers/lab").status_code == 201
    assert ask(hub, "POST", "shares/ada/lab", json={"user": "bob"}).status_code == 200
    yield hub
    hub.close()


def search(hub: Hub, token: str, folder: Path) -> None:
    """Let schemathesis ask with this token; fail with what it has found."""
    left_out = [word for name in LEFT_OUT for word in ("--exclude-operation-id", name)]
    found = subprocess.run(
        [
            *(str(BIN / "schemathesis"), "run", f"http://127.0.0.1:{hub.hub_port}/hub/api/openapi.json"),
            *("--phases", "coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", SEED, "--continue-on-failure"),
            *("--header", f"Authorization: token {token}", "--exclude-checks", CHECKS_LEFT_OUT, *left_out),
            *("--suppress-health-check", "all", "--generation-database", "none", "--warnings", "off", "--no-color"),
        ],
        cwd=folder,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.api.schemathesis_hooks", "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        timeout=60 * float(EXAMPLES) + 300,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-20000:] + found.stderr[-2000:]
    assert "Uncaught exception" not in hub.log


@pytest.mark.slow
def test_whatever_an_admin_asks_is_answered_as_documented(hub, tmp_path):
    search(hub, ROOT, tmp_path)


@pytest.mark.slow
def test_whatever_a_user_asks_is_answered_as_documented(hub, tmp_path):
    assert ask(hub, "POST", "users/carol", json={}).status_code in (201, 409)  # an admin may have made her
    token = ask(hub, "POST", "users/carol/tokens", json={}).json()["token"]
    search(hub, token, tmp_path)
