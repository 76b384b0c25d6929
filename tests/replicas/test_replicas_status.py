"""Three hubs on one PostgreSQL: each tells the same about all of them, and notices count on each at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx

from tests.support.hubs import Hub
from tests.support.waiting import wait_until


def ask(hub: Hub, _: int) -> dict[str, Any]:
    """Ask past the proxy, which would go on with a connection to one of them."""
    url = f"http://127.0.0.1:{hub.hub_port}/hub/api/status"
    found: dict[str, Any] = httpx.get(url, headers={"Authorization": f"token {hub.token}"}, timeout=30).json()
    return found


def by_hub(hub: Hub) -> dict[str, dict[str, Any]]:
    """The status as each of the three tells it. Of many that ask at once, some come to each."""
    told: dict[str, dict[str, Any]] = {}

    def all_have_answered() -> bool:
        with ThreadPoolExecutor(12) as people:
            for status in people.map(partial(ask, hub), range(24)):
                [answering] = [each["id"] for each in status["hubs"] if each["answers"]]
                told[answering] = status
        return len(told) == 3

    wait_until(all_have_answered, within_s=30, what="an answer of each hub")
    return told


def test_each_hub_tells_the_same_and_refuses_starts_during_maintenance(make_hubs) -> None:
    hub = make_hubs()
    for name in ("ada", "bob"):
        hub.api("POST", f"users/{name}")
    hub.api("POST", "users/ada/server")
    wait_until(lambda: (hub.server("ada") or {}).get("ready"), what="ada's server")
    for status in by_hub(hub).values():
        assert len(status["hubs"]) == 3 and sum(each["leads"] for each in status["hubs"]) == 1
        assert status["database"]["engine"] == "postgresql"
        assert status["servers"]["ready"] == 1 and status["database"]["users"] == 3
        assert sum(minute["succeeded"] for minute in status["starts"]) == 1
        assert status["proxy"]["problem"] == ""
    assert hub.api("PATCH", "notices", json={"maintenance": {"text": "New disks."}}).status_code == 200
    for _ in range(12):
        refused = hub.api("POST", "users/bob/server")
        assert refused.status_code == 503 and "New disks." in refused.json()["message"]
        assert int(refused.headers["Retry-After"]) > 0
    assert hub.api("PATCH", "notices", json={"maintenance": None}).status_code == 200
    assert hub.api("POST", "users/bob/server").status_code in (201, 202)
