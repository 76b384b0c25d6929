"""The contract between hub and single-user server, both ways with the original's 5.x and 6.x, in all applications.

One hub per pair, and in it one named server per application; what they are asked is the same for all.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.support.hubs import BIN, PASSWORD, Hub
from tests.support.waiting import wait_until

from .visitors import Visitor

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
OURS, SIX, FIVE = BIN, ROOT / ".venv-original-6" / "bin", ROOT / ".venv-original-5" / "bin"
#: hub and server; the last ones with internal_ssl
PAIRS = {
    "ours": (OURS, OURS, ""),
    "their-6-under-our-hub": (OURS, SIX, ""),
    "their-5-under-our-hub": (OURS, FIVE, ""),
    "ours-under-their-6": (SIX, OURS, ""),
    "ours-under-their-5": (FIVE, OURS, ""),
    "their-6-under-our-hub-with-tls": (OURS, SIX, "internal_ssl"),
    "ours-under-their-6-with-tls": (SIX, OURS, "internal_ssl"),
}

#: server name → what its environment adds, and the page that its owner gets
APPLICATIONS = {
    "lab": ({}, "/lab"),
    "notebook": ({}, "/tree"),
    "server": ({"JUPYTERHUB_SINGLEUSER_LOAD_OTHER_EXTENSIONS": "0"}, "/files/readme.txt"),
    "app": ({"JUPYTERHUB_SINGLEUSER_APP": "jupyter_server.serverapp.ServerApp"}, "/lab"),
}
#: the one whose user configuration is left out
WITHOUT_USER_CONFIG = "server"

CONFIG = """
c.JupyterHub.allow_named_servers = True
c.JupyterHub.activity_resolution = 0
c.ConfigurableHTTPProxy.command = ["{proxy}/jupyterhub-proxy"]
c.Spawner.cmd = ["{server}/jupyterhub-singleuser"]
# answers of the hub are kept for so long; 300 by default
c.Spawner.args = c.Spawner.args + ["--HubOAuth.cache_max_age={cache_s}"]
applications = {applications!r}

def choose(spawner):
    environment, page = applications[spawner.name]
    # an environment that shares packages with another one finds these there
    prefix = "{prefix}"
    found = {{"JUPYTER_PATH": prefix + "/share/jupyter", "JUPYTER_CONFIG_PATH": prefix + "/etc/jupyter",
              "JUPYTERLAB_DIR": prefix + "/share/jupyter/lab", "JUPYTERHUB_ACTIVITY_INTERVAL": "1"}}
    spawner.environment = {{**found, **environment}}
    spawner.default_url = page
    spawner.disable_user_config = spawner.name == "{without_user_config}"

c.Spawner.pre_spawn_hook = choose
c.JupyterHub.load_roles = c.JupyterHub.load_roles + [
    {{"name": "sharing", "services": ["tests"], "scopes": ["shares", "users:shares", "groups:shares"]}}]
"""
INTERNAL_SSL = """
import os
c.JupyterHub.internal_ssl = True
c.JupyterHub.internal_certs_location = os.path.abspath("internal-ssl")
c.ConfigurableHTTPProxy.api_url = c.ConfigurableHTTPProxy.api_url.replace("http:", "https:")
"""
CACHE_S = 2
USER_CONFIG = """
import os
open(os.path.expanduser("~/read-by-" + os.environ["JUPYTERHUB_SERVER_NAME"]), "w").close()
"""


@pytest.fixture(scope="module")
def originals() -> None:
    """The original in its two versions; installed if it is not there."""
    made = subprocess.run([ROOT / "tools" / "set-up-originals"], capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr


@pytest.fixture(scope="module", params=PAIRS.values(), ids=PAIRS.keys())
def hub(originals: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with one server of ada's per application, all of them ready."""
    hub_bin, server_bin, tls = request.param
    config = CONFIG.format(
        proxy=OURS,
        server=server_bin,
        cache_s=CACHE_S,
        applications=APPLICATIONS,
        prefix=OURS.parent,
        without_user_config=WITHOUT_USER_CONFIG,
    )
    hub = Hub(tmp_path_factory.mktemp("hub"), extra_config=config + (INTERNAL_SSL if tls else ""), bin=hub_bin)
    home = hub.folder / "home-ada" / ".jupyter"
    home.mkdir(parents=True)
    (home / "jupyter_server_config.py").write_text(USER_CONFIG)
    (home.parent / "readme.txt").write_text("a page where there are no others")
    try:
        hub.start()
        hub.api("POST", "users", json={"usernames": ["ada", "bob"]})
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda name: hub.api("POST", f"users/ada/servers/{name}"), APPLICATIONS))
        wait_until(lambda: all(is_ready(hub, name) for name in APPLICATIONS), within_s=90, what=hub.log[-6000:])
        yield hub
    finally:
        hub.stop()


def is_ready(hub: Hub, name: str) -> bool:
    return bool((hub.server("ada", name) or {}).get("ready"))


