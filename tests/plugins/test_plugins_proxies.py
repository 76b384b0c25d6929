"""A real proxy class from the registry in the place of ours: Traefik, with its routes in a file."""

from __future__ import annotations

import secrets

import pytest

from tests.support.hubs import free_ports
from tests.support.waiting import wait_until

from .test_plugins_spawners import start, status_of, stop
from .visitors import Visitor

pytestmark = pytest.mark.slow


def test_traefik_routes_people_to_hub_and_servers(make_hub, tmp_path):
    [api_port] = free_ports(1)
    hub = make_hub(
        f"""
c.JupyterHub.proxy_class = "traefik_file"
c.TraefikProxy.traefik_api_url = "http://127.0.0.1:{api_port}"
c.TraefikProxy.traefik_api_password = "{secrets.token_hex(8)}"
c.TraefikProxy.traefik_api_username = "hub"
c.TraefikFileProviderProxy.dynamic_config_file = "{tmp_path}/rules.toml"
c.TraefikProxy.static_config_file = "{tmp_path}/traefik.toml"
"""
    )
    with Visitor(hub) as ada:
        ada.log_in("ada", "correct horse")
        assert ada.name == "ada", hub.log[-3000:]
    start(hub, "ada")
    wait_until(lambda: status_of(hub, "ada").status_code == 200, within_s=10, what=f"the route\n{hub.log[-3000:]}")
    assert "/user/ada/" in hub.api("GET", "proxy").json()
    stop(hub, "ada")
    assert "/user/ada/" not in hub.api("GET", "proxy").json()
