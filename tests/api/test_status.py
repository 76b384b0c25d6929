"""``GET /status``: how the hubs are doing, from the database that they share."""

from __future__ import annotations

from datetime import timedelta

from jupyterhub.words.clock import isoformat, utcnow
from jupyterhub.words.names import ServerKey


async def note_starts(house) -> str:
    """Two starts and two failures; gives the minute."""
    now = utcnow().replace(second=0, microsecond=0)
    async with house.store.begin() as tx:
        await tx.starts.add(ServerKey("ada"), took_s=1.0, now=now)
        await tx.starts.add(ServerKey("ada", "gpu"), took_s=3.0, now=now + timedelta(seconds=59))
        await tx.starts.add(ServerKey("bob"), took_s=60.0, now=now, failure="no volume")
        await tx.starts.add(ServerKey("ada"), took_s=9.0, now=now - timedelta(hours=2), failure="older")
    return isoformat(now) or ""


async def test_the_status_tells_of_hubs_database_proxy_servers_and_starts(house, api):
    async with house.store.begin() as tx:
        for hub_id in ("h", "other"):
            await tx.replicas.register(hub_id, host="here", pid=7, url="http://here")
        assert await tx.replicas.lead("other")
    await house.add_users("ada", "bob")
    await house.servers.start(ServerKey("ada"))
    minute = await note_starts(house)
    status = (await api("GET", "status")).json()
    assert [(hub["id"], hub["leads"], hub["answers"]) for hub in status["hubs"]] == [
        ("h", False, True),
        ("other", True, False),
    ]
    assert status["database"]["engine"] == "sqlite" and status["database"]["users"] == 2
    assert (status["proxy"]["routes"], status["proxy"]["problem"]) == (1, "")
    assert status["servers"] == {"ready": 1, "starting": 0, "stopping": 0, "checking": 0}
    assert status["starts"] == [{"minute": minute, "succeeded": 2, "failed": 1, "mean_s": 2.0, "longest_s": 3.0}]
    assert [(f["user"], f["server"], f["reason"]) for f in status["failures"]] == [
        ("bob", "", "no volume"),
        ("ada", "", "older"),
    ]


async def test_failures_are_shown_to_who_may_read_the_servers(house, api):
    await house.add_users("ada", "bob")
    await note_starts(house)
    token = await house.service_with("reader", "read:hub", "read:servers!user=ada")
    failures = (await api("GET", "status", token=token)).json()["failures"]
    assert [failed["reason"] for failed in failures] == ["older"]
    blind = await house.service_with("blind", "read:hub")
    assert (await api("GET", "status", token=blind)).json()["failures"] == []


async def test_the_status_takes_read_hub(house, api):
    nobody = await house.service_with("nobody", "read:users")
    assert (await api("GET", "status", token=nobody)).status_code == 403


async def test_a_proxy_that_does_not_answer_is_told_and_the_rest_is_there(house, api):
    async def broken():
        raise OSError("connection refused")

    house.routes.all = broken
    status = (await api("GET", "status")).json()
    assert (status["proxy"]["routes"], status["proxy"]["problem"]) == (None, "connection refused")
    assert status["database"]["engine"]


async def test_starts_are_forgotten_after_a_day(house):
    await note_starts(house)
    async with house.store.begin() as tx:
        assert await tx.starts.delete_before(utcnow() - timedelta(hours=1)) == 1
        assert [f.reason for f in await tx.starts.failed(utcnow() - timedelta(days=1), limit=9)] == ["no volume"]
