"""``internal_ssl``: hub, proxy, servers and services show each other certificates, and refuse whoever has none.

Real parts all the way. With the original on either side: tests/plugins/test_plugins_singleuser.py.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.plugins.visitors import Visitor
from tests.support.hubs import PASSWORD, Hub
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

#: a service of the usual kind: TLS from its environment, and it asks the hub whose token it was given
SERVICE = """
import os, ssl
from urllib.parse import urlsplit
import tornado.httpserver, tornado.ioloop, tornado.web
from jupyterhub.services.auth import HubAuth
from jupyterhub.utils import make_ssl_context

class WhoAmI(tornado.web.RequestHandler):
    async def get(self):
        token = self.request.headers.get("Authorization", "").removeprefix("token ")
        user = await HubAuth().user_for_token(token, sync=False) if token else None
        self.finish({"name": user and user["name"]})

url = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
context = make_ssl_context(*(os.environ["JUPYTERHUB_SSL_" + name] for name in ("KEYFILE", "CERTFILE", "CLIENT_CA")),
                           purpose=ssl.Purpose.CLIENT_AUTH)
app = tornado.web.Application([(os.environ["JUPYTERHUB_SERVICE_PREFIX"] + "whoami", WhoAmI), (".*", WhoAmI)])
tornado.httpserver.HTTPServer(app, ssl_options=context).listen(url.port, url.hostname)
tornado.ioloop.IOLoop.current().start()
"""

CONFIG = """
import sys
c.JupyterHub.internal_ssl = True
c.ConfigurableHTTPProxy.api_url = c.ConfigurableHTTPProxy.api_url.replace("http:", "https:")
c.JupyterHub.allow_named_servers = True
c.Spawner.disable_user_config = True
"""


def with_service(folder: Path, port: int) -> str:
    (folder / "whoami.py").write_text(SERVICE)
    return (
        f"c.JupyterHub.services += [{{'name': 'whoami', 'url': 'https://127.0.0.1:{port}', "
        f"'command': [sys.executable, {str(folder / 'whoami.py')!r}]}}]\n"
    )


@pytest.fixture(scope="module")
def hub(make_hub: Callable[..., Hub], tmp_path_factory: pytest.TempPathFactory) -> Hub:
    folder = tmp_path_factory.mktemp("internal-ssl")
    hub = make_hub(folder=folder)
    hub.extra_config = CONFIG + with_service(folder, hub.service_port)
    return hub.start()


@pytest.fixture(scope="module")
def ada(hub: Hub) -> str:
    """The address of ada's server, which runs."""
    return started(hub, "ada")


def started(hub: Hub, user: str, name: str = "") -> str:
    """Start a server; give where the proxy finds it."""
    hub.api("POST", f"users/{user}")
    hub.api("POST", f"users/{user}/servers/{name}" if name else f"users/{user}/server")
    wait_until(lambda: (hub.server(user, name) or {}).get("ready"), within_s=60, what=f"the server\n{hub.log[-3000:]}")
    routes = hub.api("GET", "proxy").json()
    return str(routes[f"/user/{user}/{name}/" if name else f"/user/{user}/"]["target"])


def context(hub: Hub, *, shows: str = "", trusts: str = "hub-ca_trust.crt") -> ssl.SSLContext:
    folder = hub.folder / "internal-ssl"
    made = ssl.create_default_context(cafile=str(folder / trusts))
    if shows:
        made.load_cert_chain(folder / shows / f"{shows}.crt", folder / shows / f"{shows}.key")
    return made


def addresses(hub: Hub, server: str) -> dict[str, str]:
    return {
        "hub": f"https://127.0.0.1:{hub.hub_port}/hub/api",
        "proxy": f"https://127.0.0.1:{hub.api_port}/api/routes",
        "server": f"{server}/user/ada/api",
        "service": f"https://127.0.0.1:{hub.service_port}/services/whoami/",
    }


def test_the_whole_way_is_tls_and_works(hub: Hub, ada: str) -> None:
    assert ada.startswith("https://127.0.0.1:")
    assert {urlsplit(each["target"]).scheme for each in hub.api("GET", "proxy").json().values()} == {"https"}
    with Visitor(hub) as visitor:
        visitor.log_in("ada", PASSWORD)
        assert visitor.visit("user/ada/").status_code == 200
        assert visitor.visit("user/ada/api/me").json()["identity"]["username"] == "ada"
    as_tests = {"Authorization": f"token {hub.token}"}
    assert httpx.get(f"{hub.url}services/whoami/whoami", headers=as_tests).json() == {"name": "tests"}
    assert "404 : Not Found" in httpx.get(f"{hub.url}nothing/here", follow_redirects=True).text, "a page of the hub"


