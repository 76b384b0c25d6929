"""A real ``jupyterhub-singleuser`` process, and a person's browser in front of it.

``SINGLEUSER_COMMAND`` runs the same tests on another implementation of the command.
"""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx

from .stub_hub import SERVER_TOKEN

ACCESS_SCOPES = '["access:servers!server=ada/", "access:servers!user=ada"]'
COMMAND = shlex.split(os.environ.get("SINGLEUSER_COMMAND", "")) or [sys.executable, "-m", "jupyterhub.singleuser"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class SingleUser:
    """One process, its address, and its log."""

    def __init__(self, hub, directory, *arguments, environment=None, command=COMMAND, allow_root=True):
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.prefix = "/user/ada/"
        self.url = self.origin + self.prefix
        self.home = directory
        self.log_file = directory / "server.log"
        keep = ("PATH", "LANG", "LC_ALL", "VIRTUAL_ENV")
        self.environment = {name: os.environ[name] for name in keep if name in os.environ} | {
            "HOME": str(directory),
            "JUPYTERHUB_API_TOKEN": SERVER_TOKEN,
            "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-ada",
            "JUPYTERHUB_HOST": hub.url,
            "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{self.url}oauth_callback",
            "JUPYTERHUB_OAUTH_ACCESS_SCOPES": ACCESS_SCOPES,
            "JUPYTERHUB_USER": "ada",
            "JUPYTERHUB_SERVER_NAME": "",
            "JUPYTERHUB_API_URL": hub.api_url,
            "JUPYTERHUB_ACTIVITY_URL": f"{hub.api_url}/users/ada/activity",
            "JUPYTERHUB_BASE_URL": "/",
            "JUPYTERHUB_SERVICE_PREFIX": self.prefix,
            "JUPYTERHUB_SERVICE_URL": self.url,
        }
        for name, value in (environment or {}).items():
            if value is None:
                self.environment.pop(name, None)
            else:
                self.environment[name] = value
        root = ["--allow-root"] if allow_root and os.geteuid() == 0 else []
        with self.log_file.open("w") as log:
            self.process = subprocess.Popen(
                [*command, *root, *arguments], env=self.environment, cwd=directory, stdout=log, stderr=log
            )

    @property
    def log(self):
        return self.log_file.read_text()

    def wait_until_it_answers(self, within=30):
        end = time.monotonic() + within
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log
            try:
                return httpx.get(f"{self.url}api", trust_env=False)
            except httpx.TransportError:
                time.sleep(0.02)
        raise AssertionError(f"no answer within {within} s: {self.log}")

    def get(self, path, token=None, **kwargs):
        return self.request("GET", path, token, **kwargs)

    def request(self, method, path, token=None, **kwargs):
        headers = kwargs.pop("headers", {}) | ({"Authorization": f"token {token}"} if token else {})
        return httpx.request(method, self.url + path, headers=headers, trust_env=False, timeout=20, **kwargs)

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@contextmanager
def browser():
    """A person's browser: keeps cookies, follows redirects only when told."""
    with httpx.Client(trust_env=False, timeout=20) as client:
        yield client
