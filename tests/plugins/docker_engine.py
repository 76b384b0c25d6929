"""A container engine reduced to what DockerSpawner asks of one, whose containers are processes of this machine.

Speaks the Docker Engine API (as of 1.41) on a port of its own. A container has the environment, the command and the
life of a real one (created, running, exited, removed), and its address is this machine's.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

IMAGE = "singleuser:1"


@dataclass
class Container:
    name: str
    config: dict[str, Any]
    id: str = field(default_factory=lambda: secrets.token_hex(32))
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def describe(self) -> dict[str, Any]:
        code = self.process.poll() if self.process is not None else None
        return {
            "Id": self.id,
            "Name": f"/{self.name}",
            "Config": self.config,
            "State": {
                "Status": "running" if self.running else "created" if self.process is None else "exited",
                "Running": self.running,
                "ExitCode": code or 0,
                "Error": "",
                "FinishedAt": "",
            },
            "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "127.0.0.1"}}},
        }


class Engine:
    """The engine and its containers; ``with Engine(folder, path) as engine``."""

    def __init__(self, folder: Path, path: str) -> None:
        self.containers: dict[str, Container] = {}
        self._folder, self._path = folder, path
        engine = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _handle(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else {}
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                path = re.sub(r"^/v1\.\d+", "", parts.path)
                status, answer = engine.answer(self.command, path, query, body)
                data = b"" if answer is None else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = _handle

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"tcp://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Engine:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        for container in self.containers.values():
            self._stop(container)

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> tuple[int, Any]:
        if path == "/version":
            return 200, {"ApiVersion": "1.41", "Version": "20.10"}
        if path == "/containers/create":
            return self._create(query["name"], body)
        if found := re.fullmatch(r"/images/(.+)/json", path):
            known = found[1] == IMAGE
            return (200, {"Id": "i", "Config": {"Cmd": ["jupyterhub-singleuser"]}}) if known else missing("image")
        found = re.fullmatch(r"/containers/([^/]+)(?:/(\w+))?", path)
        container = self._find(found[1]) if found else None
        if container is None:
            return missing("container")
        assert found is not None
        match method, found[2]:
            case "GET", "json":
                return 200, container.describe()
            case "POST", "start":
                self._start(container)
                return 204, None
            case "POST", "stop":
                self._stop(container)
                return 204, None
            case "DELETE", None:
                self._stop(container)
                del self.containers[container.id]
                return 204, None
        return missing("page")

    def _create(self, name: str, config: dict[str, Any]) -> tuple[int, Any]:
        if self._find(name):
            return 409, {"message": f"the name {name} is in use"}
        container = Container(name, config)
        self.containers[container.id] = container
        return 201, {"Id": container.id, "Warnings": []}

    def _find(self, name: str) -> Container | None:
        return next((c for c in self.containers.values() if name in (c.id, c.name)), None)

    def _start(self, container: Container) -> None:
        container.starts += 1
        own = dict(line.split("=", 1) for line in container.config["Env"])
        with (self._folder / f"{container.name}.log").open("ab") as log:
            container.process = subprocess.Popen(
                container.config["Cmd"],
                env={"PATH": self._path, "HOME": str(self._folder), "LANG": "C.UTF-8", **own},
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _stop(self, container: Container) -> None:
        if container.running:
            assert container.process is not None
            container.process.terminate()
            try:
                container.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(container.process.pid, 9)
                container.process.wait(10)


def missing(what: str) -> tuple[int, Any]:
    return 404, {"message": f"No such {what}"}