@pytest.mark.parametrize("part", ["hub", "proxy", "server", "service"])
def test_who_shows_no_certificate_is_refused(hub: Hub, ada: str, part: str) -> None:
    url = addresses(hub, ada)[part]
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        httpx.get(url, verify=context(hub))
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        httpx.get(url.replace("https:", "http:"))
    shows = "proxy-client" if part in ("server", "service") else "hub-internal"
    assert httpx.get(url, verify=context(hub, shows=shows)).status_code in (200, 403)


@pytest.mark.parametrize(("part", "is_let_in"), [("hub", True), ("proxy", True), ("server", False), ("service", False)])
def test_a_servers_certificate_opens_the_hub_but_no_other_server(
    hub: Hub, ada: str, part: str, is_let_in: bool
) -> None:
    started(hub, "bob")
    url, own = addresses(hub, ada)[part], context(hub, shows="user-bob")
    if is_let_in:
        assert httpx.get(url, verify=own).status_code in (200, 403)
    else:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            httpx.get(url, verify=own)


def test_what_a_server_is_told(hub: Hub, ada: str) -> None:
    started(hub, "ada", "gpu")
    found = {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and process.stat().st_uid == os.geteuid():
            try:
                pairs = (process / "environ").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            env = dict(each.split("=", 1) for each in pairs if "=" in each)
            if env.get("JUPYTERHUB_ACTIVITY_URL", "").startswith(f"https://127.0.0.1:{hub.hub_port}/"):
                found[env["JUPYTERHUB_SERVER_NAME"], env["JUPYTERHUB_USER"]] = env
    default, named = found["", "ada"], found["gpu", "ada"]
    folder = str(hub.folder / "internal-ssl")
    assert default["JUPYTERHUB_SSL_KEYFILE"] == f"{folder}/user-ada/user-ada.key"
    assert default["JUPYTERHUB_SSL_CERTFILE"] == f"{folder}/user-ada/user-ada.crt"
    assert default["JUPYTERHUB_SSL_CLIENT_CA"] == f"{folder}/notebooks-ca_trust.crt"
    assert named["JUPYTERHUB_SSL_KEYFILE"] == f"{folder}/user-ada+gpu/user-ada+gpu.key", "each server has its own"
    assert default["JUPYTERHUB_API_URL"] == f"https://127.0.0.1:{hub.hub_port}/hub/api"
    assert default["JUPYTERHUB_SERVICE_URL"] == ada + "/user/ada/"
    for key in Path(folder).rglob("*.key"):
        assert key.stat().st_mode & 0o777 == 0o600, key


def test_a_hub_that_comes_back_goes_on_with_proxy_and_servers(hub: Hub, ada: str) -> None:
    certificates = (hub.folder / "internal-ssl").glob("*/*.crt")
    before = {path: path.read_bytes() for path in certificates if "service-" not in path.name}
    proxy = (hub.folder / "jupyterhub-proxy.pid").read_text()
    hub.kill()
    hub.start()
    wait_until(lambda: (hub.server("ada") or {}).get("ready"), within_s=30, what="ada's server, found again")
    assert (hub.folder / "jupyterhub-proxy.pid").read_text() == proxy
    assert {path: path.read_bytes() for path in before} == before
    assert httpx.get(f"{hub.url}user/ada/api", timeout=30).status_code == 200


def test_what_has_a_socket_speaks_no_tls_on_it_and_the_rest_does(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub()
    quoted = str(hub.folder).replace("/", "%2F")
    hub.extra_config = CONFIG + (
        f"c.JupyterHub.hub_bind_url = c.JupyterHub.hub_connect_url = 'http+unix://{quoted}%2Fhub.sock'\n"
        f"c.ConfigurableHTTPProxy.api_url = 'http+unix://{quoted}%2Fapi.sock'\n"
    )
    hub.start()
    assert started(hub, "ada").startswith("https://127.0.0.1:")
    with Visitor(hub) as visitor:
        visitor.log_in("ada", PASSWORD)
        assert visitor.visit("user/ada/").status_code == 200