def by_token(hub: Hub, token: str, name: str) -> httpx.Response:
    headers = {"Authorization": f"token {token}"}
    # not api/status, which does not count as activity
    return httpx.get(f"{hub.url}user/ada/{name}/api/contents", headers=headers, timeout=30)


@pytest.fixture
def visitor(hub: Hub) -> Iterator[Callable[[str], Visitor]]:
    """Logs people in."""
    visitors = []

    def log_in(name: str) -> Visitor:
        visitors.append(Visitor(hub).__enter__())
        visitors[-1].log_in(name, PASSWORD)
        return visitors[-1]

    yield log_in
    for each in visitors:
        each.__exit__()


@pytest.mark.parametrize("name", APPLICATIONS)
def test_tokens_open_a_server_to_those_who_may_enter_it(hub: Hub, name: str) -> None:
    assert by_token(hub, hub.token, name).status_code == 200
    assert by_token(hub, "not-a-token", name).status_code == 403
    bob = hub.api("POST", "users/bob/tokens", json={"note": "bob's own"}).json()["token"]
    assert by_token(hub, bob, name).status_code == 403


@pytest.mark.parametrize("name", APPLICATIONS)
def test_the_owner_gets_the_page_and_nobody_else_does(hub: Hub, visitor: Callable[[str], Visitor], name: str) -> None:
    ada, bob = visitor("ada"), visitor("bob")
    seen = ada.visit(f"user/ada/{name}/")
    assert seen.status_code == 200, (seen.url, seen.text[:500])
    assert seen.url.path.startswith(f"/user/ada/{name}{APPLICATIONS[name][1]}")
    assert seen.headers["X-JupyterHub-Version"]
    me = ada.visit(f"user/ada/{name}/api/me")
    assert me.status_code == 200 and me.json()["identity"]["username"] == "ada", (me.url, me.text)
    assert bob.visit(f"user/ada/{name}/").status_code in (403, 404)


@pytest.mark.parametrize("name", APPLICATIONS)
def test_its_use_is_reported(hub: Hub, name: str) -> None:
    def reported() -> str:
        return str((hub.server("ada", name) or {})["last_activity"])

    before = reported()
    assert by_token(hub, hub.token, name).status_code == 200
    wait_until(lambda: reported() > before, within_s=20, what="activity")


@pytest.mark.parametrize("name", APPLICATIONS)
def test_a_users_configuration_counts_unless_it_is_left_out(hub: Hub, name: str) -> None:
    assert (hub.folder / "home-ada" / f"read-by-{name}").exists() is (name != WITHOUT_USER_CONFIG)


def test_who_was_given_a_share_may_enter_until_it_is_taken_away(hub: Hub, visitor: Callable[[str], Visitor]) -> None:
    name = "lab"
    assert hub.api("POST", f"shares/ada/{name}", json={"user": "bob"}).status_code == 200
    bob = visitor("bob")
    bob.visit(f"user/ada/{name}/lab")
    if bob.page is not None and "/oauth2/authorize" in str(bob.page.url):
        bob.submit()  # the server is somebody else's: the hub asks
    me = bob.visit(f"user/ada/{name}/api/me")
    assert me.status_code == 200 and me.json()["identity"]["username"] == "bob", (me.url, me.text, bob.page)
    assert hub.api("PATCH", f"shares/ada/{name}", json={"user": "bob"}).status_code == 200
    wait_until(
        lambda: bob.visit(f"user/ada/{name}/api/me").status_code in (403, 404),
        within_s=CACHE_S + 20,
        what="the revocation, noticed when the answer that was kept is old",
    )
    assert hub.api("GET", "users/ada").status_code == 200


def test_a_server_ends_when_the_hub_says_so(hub: Hub) -> None:
    assert hub.api("DELETE", "users/ada/servers/notebook").status_code in (202, 204)
    wait_until(lambda: not hub.server("ada", "notebook"), what="the end of the server")
    assert by_token(hub, hub.token, "notebook").status_code != 200
    assert is_ready(hub, "lab")


def test_certificates_are_taken_over_from_the_original_and_given_back(originals: None, tmp_path: Path) -> None:
    """One directory, database and configuration: the original's hub, ours, the original's again."""
    config = INTERNAL_SSL + (
        f"c.ConfigurableHTTPProxy.command = ['{OURS}/jupyterhub-proxy']\n"
        f"c.Spawner.cmd = ['{OURS}/jupyterhub-singleuser']\n"
    )
    authorities: set[bytes] = set()
    for hub_bin in (SIX, OURS, SIX):
        hub = Hub(tmp_path / "hub", extra_config=config, bin=hub_bin).start()
        try:
            hub.api("POST", "users/ada")
            hub.api("POST", "users/ada/server")
            wait_until(lambda: is_ready(hub, ""), within_s=60, what=hub.log[-4000:])  # noqa: B023
            with Visitor(hub) as ada:
                ada.log_in("ada", PASSWORD)
                assert ada.visit("user/ada/").status_code == 200
            authorities.add((hub.folder / "internal-ssl/hub-ca/hub-ca.crt").read_bytes())
        finally:
            hub.stop()
    assert len(authorities) == 1
