"""Proxies: what is a route, what the REST API gets, and the life of the process, with the proxy that ships."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from contract_world import make_hub, until
from tornado.httpclient import HTTPClientError
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler
from traitlets import TraitError
from traitlets.config import Config

from jupyterhub import proxy as proxy_module
from jupyterhub.objects import Server
from jupyterhub.proxies.builtin import BuiltinProxy
from jupyterhub.proxy import ConfigurableHTTPProxy, Proxy, ProxyFailed
from jupyterhub.proxyserver.certificates import LETS_ENCRYPT
from jupyterhub.proxyserver.options import read_settings
from jupyterhub.spawners.processes import ProcessId
from jupyterhub.utils import random_port

TOKEN = "secret-between-hub-and-proxy"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CONFIGPROXY_AUTH_TOKEN", raising=False)


# -- routespecs and extra routes


@pytest.mark.parametrize(
    ("host_routing", "given", "taken"),
    [
        (False, "/", "/"),
        (False, "/user/ada", "/user/ada/"),
        (False, "host/user/ada/", None),
        (True, "/", "/"),
        (True, "ada.hub.org/user/ada", "ada.hub.org/user/ada/"),
        (True, "/user/ada/", None),
    ],
)
def test_a_routespec_has_a_host_exactly_with_subdomains(host_routing, given, taken):
    proxy = Proxy(host_routing=host_routing)
    if taken is None:
        with pytest.raises(ValueError, match="subdomains"):
            proxy.validate_routespec(given)
    else:
        assert proxy.validate_routespec(given) == taken


def extra(routes: dict[str, str], **traits: Any) -> dict[str, str]:
    return dict(Proxy(config=Config({"Proxy": {"extra_routes": routes}}), **traits).extra_routes)


def test_extra_routes_get_their_slash():
    assert extra({"/grafana": "http://10.0.0.1:3000"}) == {"/grafana/": "http://10.0.0.1:3000"}
    routes = {"x.org/y/": "https://10.0.0.1"}
    assert extra(routes, host_routing=True) == routes


@pytest.mark.parametrize("routes", [{"x.org/y/": "http://a"}, {"/x/": "ftp://a"}, {"/x/": "10.0.0.1:80"}, {"/x/": ""}])
def test_senseless_extra_routes_are_refused(routes):
    with pytest.raises(TraitError):
        extra(routes)


# -- routes of objects


class Table(Proxy):
    """Keeps routes in memory."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.routes: dict[str, dict[str, Any]] = {}

    async def add_route(self, routespec: str, target: str, data: dict[str, Any]) -> None:
        self.routes[routespec] = {"routespec": routespec, "target": target, "data": data}

    async def delete_route(self, routespec: str) -> None:
        self.routes.pop(routespec, None)

    async def get_all_routes(self) -> dict[str, dict[str, Any]]:
        return dict(self.routes)


def server_of(name: str, *, pending: str | None = None, port: int = 8888) -> Any:
    spec = "/user/ada/" + (f"{name}/" if name else "")
    return SimpleNamespace(
        name=name, proxy_spec=spec, pending=pending, ready=not pending, _log_name=f"ada:{name}",
        server=Server(ip="10.0.0.7", port=port),
    )  # fmt: skip


def world(*servers: Any) -> tuple[dict[int, Any], dict[str, Any]]:
    ada = SimpleNamespace(name="ada", proxy_spec="/user/ada/", spawners={server.name: server for server in servers})
    service = SimpleNamespace(name="s", proxy_spec="/services/s/", server=Server(ip="10.0.0.8", port=9000))
    silent = SimpleNamespace(name="t", proxy_spec="/services/t/", server=None)
    return {1: ada}, {"s": service, "t": silent}


async def test_routes_of_users_and_services_lead_to_their_servers():
    proxy, (users, services) = Table(), world(server_of("gpu"))
    await proxy.add_user(users[1], "gpu")
    await proxy.add_service(services["s"])
    assert proxy.routes["/user/ada/gpu/"]["target"] == "http://10.0.0.7:8888"
    assert proxy.routes["/user/ada/gpu/"]["data"] == {"user": "ada", "server_name": "gpu"}
    assert proxy.routes["/services/s/"]["data"] == {"service": "s"}
    await proxy.delete_user(users[1], "gpu")
    await proxy.delete_service(services["s"])
    assert proxy.routes == {}


