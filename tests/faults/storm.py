"""Hubs under fire: a seeded schedule of faults against real hubs, while people use them; then the reckoning.

By hand, for as long as you like (the seed is printed, and makes the same schedule again):

    .venv/bin/python -m tests.faults --seconds 1800 --people 200 --seed 7
    .venv/bin/python -m tests.faults --sqlite --seconds 600

Checked all along: no server runs twice; every promise of ``people.py``. Checked at the end: whoever asked for something
got an answer, the processes that run are the servers that are ready are the routes of the proxy, and nothing is left of
servers that are stopped.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from tests.support.hubs import Hub
from tests.support.postgres import PostgresServer, running_postgres

from .people import SETTLE_S, Person, Promises

LIGHT_SERVER = Path(__file__).parents[1] / "support" / "light_server.py"
#: a hub is paused for longer than its lease, and for less than its supervisor's patience, or for more
PAUSES_S = (5.0, 13.5, 20.0)

CONFIG = """
import asyncio, random
c.JupyterHub.db_url = "{url}"
c.JupyterHub.hubs = {hubs}
c.JupyterHub.allow_named_servers = True
c.JupyterHub.last_activity_interval = 10
c.JupyterHub.concurrent_spawn_limit = 0
c.JupyterHub.service_check_interval = 0
c.JupyterHub.services += [{{"name": "once", "command": ["sleep", "100000"]}}]
c.Spawner.cmd = [{python!r}, "-I", "-S", {server!r}]
c.Spawner.args = []
c.Spawner.start_timeout = 30
c.Spawner.http_timeout = 30
c.Spawner.poll_interval = 5

async def dawdle(spawner):
    await asyncio.sleep(random.choice([0, 0, 0.2, 1]))
    spawner.environment = {{"LIGHT_DELAY_S": str(random.choice([0, 0, 0.2, 1.5]))}}

