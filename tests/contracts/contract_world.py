"""What a hub gives to plugins, as small as it can be: users, a hub object, a request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from jupyterhub.objects import Hub, Server


@dataclass
class Group:
    name: str


@dataclass
class User:
    name: str
    id: int = 1
    admin: bool = False
    groups: list[Group] = field(default_factory=list)

    @property
    def escaped_name(self) -> str:
        return self.name.replace(" ", "%20")

    @property
    def url(self) -> str:
        return f"/user/{self.escaped_name}/"


@dataclass
class Row:
    """``orm_spawner``: the row of a server."""

    name: str = ""
    display_name: str | None = None
    server: Any = None


def make_hub() -> Hub:
    return Hub(bind_url="http://127.0.0.1:8081/hub/", routespec="/")


def make_spawner(spawner_class: type, name: str = "ada", server: str = "", **traits: Any) -> Any:
    traits.setdefault("user", User(name))
    spawner = spawner_class(orm_spawner=Row(server), hub=make_hub(), **traits)
    spawner.server = Server(proto="http", ip="", port=0, base_url=f"/user/{name}/" + (f"{server}/" if server else ""))
    spawner.api_token = "secret-of-the-server"
    return spawner


async def until(condition: Callable[[], Any], *, within_s: float = 10) -> Any:
    """The first true value of ``condition``, which may be async; fails after ``within_s``."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {within_s} s: {condition}"
        await asyncio.sleep(0.01)