async def test_a_server_that_stops_gets_no_route():
    users, services = world(server_of("gpu", pending="stop"))
    with pytest.raises(RuntimeError, match="pending stop"):
        await Table().add_user(users[1], "gpu")
    with pytest.raises(RuntimeError, match="no server"):
        await Table().add_service(services["t"])


async def test_a_check_adds_mends_and_deletes():
    proxy = Table(hub=make_hub(), extra_routes={"/x/": "http://10.0.0.9"})
    users, services = world(server_of("new"), server_of("moved", port=1111), server_of("stops", pending="stop"))
    for spec in ("/user/ada/moved/", "/user/ada/stops/", "/user/gone/"):
        await proxy.add_route(spec, "http://10.0.0.7:2222", {})
    await proxy.check_routes(users, services)
    assert {spec: route["target"] for spec, route in proxy.routes.items()} == {
        "/": "http://127.0.0.1:8081",
        "/user/ada/new/": "http://10.0.0.7:8888",
        "/user/ada/moved/": "http://10.0.0.7:1111",
        "/user/ada/stops/": "http://10.0.0.7:2222",
        "/services/s/": "http://10.0.0.8:9000",
        "/x/": "http://10.0.0.9",
    }


# -- the REST API


class Recorder:
    """A REST API of routes that notes what comes, and answers as it is told first."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, Any]] = []
        self.answers: list[int] = []
        self.routes: dict[str, Any] = {}
        self.tokens: set[str] = set()
        self.at_once = self.most_at_once = 0
        self.gate: asyncio.Event | None = None
        recorder = self

        class Handler(RequestHandler):
            async def prepare(self) -> None:
                recorder.at_once += 1
                recorder.most_at_once = max(recorder.most_at_once, recorder.at_once)
                if recorder.gate is not None:
                    await recorder.gate.wait()
                body = json.loads(self.request.body) if self.request.body else None
                recorder.requests.append((self.request.method or "", self.request.path, body))
                recorder.tokens.add(self.request.headers.get("Authorization", ""))
                recorder.at_once -= 1
                self.set_status(recorder.answers.pop(0) if recorder.answers else 200)
                self.finish(json.dumps(recorder.routes))

        sock, self.port = bind_unused_port()
        self.server = HTTPServer(Application([(".*", Handler)]))
        self.server.add_sockets([sock])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
async def api() -> AsyncIterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.server.stop()
    await recorder.server.close_all_connections()


def client_of(api: Recorder, **traits: Any) -> ConfigurableHTTPProxy:
    return ConfigurableHTTPProxy(api_url=api.url, auth_token=TOKEN, should_start=False, hub=make_hub(), **traits)


async def test_adding_a_route_posts_it_with_the_hubs_mark(api):
    data = {"user": "ada"}
    await client_of(api).add_route("/user/ada%20l@x~/gpu/", "http://10.0.0.7:8888", data)
    body = {"user": "ada", "target": "http://10.0.0.7:8888", "jupyterhub": True}
    assert api.requests == [("POST", "/api/routes/user/ada%20l@x~/gpu", body)]
    assert api.tokens == {f"token {TOKEN}"} and data == {"user": "ada"}


async def test_with_subdomains_the_host_is_the_first_part_of_the_path(api):
    proxy = client_of(api, host_routing=True)
    await proxy.add_route("ada.hub.org/user/ada/", "http://10.0.0.7:8888", {})
    await proxy.delete_route("/")
    assert [path for _, path, _ in api.requests] == ["/api/routes/ada.hub.org/user/ada", "/api/routes"]
    api.routes = {
        "/ada.hub.org/user/ada": {"target": "t", "jupyterhub": True},
        "/": {"target": "h", "jupyterhub": True},
    }
    assert set(await proxy.get_all_routes()) == {"ada.hub.org/user/ada/", "/"}


async def test_only_the_hubs_own_routes_are_seen_and_escaped_again(api):
    api.routes = {
        "/user/ada l@x~/é": {"target": "http://a", "jupyterhub": True, "user": "ada l", "last_activity": "2026"},
        "/foreign": {"target": "http://b"},
    }
    spec = "/user/ada%20l@x~/%C3%A9/"
    wanted = {"routespec": spec, "target": "http://a", "data": {"user": "ada l", "last_activity": "2026"}}
    assert await client_of(api).get_all_routes() == {spec: wanted}
    assert await client_of(api).get_route(spec) == wanted
    assert await client_of(api).get_route("/foreign") is None


async def test_a_route_that_is_gone_is_deleted_already(api):
    api.answers = [404]
    await client_of(api).delete_route("/user/ada/")


async def test_failures_of_the_proxy_are_tried_again_and_refusals_are_not(api):
    api.answers = [500, 503, 201]
    await client_of(api).add_route("/user/ada/", "http://a", {})
    assert len(api.requests) == 3
    api.answers = [403]
    with pytest.raises(HTTPClientError, match="403"):
        await client_of(api).add_route("/user/ada/", "http://a", {})


async def test_a_proxy_that_never_answers_is_an_error_with_a_remedy(monkeypatch):
    monkeypatch.setattr(proxy_module, "RETRY_S", 0.3)
    proxy = ConfigurableHTTPProxy(api_url=f"http://127.0.0.1:{random_port()}", auth_token=TOKEN)
    with pytest.raises(ProxyFailed, match="api_url"):
        await proxy.get_all_routes()


async def test_requests_at_once_are_limited(api):
    api.gate = asyncio.Event()
    proxy = client_of(api, concurrency=3)
    adding = [asyncio.create_task(proxy.add_route(f"/user/u{i}/", "http://a", {})) for i in range(9)]
    await until(lambda: api.at_once == 3)
    api.gate.set()
    await asyncio.gather(*adding)
    assert api.most_at_once == 3 and len(api.requests) == 9


# -- settings


def test_the_token_is_that_of_configuration_environment_or_hub(monkeypatch):
    monkeypatch.setenv("CONFIGPROXY_AUTH_TOKEN", "from the environment")
    assert ConfigurableHTTPProxy(auth_token="configured").auth_token == "configured"
    assert ConfigurableHTTPProxy().auth_token == "from the environment"
    monkeypatch.delenv("CONFIGPROXY_AUTH_TOKEN")
    derived = ConfigurableHTTPProxy()
    derived.derived_auth_token = "derived"
    assert derived.auth_token == "derived"
    assert len(ConfigurableHTTPProxy().auth_token) == 32


def test_a_proxy_that_others_start_needs_a_known_token():
    with pytest.raises(ProxyFailed, match="CONFIGPROXY_AUTH_TOKEN"):
        _ = ConfigurableHTTPProxy(should_start=False).auth_token


def test_the_command_line_is_that_of_configurable_http_proxy():
    proxy = ConfigurableHTTPProxy(
        public_url="https://:443/base/", api_url="http+unix://%2Frun%2Fapi.sock", hub=make_hub(), debug=True,
        host_routing=True, ssl_key="k.pem", ssl_cert="c.pem",
    )  # fmt: skip
    # where it is not installed, the proxy that comes with the hub runs under its name
    command = proxy.get_command()
    first = command.index("--ip")
    assert command[first - 1].endswith("configurable-http-proxy")
    assert command[first:] == [
        "--ip", "", "--port", "443", "--api-socket", "/run/api.sock",
        "--error-target", "http://127.0.0.1:8081/hub/error", "--log-level", "debug", "--host-routing",
        "--ssl-key", "k.pem", "--ssl-cert", "c.pem",
    ]  # fmt: skip


def test_the_proxy_gets_the_secret_between_both_and_no_other(monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_CRYPT_KEY", "x")
    monkeypatch.setenv("JPY_COOKIE_SECRET", "y")
    env = ConfigurableHTTPProxy(auth_token=TOKEN).get_env()
    assert env["CONFIGPROXY_AUTH_TOKEN"] == TOKEN and env["PATH"] == os.environ["PATH"]
    assert "JUPYTERHUB_CRYPT_KEY" not in env and "JPY_COOKIE_SECRET" not in env


def test_the_proxy_that_ships_is_used_unless_a_command_is_configured():
    assert BuiltinProxy().command == [sys.executable, "-m", "jupyterhub.proxyserver"]
    config = Config({"ConfigurableHTTPProxy": {"command": ["my-proxy"]}})
    assert BuiltinProxy(config=config).command == ["my-proxy"]


def test_what_the_hub_is_told_about_tls_reaches_the_proxy_that_ships():
    traits = {"ssl_cert": "/c", "ssl_key": "/k", "sni_certificates": [("/c2", "/k2"), ("/c3", "/k3")]}
    traits |= {"redirect_port": 80, "hsts": 60, "hsts_subdomains": True}
    proxy = BuiltinProxy(hub=make_hub(), public_url="https://:443/", **traits)
    settings = read_settings(proxy.get_command()[3:], {})
    assert settings.public_tls is not None and settings.public_tls.cert == "/c"
    assert [(files.cert, files.key) for files in settings.sni_tls] == [("/c2", "/k2"), ("/c3", "/k3")]
    assert (settings.redirect_port, settings.redirect_to) == (80, 443)
    assert settings.rules.hsts == b"max-age=60; includeSubDomains"


def test_what_the_hub_is_told_about_acme_reaches_the_proxy_that_ships():
    traits = {"acme_names": ["a.example", "b.example"], "acme_accept_terms": True, "acme_email": "x@a.example"}
    proxy = BuiltinProxy(hub=make_hub(), public_url="https://:443/", redirect_port=80, **traits)
    acme = read_settings(proxy.get_command()[3:], {}).acme
    assert acme is not None and (acme.names, acme.challenge) == (("a.example", "b.example"), "http-01")
    assert (acme.email, acme.root, acme.directory_url) == ("x@a.example", "jupyterhub-acme", LETS_ENCRYPT)


# -- the process


@pytest.fixture
async def make() -> AsyncIterator[Any]:
    """Make proxies on one address; their processes end with the test."""
    made: list[ConfigurableHTTPProxy] = []
    addresses = {
        "public_url": f"http://127.0.0.1:{random_port()}/",
        "api_url": f"http://127.0.0.1:{random_port()}",
        "auth_token": TOKEN,
    }

    def one(proxy_class: type = BuiltinProxy, **traits: Any) -> Any:
        made.append(proxy_class(**{**addresses, "hub": make_hub(), "log_level": "error", **traits}))
        return made[-1]

    yield one
    for proxy in made:
        await proxy.stop()


def pid_in_file() -> int:
    return int(Path("jupyterhub-proxy.pid").read_text())


async def test_a_started_proxy_takes_routes_and_ends_with_stop(make):
    proxy = make()
    await proxy.start()
    process = ProcessId.of(pid_in_file())
    assert process is not None and process.pid == proxy.proxy_process.pid
    assert await proxy.get_all_routes() == {}
    await proxy.add_route("/user/a%20b/", "http://10.0.0.7:8888", {"user": "a b"})
    assert (await proxy.get_all_routes())["/user/a%20b/"]["target"] == "http://10.0.0.7:8888"
    await proxy.stop()
    assert not process.is_alive() and not Path("jupyterhub-proxy.pid").exists()
    await proxy.stop()


async def test_a_proxy_that_dies_is_replaced_at_once_and_gets_its_routes(make):
    proxy, restored = make(), asyncio.Event()

    async def restore() -> None:
        await proxy.add_route("/", "http://127.0.0.1:8081", {"hub": True})
        restored.set()

    proxy.restore_routes_hook = restore
    await proxy.start()
    first = proxy.proxy_process.pid
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(8):
        await restored.wait()
    assert pid_in_file() == proxy.proxy_process.pid != first
    assert set(await proxy.get_all_routes()) == {"/"}


async def test_a_proxy_that_a_killed_hub_has_left_is_adopted(make):
    first = make()
    await first.start()
    await first.add_route("/user/ada/", "http://10.0.0.7:8888", {"user": "ada"})
    await first.leave()
    second = make()
    await second.start()
    assert pid_in_file() == first.proxy_process.pid and second.proxy_process is None
    assert set(await second.get_all_routes()) == {"/user/ada/"}
    await second.stop()
    assert first.proxy_process.wait(5) is not None and not Path("jupyterhub-proxy.pid").exists()


async def test_an_adopted_proxy_is_watched_too(make):
    first = make()
    await first.start()
    await first.leave()
    second = make()
    await second.start()
    os.kill(first.proxy_process.pid, signal.SIGKILL)
    await until(lambda: second.proxy_process is not None and second._running is not None)
    await until(lambda: Path("jupyterhub-proxy.pid").exists() and pid_in_file() == second.proxy_process.pid)


@pytest.mark.parametrize("changed", [{"auth_token": "another"}, {"log_level": "warn"}])
async def test_a_proxy_that_is_not_as_we_want_it_is_replaced(make, changed):
    first = make()
    await first.start()
    await first.leave()
    second = make(**changed)
    await second.start()
    assert pid_in_file() == second.proxy_process.pid != first.proxy_process.pid
    assert first.proxy_process.wait(5) is not None


async def test_others_than_ours_are_always_replaced(make):
    command = [sys.executable, "-m", "jupyterhub.proxyserver"]
    first = make(ConfigurableHTTPProxy, command=command)
    await first.start()
    await first.leave()
    second = make(ConfigurableHTTPProxy, command=command)
    await second.start()
    assert first.proxy_process.wait(5) is not None and pid_in_file() == second.proxy_process.pid


@pytest.mark.parametrize("content", ["", "rubbish", "-1", "0", "1", "99999999"])
async def test_a_pid_file_that_names_nobody_is_ignored(make, content):
    Path("jupyterhub-proxy.pid").write_text(content)
    proxy = make()
    assert proxy._previous() is None
    assert not Path("jupyterhub-proxy.pid").exists()


async def test_a_process_that_began_after_the_pid_file_was_written_is_spared(make):
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        path = Path("jupyterhub-proxy.pid")
        path.write_text(str(stranger.pid))
        os.utime(path, (time.time() - 60, time.time() - 60))
        await make()._end_previous()
        assert stranger.poll() is None and not path.exists()
    finally:
        stranger.kill()
        stranger.wait()


async def test_a_command_that_is_not_there_is_an_error_with_a_remedy(make):
    with pytest.raises(ProxyFailed, match=r"/no/such/proxy.*Correct"):
        await make(command=["/no/such/proxy"]).start()


async def test_a_proxy_that_ends_at_once_is_an_error_with_its_status(make):
    began = time.monotonic()
    with pytest.raises(ProxyFailed, match="exit status 7"):
        await make(command=["sh", "-c", "exit 7"]).start()
    assert time.monotonic() - began < 3 and not Path("jupyterhub-proxy.pid").exists()


async def test_a_proxy_that_never_listens_is_an_error_and_is_ended(make, monkeypatch):
    monkeypatch.setattr(proxy_module, "START_TIMEOUT_S", 0.3)
    proxy = make(command=["sh", "-c", "exec sleep 600"])
    with pytest.raises(ProxyFailed, match="does not answer"):
        await proxy.start()
    assert proxy.proxy_process.poll() is not None


async def test_another_proxy_on_our_port_is_named_as_the_cause(make):
    other = make(auth_token="of-another-hub", pid_file="other.pid")
    await other.start()
    with pytest.raises(ProxyFailed, match=r"exit status|another secret"):
        await make().start()
    assert await other.get_all_routes() == {}


async def test_a_proxy_on_unix_sockets_is_driven_too(make, tmp_path):
    socket = tmp_path / "api.sock"
    proxy = make(api_url=f"http+unix://{str(socket).replace('/', '%2F')}")
    await proxy.start()
    await proxy.add_route("/user/ada/", "http://10.0.0.7:8888", {"user": "ada"})
    assert set(await proxy.get_all_routes()) == {"/user/ada/"}
    await proxy.stop()
    assert not socket.exists()
