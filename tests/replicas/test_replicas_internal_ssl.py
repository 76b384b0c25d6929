"""Several hubs with ``internal_ssl``: one set of certificates, which the supervisor has made."""

from __future__ import annotations

import os
import signal

import httpx
import psutil
import pytest

from tests.support.waiting import wait_until

CONFIG = f"""
c.JupyterHub.internal_ssl = True
c.JupyterHub.recreate_internal_certs = True
c.ConfigurableHTTPProxy.api_url = c.ConfigurableHTTPProxy.api_url.replace("http:", "https:")
c.Spawner.cmd = ["jupyterhub-singleuser"]
c.Spawner.args = {["--allow-root"] if os.geteuid() == 0 else []}
"""


@pytest.mark.slow
def test_all_workers_have_the_same_certificates_and_so_has_one_that_comes_later(make_hubs):
    hub = make_hubs(CONFIG, hubs=2)
    made = {path: path.read_bytes() for path in (hub.folder / "internal-ssl").rglob("*") if path.is_file()}
    hub.api("POST", "users/ada")
    hub.api("POST", "users/ada/server")
    wait_until(lambda: (hub.server("ada") or {}).get("ready"), within_s=60, what=hub.log[-3000:])
    for worker in psutil.Process(hub.process.pid).children():
        if "jupyterhub.proxyserver" not in worker.cmdline():
            os.kill(worker.pid, signal.SIGKILL)
    wait_until(lambda: hub.api("GET", "users").status_code == 200, within_s=60, what="the workers that come later")
    assert {path: path.read_bytes() for path in made} == made
    headers = {"Authorization": f"token {hub.token}"}
    wait_until(
        lambda: httpx.get(f"{hub.url}user/ada/api/status", headers=headers, timeout=30).status_code == 200,
        within_s=60,
        what="ada's server, which asks another hub now",
    )
    assert hub.api("DELETE", "users/ada/server").status_code in (202, 204)
