"""One real hub: the ``jupyterhub`` command with a configuration, in a folder of its own, on free ports."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from .waiting import wait_until

BIN = Path(sys.executable).parent
PASSWORD = "correct horse"

CONFIG = """
c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:{port}{base_url}"
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api_port}"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "{password}"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {{"admin"}}
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/home-{{username}}"
c.Spawner.args = {args!r}
c.JupyterHub.services = [{{"name": "tests", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [{{"name": "tests", "services": ["tests"], "scopes": [
    "admin:users", "admin:servers", "admin:groups", "tokens", "proxy", "shutdown", "read:hub", "access:servers"]}}]
"""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@dataclass
class Hub:
    """A hub under test. ``extra_config`` is Python appended to the base configuration."""

    folder: Path
    extra_config: str = ""
    base_url: str = "/"
    env: dict[str, str] = field(default_factory=dict)
    #: where the ``jupyterhub`` command is, and those of the servers
    bin: Path = BIN
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port, self.hub_port, self.api_port, self.service_port = free_ports(4)
        self.token = secrets.token_hex(16)
        self.origin = f"http://127.0.0.1:{self.port}"
        self.url = self.origin + self.base_url
        self.config_path = self.folder / "jupyterhub_config.py"
        self.log_path = self.folder / "hub.log"

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def start(self, *args: str) -> Hub:
        """Start it and wait until its health page answers through the proxy."""
        self.config_path.write_text(
            CONFIG.format(
                port=self.port,
                hub_port=self.hub_port,
                api_port=self.api_port,
                base_url=self.base_url,
                password=PASSWORD,
                folder=self.folder,
                token=self.token,
                args=["--allow-root"] if os.geteuid() == 0 else [],
            )
            + self.extra_config
        )
        env = {**os.environ, "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}", **self.env}
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.bin / "jupyterhub"), "-f", str(self.config_path), *args],
                cwd=self.folder,
                env=env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._answers, within_s=60, what=f"the hub's health page\n{self.log[-3000:]}")
        return self

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the hub ended with {self.process.returncode}\n{self.log[-4000:]}"
        try:
            return httpx.get(f"{self.url}hub/health", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """kill -9: no clean-up of any kind."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)
        self.process = None

    def stop(self) -> int | None:
        """Ask it to end, as an operator would; give its exit code."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        finally:
            self.process = None

    def close(self) -> None:
        """End the hub and, if it was killed in a test, whatever it has left behind."""
        if self.process is None and self.config_path.exists():
            self.start()
        self.stop()

    def api(self, method: str, path: str, **kwargs: object) -> httpx.Response:
        headers = {"Authorization": f"token {self.token}"}
        return httpx.request(method, f"{self.url}hub/api/{path}", headers=headers, timeout=60, **kwargs)  # type: ignore[arg-type]

    def server(self, user: str, name: str = "") -> dict[str, object] | None:
        return self.api("GET", f"users/{user}").json().get("servers", {}).get(name)
