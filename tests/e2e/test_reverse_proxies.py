"""The configurations of examples/reverse-proxy, each in the program that it is for, in front of a hub."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import websockets

from tests.support.hubs import Hub, free_ports
from tests.support.waiting import wait_until

EXAMPLES = Path(__file__).parents[2] / "examples" / "reverse-proxy"
pytestmark = pytest.mark.slow


def nginx(folder: Path, example: str, port: int) -> list[str]:
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/log; events {{}}\n"
        f"http {{ access_log off; server {{ listen 127.0.0.1:{port}; {example} }} }}\n"
    )
    return ["nginx", "-p", str(folder), "-e", f"{folder}/log", "-c", str(folder / "nginx.conf")]


def haproxy(folder: Path, example: str, port: int) -> list[str]:
    bound = example.replace("bind :443 ssl crt /etc/haproxy/www.example.org.pem", f"bind 127.0.0.1:{port}")
    assert bound != example
    (folder / "haproxy.cfg").write_text(bound)
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


def apache(folder: Path, example: str, port: int) -> list[str]:
    modules = Path("/usr/lib/apache2/modules")
    wanted = ("mpm_event", "authz_core", "headers", "proxy", "proxy_http")
    loaded = "\n".join(f"LoadModule {name}_module {modules}/mod_{name}.so" for name in wanted)
    (folder / "apache.conf").write_text(
        f"ServerName localhost\nListen 127.0.0.1:{port}\nPidFile {folder}/pid\nErrorLog {folder}/log\n"
        f"User nobody\nGroup nogroup\n{loaded}\n{example}\n"
    )
    return ["apache2", "-d", str(folder), "-f", str(folder / "apache.conf"), "-D", "FOREGROUND"]


PROGRAMS = {"nginx.conf": nginx, "haproxy.cfg": haproxy, "apache.conf": apache}


@pytest.fixture(scope="module")
def hub(make_hub: Callable[..., Hub]) -> Hub:
    return make_hub('c.JupyterHub.trusted_downstream_ips = ["127.0.0.1"]\n', base_url="/jupyter/").start()


@pytest.fixture(params=PROGRAMS)
def front(hub: Hub, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of the program in front, without the path of the hub."""
    (port,) = free_ports(1)
    example = (EXAMPLES / request.param).read_text().replace("127.0.0.1:8000", f"127.0.0.1:{hub.port}")
    command = PROGRAMS[request.param](tmp_path, example, port)
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} on this machine")
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_until(lambda: answers(process, port), what=(tmp_path / "output").read_text())
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def answers(process: subprocess.Popen[bytes], port: int) -> bool:
    assert process.poll() is None, process.returncode
    try:
        return httpx.get(f"http://127.0.0.1:{port}/jupyter/hub/health").status_code == 200
    except httpx.HTTPError:
        return False


def test_a_visitor_gets_through_to_a_kernel(hub: Hub, front: str) -> None:
    client = httpx.Client(follow_redirects=True, base_url=f"{front}/jupyter/", timeout=60)
    assert client.get("").url == f"{front}/jupyter/hub/login?next=%2Fjupyter%2Fhub%2F"
    headers = {"Authorization": f"token {hub.token}"}
    client.post("hub/api/users/ada", headers=headers)
    client.post("hub/api/users/ada/server", headers=headers)
    wait_until(lambda: (hub.server("ada") or {}).get("ready"), within_s=60, what="the server")
    kernel = client.post("user/ada/api/kernels", headers=headers, json={"name": "python3"}).json()["id"]

    async def ask() -> str:
        url = f"{front.replace('http', 'ws')}/jupyter/user/ada/api/kernels/{kernel}/channels"
        async with websockets.connect(url, additional_headers=headers) as channel:
            header = {
                "msg_id": "1",
                "msg_type": "kernel_info_request",
                "session": "s",
                "username": "",
                "version": "5.3",
            }
            message = {"header": header, "parent_header": {}, "metadata": {}, "content": {}, "channel": "shell"}
            await channel.send(json.dumps(message))
            async with asyncio.timeout(60):
                while True:
                    answer = json.loads(await channel.recv())
                    if answer["msg_type"] == "kernel_info_reply":
                        return str(answer["content"]["status"])

    assert asyncio.run(ask()) == "ok"
    assert client.delete(f"user/ada/api/kernels/{kernel}", headers=headers).status_code == 204
