"""Kernels forked from a warm process of the user's own, through a whole hub and JupyterLab's own API."""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import psutil
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.support.waiting import wait_until

from .house import House, command_line

pytestmark = pytest.mark.slow


class Kernel:
    """A kernel of a user's server, and a connection to it."""

    def __init__(self, lab: Lab, **model: Any) -> None:
        self.lab = lab
        self.id = lab.client.post("api/kernels", json={"name": "python3", **model}).raise_for_status().json()["id"]
        self._stack = ExitStack()
        self.connect()

    def connect(self) -> None:
        self._stack.close()
        address = f"{str(self.lab.client.base_url).replace('http', 'ws', 1)}api/kernels/{self.id}/channels"
        opened = connect(address, additional_headers=dict(self.lab.headers), max_size=None)
        self.socket: ClientConnection = self._stack.enter_context(opened)

    def run(self, code: str) -> str:
        """Run code and give what it printed."""
        message_id = uuid.uuid4().hex
        header = {
            "msg_id": message_id, "msg_type": "execute_request", "username": "", "session": uuid.uuid4().hex,
            "version": "5.3", "date": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
        self.socket.send(
            json.dumps({"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"})
        )
        printed = ""
        while True:
            message = json.loads(self.socket.recv(timeout=30))
            if message["parent_header"].get("msg_id") != message_id:
                continue
            if message["msg_type"] == "stream":
                printed += message["content"]["text"]
            elif message["msg_type"] == "error":
                printed += message["content"]["ename"]
            elif message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return printed.strip()

    def close(self) -> None:
        self._stack.close()


class Lab:
    """A user's server, asked as its user."""

    def __init__(self, house: House, user: str) -> None:
        self.house, self.user = house, user
        self.state = house.start(user)
        token = house.hub.api("POST", f"users/{user}/tokens", json={}).json()["token"]
        self.headers = {"Authorization": f"token {token}"}
        self.client = httpx.Client(base_url=f"{house.hub.url}user/{user}/", headers=self.headers, timeout=60)

    def zygote(self) -> psutil.Process:
        children = psutil.Process(self.state["pid"]).children()
        return next(child for child in children if "kernel_zygote" in command_line(child))

    def warm_kernel(self) -> tuple[Kernel, int]:
        """A kernel that was forked, and its process: the first ones, and any on a busy machine, are executed."""

        def fork() -> tuple[Kernel, int] | None:
            kernel = Kernel(self)
            pid = int(kernel.run("import os; print(os.getpid())"))
            if self.forked(pid):
                return kernel, pid
            kernel.close()
            self.client.delete(f"api/kernels/{kernel.id}")
            return None

        return wait_until(fork, within_s=60, what=f"a forked kernel\n{self.house.hub.log[-2000:]}")  # type: ignore[return-value]

    def forked(self, pid: int) -> bool:
        return f"kernel {pid} was forked" in self.house.hub.log


@pytest.fixture(scope="module")
def lab(make_house: Callable[..., House]) -> Iterator[Lab]:
    house = make_house("c.LocalProcessSpawner.fast_kernels = True\nc.Spawner.environment = {'MINE': 'yes'}")
    house.hub.start()
    lab = Lab(house, "ada")
    yield lab
    lab.client.close()


LOOK = """
import json, os, resource, signal, sys
def plain(value): return value if isinstance(value, (str, int, float, list, dict, type(None))) else repr(value)
print(json.dumps({
    "environ": {name: value for name, value in os.environ.items() if not name.startswith("JPY_")},
    "path": sys.path, "flags": repr(sys.flags), "executable": sys.executable, "directory": os.getcwd(),
    "main": sorted(name for name in vars(sys.modules["__main__"]) if not name.startswith("_")),
    "umask": (lambda mask: (os.umask(mask), mask)[1])(os.umask(0)),
    "limits": [resource.getrlimit(number) for number in range(10)],
    "session": os.getsid(0) == os.getpid(), "groups": os.getgroups(),
    "signals": [repr(signal.getsignal(n)).partition(" at 0x")[0] for n in range(1, 32) if n not in (9, 19)],
    "encodings": [sys.stdout.encoding, sys.getfilesystemencoding()],
    "command": [word for word in open("/proc/self/cmdline").read().split(chr(0)) if "kernel-" not in word],
}, default=plain, sort_keys=True))
"""


def test_a_forked_kernel_is_the_same_as_an_executed_one(lab: Lab) -> None:
    seen: dict[bool, dict[str, Any]] = {}

    def both() -> bool:
        kernel = Kernel(lab)
        pid = int(kernel.run("import os; print(os.getpid())"))
        seen[lab.forked(pid)] = json.loads(kernel.run(LOOK))
        kernel.close()
        lab.client.delete(f"api/kernels/{kernel.id}")
        return len(seen) == 2

    wait_until(both, within_s=60, what="one of each kind")
    different = {
        name: (seen[True][name], seen[False][name]) for name in seen[True] if seen[True][name] != seen[False][name]
    }
    assert not different
    assert seen[True]["environ"]["MINE"] == "yes"


def test_kernels_are_interrupted_restarted_and_ended(lab: Lab) -> None:
    kernel, pid = lab.warm_kernel()
    # in the middle of something
    interrupter = f"import os, signal, threading; threading.Timer(0.5, lambda: os.kill({pid}, signal.SIGINT)).start()"
    assert kernel.run(f"{interrupter}\nimport time\ntime.sleep(60)") == "KeyboardInterrupt"
    assert lab.client.post(f"api/kernels/{kernel.id}/restart").status_code == 200
    # as JupyterLab does: what the new one publishes first may be lost on channels that were open before
    kernel.connect()
    assert int(kernel.run("import os; print(os.getpid())")) != pid
    wait_until(lambda: not psutil.pid_exists(pid), what="the end of the former one")
    last = int(kernel.run("import os; print(os.getpid())"))
    kernel.close()
    assert lab.client.delete(f"api/kernels/{kernel.id}").status_code == 204
    wait_until(lambda: not psutil.pid_exists(last), what="the end of the kernel")


def test_a_kernel_that_is_killed_is_started_again(lab: Lab) -> None:
    kernel, pid = lab.warm_kernel()
    os.kill(pid, signal.SIGKILL)

    def again() -> int:
        found = lab.client.get(f"api/kernels/{kernel.id}").json()
        children = [
            p.pid for p in psutil.Process(lab.state["pid"]).children(recursive=True) if kernel.id in command_line(p)
        ]
        return children[0] if found["execution_state"] != "dead" and children and children != [pid] else 0

    wait_until(again, within_s=30, what="another kernel in its place")
    kernel.close()
    lab.client.delete(f"api/kernels/{kernel.id}")


def test_random_values_are_others_and_nothing_is_inherited(lab: Lab) -> None:
    code = "import random, os; print(random.random(), len([n for n in os.listdir('/proc/self/fd')]))"
    kernels = [lab.warm_kernel()[0] for _ in range(3)]
    values = [kernel.run(code).split() for kernel in kernels]
    assert len({value for value, _ in values}) == 3
    for kernel in kernels:
        kernel.close()
        lab.client.delete(f"api/kernels/{kernel.id}")


def test_without_its_warm_process_a_kernel_is_executed_and_all_end_with_the_server(lab: Lab) -> None:
    kernel, _ = lab.warm_kernel()
    kernel.close()
    lab.client.delete(f"api/kernels/{kernel.id}")
    lab.zygote().kill()
    kernel = Kernel(lab)
    pid = int(kernel.run("import os; print(os.getpid())"))
    assert not lab.forked(pid)
    assert "executing a kernel" in lab.house.hub.log
    kernel.close()
    lab.client.delete(f"api/kernels/{kernel.id}")
    _, pid = lab.warm_kernel()
    zygote = lab.zygote()
    os.kill(lab.state["pid"], signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(zygote.pid), what="the end of the warm process")
    wait_until(lambda: not psutil.pid_exists(pid), within_s=30, what="the end of the kernel")
