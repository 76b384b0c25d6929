"""The contract between hub and single-user server, in the three applications, and with the original on either side.

``ORIGINAL=/path/to/its/venv`` adds the original's server under our hub, and ours under its hub (its proxy must be on
the PATH): see docs/plugins-tested.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.hubs import BIN, PASSWORD, Hub

from .test_plugins_spawners import start, status_of
from .visitors import Visitor

pytestmark = pytest.mark.slow

ORIGINAL = Path(os.environ["ORIGINAL"]) / "bin" if "ORIGINAL" in os.environ else None
#: the environment of the server, and the page that its owner gets
LAB, NOTEBOOK, OWN_APP = ({}, "/lab"), ({}, "/tree"), ({"JUPYTERHUB_SINGLEUSER_EXTENSION": "0"}, "/lab")
PAIRS = {"lab": (BIN, BIN, *LAB), "notebook": (BIN, BIN, *NOTEBOOK), "app": (BIN, BIN, *OWN_APP)}
if ORIGINAL:
    PAIRS |= {
        "their-server-lab": (BIN, ORIGINAL, *LAB),
        "their-server-app": (BIN, ORIGINAL, *OWN_APP),
        "their-hub-lab": (ORIGINAL, BIN, *LAB),
        "their-hub-notebook": (ORIGINAL, BIN, *NOTEBOOK),
        "their-hub-app": (ORIGINAL, BIN, *OWN_APP),
    }


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Hub]]:
    hubs: list[Hub] = []

    def start_hub(hub_bin: Path, server_bin: Path, environment: dict[str, str], page: str) -> Hub:
        config = (
            f'c.Spawner.cmd = ["{server_bin}/jupyterhub-singleuser"]\n'
            f"c.Spawner.environment = {environment!r}\n"
            f'c.Spawner.default_url = "{page}"\n'
            "c.JupyterHub.allow_named_servers = True\n"
        )
        hubs.append(Hub(tmp_path / "hub", extra_config=config, bin=hub_bin))
        return hubs[-1].start()

    yield start_hub
    for hub in hubs:
        hub.stop()


@pytest.mark.parametrize(("hub_bin", "server_bin", "environment", "page"), PAIRS.values(), ids=PAIRS.keys())
def test_a_server_lets_in_its_owner_and_nobody_else(make, hub_bin, server_bin, environment, page):
    hub = make(hub_bin, server_bin, environment, page)
    start(hub, "ada")
    start(hub, "ada", "gpu")
    for path in ("user/ada/", "user/ada/gpu/"):
        by_token = httpx.get(f"{hub.url}{path}api/status", headers={"Authorization": f"token {hub.token}"}, timeout=30)
        assert by_token.status_code == 200, by_token.text
    with Visitor(hub) as ada, Visitor(hub) as bob:
        ada.log_in("ada", PASSWORD)
        seen = ada.visit("user/ada/")
        assert seen.status_code == 200 and seen.url.path.startswith(f"/user/ada{page}"), (seen.url, seen.text[:500])
        assert ada.visit("user/ada/api/me").json()["identity"]["username"] == "ada"
        bob.log_in("bob", PASSWORD)
        assert bob.visit("user/ada/api/status").status_code in (403, 404)
        assert bob.visit("user/ada/").status_code in (403, 404)
    assert hub.api("GET", "users/ada").json()["servers"]["gpu"]["last_activity"]
    assert hub.api("DELETE", "users/ada/servers/gpu").status_code == 204
    assert status_of(hub, "ada").status_code == 200