c.Spawner.pre_spawn_hook = dawdle
"""


@dataclass(frozen=True)
class Plan:
    seed: int
    seconds: float
    people: int
    hubs: int = 3
    sqlite: bool = False
    #: between two faults, in seconds
    pause_s: tuple[float, float] = (2.0, 8.0)

    def faults(self) -> Iterator[tuple[float, str, float]]:
        """Give (seconds until the next fault, what it is, a number that chooses its victim)."""
        rng = random.Random(self.seed)
        kinds = ["kill hub"] * 3 + ["kill proxy"]
        if not self.sqlite:
            kinds += ["pause hub"] * 2 + ["end hub", "replace hubs", "cut connections", "cut connections"]
            kinds += ["restart database", "crash database"]
        while True:
            yield rng.uniform(*self.pause_s), rng.choice(kinds), rng.random()


@dataclass
class Storm:
    """One run. ``violations`` is empty if everything held."""

    plan: Plan
    folder: Path
    promises: Promises = field(default_factory=Promises)
    faults: list[str] = field(default_factory=list)
    _waking: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def violations(self) -> list[str]:
        return self.promises.violations

    def run(self) -> None:
        with ExitStack() as stack:
            self.postgres: PostgresServer | None = None
            url = f"sqlite:///{self.folder}/hub.sqlite"
            if not self.plan.sqlite:
                self.postgres = stack.enter_context(running_postgres())
                self.database = asyncio.run(self.postgres.create_database())
                url = self.postgres.url(self.database)
            hubs = 1 if self.plan.sqlite else self.plan.hubs
            config = CONFIG.format(
                url=url,
                hubs=hubs,
                python=sys.executable,
                server=str(LIGHT_SERVER),
            )
            self.hub = stack.enter_context(started(Hub(self.folder, extra_config=config)))
            asyncio.run(self._run())
            self.hub.stop()
            if left := self._processes():
                self.promises.broken(f"the hub has ended, and has left {sorted(left)}")

    # -- the storm

    async def _run(self) -> None:
        self.over = asyncio.Event()
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=self.hub.url, timeout=60, limits=limits))
            people = [
                Person(f"p{number}", http, self.hub.token, self.promises, random.Random(f"{self.plan.seed} {number}"))
                for number in range(self.plan.people)
            ]
            lives = [asyncio.create_task(person.live(self.over)) for person in people]
            observer = asyncio.create_task(self._see_none_run_twice())
            await self._break_things()
            self.over.set()
            await asyncio.gather(*self._waking)
            await self._calm_down(lives)
            for person, life in zip(people, lives, strict=True):
                if life.done() and life.exception() is not None:
                    self.promises.broken(f"{person.name} gave up: {life.exception()!r}")
            await asyncio.gather(*(person.reckon() for person in people))
            await self._reckon(http)
            observer.cancel()

    async def _break_things(self) -> None:
        end = time.monotonic() + self.plan.seconds
        for pause_s, kind, which in self.plan.faults():
            if time.monotonic() + pause_s > end:
                return
            await asyncio.sleep(pause_s)
            self.faults.append(kind)
            print(f"{time.strftime('%H:%M:%S')} {kind}", flush=True)
            await getattr(self, f"_{kind.replace(' ', '_')}")(which)

    async def _calm_down(self, lives: list[asyncio.Task[None]]) -> None:
        """Let everybody finish what they began."""
        _, stuck = await asyncio.wait(lives, timeout=2 * SETTLE_S)
        for each in stuck:
            self.promises.broken(f"somebody is stuck: {each}")
            each.cancel()

    # -- faults

    def _workers(self) -> list[psutil.Process]:
        """The hubs' processes; with one hub, its only one."""
        assert self.hub.process is not None
        if self.plan.sqlite:
            return [psutil.Process(self.hub.process.pid)]
        found = []
        for child in psutil.Process(self.hub.process.pid).children():
            with suppress(psutil.Error):
                if child.status() != psutil.STATUS_ZOMBIE and "jupyterhub.proxyserver" not in child.cmdline():
                    found.append(child)
        return sorted(found, key=lambda process: process.pid)

    def _one_worker(self, which: float) -> psutil.Process | None:
        workers = self._workers()
        return workers[int(which * len(workers))] if workers else None

    async def _kill_hub(self, which: float) -> None:
        if self.plan.sqlite:
            self.hub.kill()
            await asyncio.sleep(3 * which)
            await asyncio.to_thread(self.hub.start)
        elif worker := self._one_worker(which):
            worker.kill()

    async def _end_hub(self, which: float) -> None:
        if worker := self._one_worker(which):
            worker.terminate()

    async def _pause_hub(self, which: float) -> None:
        """Meanwhile the storm goes on."""
        if not (worker := self._one_worker(which)):
            return
        worker.suspend()

        async def wake() -> None:
            await asyncio.sleep(PAUSES_S[int(which * 1000) % len(PAUSES_S)])
            with suppress(psutil.Error):
                worker.resume()  # unless it was killed meanwhile

        self._waking.append(asyncio.create_task(wake()))

    async def _replace_hubs(self, which: float) -> None:
        assert self.hub.process is not None
        self.hub.process.send_signal(signal.SIGHUP)

    async def _kill_proxy(self, which: float) -> None:
        pid_file = self.hub.folder / "jupyterhub-proxy.pid"
        with suppress(OSError, ValueError):
            os.kill(int(pid_file.read_text()), signal.SIGKILL)

    async def _cut_connections(self, which: float) -> None:
        import asyncpg  # only where it is installed

        assert self.postgres is not None
        connection = await asyncpg.connect(self.postgres.url("postgres"))
        chosen = "true" if which < 0.3 else f"random() < {which}"
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND " + chosen, self.database
        )
        await connection.close()

    async def _restart_database(self, which: float) -> None:
        assert self.postgres is not None
        await asyncio.to_thread(self.postgres.stop, "fast")
        await asyncio.sleep(6 * which * which)
        await asyncio.to_thread(self.postgres.start)

    async def _crash_database(self, which: float) -> None:
        assert self.postgres is not None
        await asyncio.to_thread(self.postgres.stop, "immediate")
        await asyncio.sleep(6 * which * which)
        await asyncio.to_thread(self.postgres.start)

    # -- what must hold

    def _processes(self) -> dict[str, list[psutil.Process]]:
        """The processes of servers of this hub that run now, by the user and server they belong to."""
        found = defaultdict(list)
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if str(LIGHT_SERVER) in process.cmdline():
                    environment = process.environ()
                    if str(self.hub.hub_port) in environment.get("JUPYTERHUB_API_URL", ""):
                        found[environment["JUPYTERHUB_SERVICE_PREFIX"]].append(process)
        return found

    def _services(self) -> list[psutil.Process]:
        """The processes of the managed service."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                environment = process.environ() if process.name() == "sleep" else {}
                url = environment.get("JUPYTERHUB_API_URL", "")
                if environment.get("JUPYTERHUB_SERVICE_NAME") == "once" and str(self.hub.hub_port) in url:
                    found.append(process)
        return found

    async def _see_none_run_twice(self) -> None:
        while True:
            found = await asyncio.to_thread(self._processes)
            for prefix, processes in found.items():
                twice = [process.pid for process in processes if process.is_running()]
                if len(twice) > 1:
                    self.promises.broken(f"{prefix} runs more than once: {twice}")
            await asyncio.sleep(1)

    async def _reckon(self, http: httpx.AsyncClient) -> None:
        """Rows, processes and routes say the same."""
        deadline = time.monotonic() + 30
        while (difference := await self._difference(http)) and time.monotonic() < deadline:
            await asyncio.sleep(1)
        for each in difference:
            self.promises.broken(f"at the end: {each}")

    async def _difference(self, http: httpx.AsyncClient) -> list[str]:
        headers = {"Authorization": f"token {self.hub.token}"}
        response = await http.get("hub/api/users?limit=1000&state=active", headers=headers)
        if response.status_code != 200:
            return [f"GET users: {response.status_code}"]
        servers = {server["url"]: server["ready"] for user in response.json() for server in user["servers"].values()}
        ready = {url for url, is_ready in servers.items() if is_ready}
        routes = {
            route
            for route, data in (await http.get("hub/api/proxy", headers=headers)).json().items()
            if "user" in data["data"]
        }
        processes = set(await asyncio.to_thread(self._processes))
        differences = [f"not ready: {url}" for url in servers.keys() - ready]
        differences += [f"ready, but no process: {url}" for url in ready - processes]
        differences += [f"process without a ready server: {url}" for url in processes - ready]
        differences += [f"ready, but no route: {url}" for url in ready - routes]
        differences += [f"route without a ready server: {url}" for url in routes - ready]
        services = await asyncio.to_thread(self._services)
        if len(services) != 1:
            differences.append(f"the managed service runs {len(services)} times")
        response = await http.get("hub/api/users?limit=1000", headers=headers)
        for user in response.json():
            tokens = await http.get(f"hub/api/users/{user['name']}/tokens", headers=headers)
            of_servers = [
                token for token in tokens.json()["api_tokens"] if (token["note"] or "").startswith("Server at")
            ]
            if len(of_servers) != len(ready & {server["url"] for server in user["servers"].values()}):
                differences.append(f"{user['name']} has {len(of_servers)} tokens of servers")
        return differences

    def report(self) -> str:
        done = ", ".join(f"{what}: {count}" for what, count in sorted(self.promises.done.items()))
        return f"seed {self.plan.seed}; faults: {len(self.faults)} {self.faults}\n{done}"


@contextmanager
def started(hub: Hub) -> Iterator[Hub]:
    """Run a hub; afterwards nothing of it is left, however it ended."""
    hub.start()
    try:
        yield hub
    finally:
        hub.close()
