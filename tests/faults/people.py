"""People who use a hub at random and remember what they were promised.

Each has a user of their own and does one thing after the other: start, stop, watch, visit, make and revoke tokens, add
and remove a named server. What the hub has acknowledged must hold from then on; what it has not may have happened or
not, and is looked up. Whatever does not hold is a *violation*; a request that fails while something is broken is none.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

#: so long after it was sent, a request without an answer may still be read: by a hub that was paused
LATE_S = 40.0
#: how long a start or a stop may be pending, whatever happens meanwhile
SETTLE_S = 120.0


class Promises:
    """What went wrong, and how often what was done; of all people together."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.done: Counter[str] = Counter()

    def broken(self, what: str) -> None:
        self.violations.append(f"{time.strftime('%H:%M:%S')} {what}")


@dataclass
class Person:
    name: str
    http: httpx.AsyncClient
    admin_token: str
    promises: Promises
    rng: random.Random
    #: the process of the default server; None while it is stopped
    runs_as: int | None = None
    #: {token id: secret}, of those that must work
    tokens: dict[str, str] = field(default_factory=dict)
    revoked: list[str] = field(default_factory=list)
    #: the named servers that were added and not removed
    named: set[str] = field(default_factory=set)
    _number: int = 0
    #: until when a start or a stop that was not acknowledged may still come true
    _open_until: float = 0

    # -- requests

    async def api(self, method: str, path: str, *, token: str | None = None, **kwargs: Any) -> httpx.Response | None:
        """One request to the REST API; None if it is not known what became of it."""
        headers = {"Authorization": f"token {token or self.admin_token}"}
        try:
            response = await self.http.request(method, f"hub/api/{path}", headers=headers, **kwargs)
        except httpx.HTTPError as error:
            self.promises.done[f"no answer ({type(error).__name__})"] += 1
            return None
        self.promises.done[f"{method} {response.status_code}"] += 1
        # 404 without a body of the hub's is the proxy's, which has lost its routes for a moment
        is_hubs = response.headers.get("x-jupyterhub-version") is not None
        return response if is_hubs and response.status_code not in (502, 503, 504) else None

    async def surely(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """Repeat a request that may be repeated until it is answered; AssertionError if that takes too long."""
        deadline = time.monotonic() + SETTLE_S
        while (response := await self.api(method, path, **kwargs)) is None or response.status_code >= 500:
            assert time.monotonic() < deadline, f"{method} {path}: no answer for {SETTLE_S} s; last: {response}"
            await asyncio.sleep(0.3)
        return response

    async def settled(self) -> dict[str, Any] | None:
        """Wait until the default server neither starts nor stops; its model, None if it is stopped."""
        began = time.monotonic()
        while True:
            response = await self.surely("GET", f"users/{self.name}")
            server = response.json().get("servers", {}).get("")
            if server is None or (server["ready"] and not server["pending"]):
                return server
            if time.monotonic() - began > SETTLE_S:
                self.promises.broken(f"{self.name}: stuck for {SETTLE_S} s: {server}")
                return server
            await asyncio.sleep(0.3)

    async def visit(self) -> int | None:
        """The process that answers at the address of the default server; None if none does."""
        try:
            response = await self.http.get(f"user/{self.name}/here")
        except httpx.HTTPError:
            return None
        if response.status_code != 200:
            return None
        pid, prefix = response.text.split()
        if prefix != f"/user/{self.name}/":
            self.promises.broken(f"{self.name} was led to the server at {prefix}")
        return int(pid)

    async def process(self) -> int:
        """The process of a server that is ready: it must answer, as soon as the proxy has its routes."""
        deadline = time.monotonic() + SETTLE_S
        while (pid := await self.visit()) is None:
            if time.monotonic() > deadline:
                self.promises.broken(f"{self.name}: a ready server does not answer at its address")
                return -1
            await asyncio.sleep(0.3)
        return pid

    # -- a life

    async def live(self, until: asyncio.Event) -> None:
        assert (await self.surely("POST", f"users/{self.name}")).status_code in (201, 409)
        while not until.is_set():
            things = [
                self.start,
                self.start,
                self.stop,
                self.look,
                self.make_token,
                self.revoke_token,
                self.add,
                self.drop,
            ]
            await self.make_sure()
            await self.rng.choice(things)()
            await asyncio.sleep(self.rng.uniform(0, 1.5))

    async def make_sure(self) -> None:
        """After a request that may have come true late, see whether it has."""
        if self._open_until and not self._is_open:
            self._open_until = 0
            self.runs_as = None if await self.settled() is None else await self.process()

    async def start(self) -> None:
        if self.runs_as is not None:
            return await self.look()
        watching = None
        if self.rng.random() < 0.5:
            watching = asyncio.create_task(self.watch())
        response = await self.api("POST", f"users/{self.name}/server", json={})
        server = await self.settled()
        if watching is not None:
            await watching
        status = None if response is None else response.status_code
        if response is None:
            self._open_until = time.monotonic() + LATE_S
        if status == 400 and not self._is_open:
            self.promises.broken(f"{self.name}: a stopped server could not be started: {response and response.text}")
        if server is None:
            if status == 201 and not self._is_open:
                self.promises.broken(f"{self.name}: the server was ready, and is gone")
            self.promises.done["start failed" if status else "start not known, stopped"] += 1
        else:
            self.runs_as = await self.process()
            self.promises.done["started"] += 1

    async def watch(self) -> None:
        """Follow the start to its end, as the page does."""
        headers = {"Authorization": f"token {self.admin_token}", "Accept": "text/event-stream"}
        last: dict[str, Any] = {}
        await asyncio.sleep(self.rng.uniform(0.05, 0.5))
        try:
            path = f"hub/api/users/{self.name}/server/progress"
            async with asyncio.timeout(SETTLE_S), self.http.stream("GET", path, headers=headers) as stream:
                if stream.status_code != 200:
                    return  # nothing goes on, or nobody is there
                async for line in stream.aiter_lines():
                    if line.startswith("data:"):
                        last = json.loads(line[5:])
        except httpx.HTTPError:
            self.promises.done["progress cut"] += 1
            return
        except TimeoutError:
            self.promises.broken(f"{self.name}: progress does not end; the last was {last}")
            return
        self.promises.done[
            "progress seen to its end" if last.get("ready") or last.get("failed") else "progress cut"
        ] += 1

    async def stop(self) -> None:
        response = await self.api("DELETE", f"users/{self.name}/server")
        if response is None:
            self._open_until = time.monotonic() + LATE_S
        server = await self.settled()
        if server is None:
            if self.runs_as is not None and not self._is_open and await self.visit() is not None:
                self.promises.broken(f"{self.name}: a stopped server still answers")
            self.runs_as = None
            self.promises.done["stopped"] += 1
        elif response is not None and response.status_code in (202, 204) and not self._is_open:
            self.promises.broken(f"{self.name}: the stop was acknowledged with {response.status_code}; {server}")

    async def look(self) -> None:
        """A server that nobody stopped runs on, and one that was stopped stays so."""
        server = await self.settled()
        if (server is None) != (self.runs_as is None):
            if not self._is_open:
                self.promises.broken(f"{self.name}: should run as {self.runs_as}; {server}")
            self.runs_as = None if server is None else await self.process()
        elif self.runs_as is not None and (pid := await self.visit()) not in (None, self.runs_as):
            if not self._is_open:
                self.promises.broken(f"{self.name}: process {pid} answers in the place of {self.runs_as}")
            self.runs_as = pid

    @property
    def _is_open(self) -> bool:
        return time.monotonic() < self._open_until

    async def make_token(self) -> None:
        response = await self.api("POST", f"users/{self.name}/tokens", json={})
        if response is not None and response.status_code == 201:
            made = response.json()
            self.tokens[made["id"]] = made["token"]
            await self.check_token(made["token"], works=True)

    async def revoke_token(self) -> None:
        if not self.tokens:
            return
        number = self.rng.choice(sorted(self.tokens))
        secret = self.tokens.pop(number)
        response = await self.api("DELETE", f"users/{self.name}/tokens/{number}")
        if response is not None and response.status_code == 204:
            self.revoked.append(secret)
            for _ in range(3):  # whichever hub that is
                await self.check_token(secret, works=False)

    async def check_token(self, secret: str, *, works: bool) -> None:
        status = (await self.surely("GET", "user", token=secret)).status_code
        if status != (200 if works else 403):
            kind = "an acknowledged" if works else "a revoked"
            self.promises.broken(f"{self.name}: {kind} token is answered with {status}")

    async def add(self) -> None:
        self._number += 1
        name = f"box-{self._number}"
        response = await self.api("PUT", f"users/{self.name}/servers/{name}", json={})
        if response is not None and response.status_code == 201:
            self.named.add(name)

    async def drop(self) -> None:
        if self.named:
            name = self.rng.choice(sorted(self.named))
            self.named.discard(name)
            response = await self.api("DELETE", f"users/{self.name}/servers/{name}", json={"remove": True})
            if response is not None and response.status_code == 204 and name in await self.names():
                self.promises.broken(f"{self.name}: the server {name} was removed, and is there")

    async def names(self) -> set[str]:
        """The named servers that there are."""
        response = await self.surely("GET", f"users/{self.name}?include_stopped_servers=1")
        return {name for name in response.json()["servers"] if name}

    async def reckon(self) -> None:
        """At the end, when nothing is broken any more: everything that was acknowledged holds."""
        await self.make_sure()
        await self.look()
        for secret in self.tokens.values():
            await self.check_token(secret, works=True)
        for secret in self.revoked:
            await self.check_token(secret, works=False)
        if missing := self.named - await self.names():
            self.promises.broken(f"{self.name}: lost the servers {missing}")
