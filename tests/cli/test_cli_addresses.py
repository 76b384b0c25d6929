"""How the traits about addresses combine, as measured with the original (startup-and-state.md, cli.md)."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from traitlets.config import Config

from jupyterhub.cli.app import JupyterHub
from jupyterhub.cli.settings import settings_from
from jupyterhub.hub.settings import HubSettings
from jupyterhub.words.errors import ConfigurationError

HOST = socket.gethostname()


def settings(command_line: dict[str, Any] | None = None, **traits: Any) -> HubSettings:
    """The settings of a hub with these traits in its configuration file."""
    app = JupyterHub(config=Config({"JupyterHub": {**traits, **(command_line or {})}}))
    app.cli_config = Config({"JupyterHub": command_line or {}})
    return settings_from(app, with_cookie_secret=False)


@pytest.mark.parametrize(
    ("traits", "bind_url", "hub_prefix"),
    [
        ({}, "http://:8000", "/hub/"),
        ({"bind_url": "http://127.0.0.1:9000/x"}, "http://127.0.0.1:9000/x", "/x/hub/"),
        ({"bind_url": "http://127.0.0.1"}, "http://127.0.0.1", "/hub/"),
        ({"bind_url": "https://127.0.0.1:443/x/"}, "http://127.0.0.1:443/x/", "/x/hub/"),
        ({"bind_url": "http://0.0.0.0:443", "ssl_cert": "c"}, "https://0.0.0.0:443", "/hub/"),
        ({"ssl_cert": "c", "ssl_key": "k"}, "https://:8000", "/hub/"),
        ({"bind_url": "http+unix://%2Ftmp%2Fsock/x/"}, "http+unix://%2Ftmp%2Fsock/x/", "/x/hub/"),
        ({"ip": "1.2.3.4"}, "http://1.2.3.4:8000/", "/hub/"),
        ({"ip": "::"}, "http://[::]:8000/", "/hub/"),
        ({"port": 9999}, "http://:9999/", "/hub/"),
        ({"base_url": "foo"}, "http://:8000/foo/", "/foo/hub/"),
        ({"bind_url": "http://127.0.0.1:9000/x", "port": 9999}, "http://:9999/x/", "/x/hub/"),
        ({"bind_url": "http://127.0.0.1:9000/x", "base_url": "/y/"}, "http://:8000/y/", "/y/hub/"),
        ({"bind_url": "http://:9000", "port": 8000}, "http://:9000", "/hub/"),
    ],
)
def test_the_public_side(traits, bind_url, hub_prefix):
    made = settings(**traits)
    assert (made.bind_url, made.hub_prefix) == (bind_url, hub_prefix)
    assert made.hub_routespec == made.base_url


def test_a_proxy_that_fetches_its_certificate_makes_the_public_side_https():
    app = JupyterHub(config=Config({"BuiltinProxy": {"acme_names": ["hub.example"]}}))
    assert settings_from(app, with_cookie_secret=False).bind_url == "https://:8000"


def test_a_url_on_the_command_line_beats_ip_and_port_in_the_file():
    assert settings({"bind_url": "http://:9111/q/"}, port=9000, base_url="/y/").bind_url == "http://:9111/q/"
    assert settings({"port": 9111}, bind_url="http://127.0.0.1:9000/q").bind_url == "http://:9111/q/"


@pytest.mark.parametrize(
    ("traits", "bind_url", "listens_on", "api_url"),
    [
        ({}, "http://127.0.0.1:8081/hub/", ("127.0.0.1", 8081, ""), "http://127.0.0.1:8081/hub/api"),
        ({"hub_ip": ""}, "http://:8081/hub/", ("", 8081, ""), f"http://{HOST}:8081/hub/api"),
        ({"hub_ip": "0.0.0.0"}, "http://0.0.0.0:8081/hub/", ("0.0.0.0", 8081, ""), f"http://{HOST}:8081/hub/api"),
        ({"hub_ip": "::1"}, "http://[::1]:8081/hub/", ("::1", 8081, ""), "http://[::1]:8081/hub/api"),
        (
            {"hub_ip": "0.0.0.0", "hub_connect_ip": "hub.local"},
            "http://0.0.0.0:8081/hub/",
            ("0.0.0.0", 8081, ""),
            "http://hub.local:8081/hub/api",
        ),
        (
            {"hub_connect_ip": "hub.local", "hub_connect_port": 99},
            "http://127.0.0.1:8081/hub/",
            ("127.0.0.1", 8081, ""),
            "http://hub.local:99/hub/api",
        ),
        (
            {"hub_bind_url": "http://0.0.0.0:9081/foo", "hub_ip": "5.5.5.5", "hub_port": 7},
            "http://0.0.0.0:9081/hub/",
            ("0.0.0.0", 9081, ""),
            f"http://{HOST}:9081/hub/api",
        ),
        (
            {"hub_connect_url": "http://hub.svc:1234/abc", "hub_connect_ip": "hub.local", "base_url": "/x/"},
            "http://127.0.0.1:8081/x/hub/",
            ("127.0.0.1", 8081, ""),
            "http://hub.svc:1234/x/hub/api",
        ),
        (
            {"hub_bind_url": "http+unix://%2Ftmp%2Fhub.sock", "hub_connect_ip": "ignored"},
            "http+unix://%2Ftmp%2Fhub.sock/hub/",
            ("", 0, "/tmp/hub.sock"),
            "http+unix://%2Ftmp%2Fhub.sock/hub/api",
        ),
    ],
)
def test_the_private_side(traits, bind_url, listens_on, api_url):
    made = settings(**traits)
    assert made.hub_bind_url == bind_url
    assert (made.hub_bind_ip, made.hub_bind_port, made.hub_bind_socket) == listens_on
    assert made.hub_api_url == api_url
    assert api_url == made.hub_origin + made.hub_prefix + "api"


@pytest.mark.parametrize(
    ("traits", "public_url", "domain"),
    [
        ({}, "", ""),
        ({"public_url": "hub.example.org"}, "https://hub.example.org/", "hub.example.org"),
        ({"public_url": "http://hub.example.org/x"}, "http://hub.example.org/x/", "hub.example.org"),
        (
            {"public_url": "https://hub.example.org/outer/x/", "base_url": "/x/"},
            "https://hub.example.org/outer/x/",
            "hub.example.org",
        ),
        ({"subdomain_host": "hub.example.org"}, "https://hub.example.org/", "hub.example.org"),
        ({"subdomain_host": "https://hub.example.org:8000/"}, "https://hub.example.org:8000/", "hub.example.org"),
        (
            {"subdomain_host": "https://hub.example.org", "public_url": "https://other.example.org"},
            "https://other.example.org/",
            "other.example.org",
        ),
    ],
)
def test_what_the_public_sees(traits, public_url, domain):
    made = settings(**traits)
    assert (made.public_url, made.domain) == (public_url, domain)
    assert made.public_hub_url == (public_url + "hub/" if public_url else "")
    assert made.public_host == public_url.removesuffix(made.base_url).removesuffix("/x").removesuffix("/outer")


def test_with_subdomains_the_hub_gets_all_that_nobody_else_does():
    made = settings(subdomain_host="https://hub.example.org", base_url="/z")
    assert made.hub_routespec == "/" and made.public_url == "https://hub.example.org/z/"
    assert made.subdomain_hook("ada", made.domain, kind="user") == "ada.hub.example.org"


@pytest.mark.parametrize(
    ("traits", "routespec"),
    [
        ({"hub_routespec": "foo"}, "/foo/"),
        ({"hub_routespec": "/foo"}, "/foo/"),
        ({"hub_routespec": "hub.example.org/foo", "subdomain_host": "https://hub.example.org"}, "hub.example.org/foo/"),
    ],
)
def test_a_narrower_route_for_the_hub_gets_its_slashes(traits, routespec):
    assert settings(**traits).hub_routespec == routespec


@pytest.mark.parametrize(
    "traits",
    [
        {"bind_url": "127.0.0.1:8000"},
        {"bind_url": "http://:port/"},
        {"hub_bind_url": "127.0.0.1:8081"},
        {"hub_bind_url": "https://127.0.0.1:8081"},
        {"hub_bind_url": "http+unix://"},
        {"hub_connect_url": "hub.svc:80"},
        {"public_url": "https://hub.example.org/y/", "base_url": "/z/"},
        {"public_url": "ftp://hub.example.org"},
        {"subdomain_host": "https://hub.example.org/x"},
        {"subdomain_hook": "sometimes"},
    ],
)
def test_an_address_that_cannot_work_is_refused_by_the_name_of_its_trait(traits):
    with pytest.raises(ConfigurationError, match=f"JupyterHub.{next(iter(traits))}"):
        settings(**traits)


def test_settings_of_the_web_application_that_are_ours_reach_us():
    made = settings(
        tornado_settings={
            "slow_spawn_timeout": 0,
            "headers": {"X-Lab": "7"},
            "cookie_options": {"expires_days": 1},
            "spawn_throttle_retry_range": (1, 2),
            "gzip": True,
        }
    )
    assert (made.slow_spawn_timeout, made.slow_stop_timeout, made.headers) == (0, 10, {"X-Lab": "7"})
    assert made.cookie_options == {"expires_days": 1} and made.spawn_throttle_retry_range == (1, 2)
    assert made.tornado_settings["gzip"] is True


def test_tokens_from_oauth_live_as_long_as_the_login_unless_told():
    assert settings(cookie_max_age_days=1.5).oauth_token_expires_in == 129600
    assert settings(cookie_max_age_days=1.5, oauth_token_expires_in=60).oauth_token_expires_in == 60


def test_a_default_server_name_needs_named_servers():
    assert settings(default_server_name="lab").default_server_name == ""
    assert settings(default_server_name="lab", allow_named_servers=True).default_server_name == "lab"


def test_the_packaged_templates_come_last():
    paths = list(settings(template_paths=["/mine"]).template_paths)
    assert paths[0] == "/mine" and len(paths) == 2 and paths[1].endswith("/hub/web/templates")


def test_old_names_reach_the_proxy_and_the_authenticator():
    app = JupyterHub()
    app.update_config(
        Config(
            {
                "JupyterHub": {
                    "proxy_cmd": "p",
                    "proxy_api_ip": "4.4.4.4",
                    "proxy_api_port": 77,
                    "debug_proxy": True,
                    "proxy_auth_token": "t",
                    "proxy_check_interval": 9,
                    "admin_users": {"ada"},
                }
            }
        )
    )
    settings_from(app, with_cookie_secret=False)
    assert dict(app.config.ConfigurableHTTPProxy) == {
        "command": ["p"],
        "api_url": "http://4.4.4.4:77",
        "debug": True,
        "auth_token": "t",
        "check_running_interval": 9,
    }
    assert app.config.Authenticator.admin_users == {"ada"}


def test_printing_the_settings_shows_no_secret():
    made = HubSettings(
        cookie_secret=b"seeecret", service_tokens={"seeecret": "s"}, services=[{"api_token": "seeecret"}]
    )
    assert "seeecret" not in repr(made)
