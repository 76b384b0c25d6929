"""Starts of the last day: counted by minute, failures by time, the rest forgotten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from jupyterhub.hub.store.starts import LONGEST_REASON
from jupyterhub.words.models import Phase, StartsInMinute
from jupyterhub.words.names import ServerKey

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ADA = ServerKey("ada")


async def test_starts_are_counted_by_minute_with_mean_and_longest_of_those_that_succeeded(tx):
    for seconds, took_s in ((0, 1.0), (59, 2.5)):
        await tx.starts.add(ADA, took_s=took_s, now=NOON + timedelta(seconds=seconds))
    await tx.starts.add(ADA, took_s=99.0, now=NOON, failure="no volume")
    await tx.starts.add(ADA, took_s=99.0, now=NOON + timedelta(minutes=2), failure="no volume")
    await tx.starts.add(ADA, took_s=9.0, now=NOON - timedelta(minutes=1))
    assert await tx.starts.by_minute(NOON) == [
        StartsInMinute(minute=NOON, succeeded=2, failed=1, mean_s=1.75, longest_s=2.5),
        StartsInMinute(minute=NOON + timedelta(minutes=2), succeeded=0, failed=1, mean_s=None, longest_s=None),
    ]


async def test_the_latest_failures_come_first_and_reasons_are_cut(tx):
    await tx.starts.add(ADA, took_s=1.0, now=NOON, failure="x" * 5000)
    await tx.starts.add(ServerKey("ada", "gpu"), took_s=1.0, now=NOON, failure="second")
    await tx.starts.add(ADA, took_s=1.0, now=NOON - timedelta(hours=1), failure="earlier, noted later")
    found = await tx.starts.failed(NOON - timedelta(days=1), limit=2)
    assert [(failed.key.name, failed.minute) for failed in found] == [("gpu", NOON), ("", NOON)]
    assert found[1].reason == "x" * LONGEST_REASON
    assert await tx.starts.delete_before(NOON) == 1
    assert len(await tx.starts.failed(NOON - timedelta(days=1), limit=9)) == 2


async def test_servers_are_counted_by_phase_but_for_the_stopped(tx, ada):
    assert await tx.servers.count_by_phase() == {}
    await tx.servers.create(ada.id, "gpu")
    assert Phase.STOPPED not in await tx.servers.count_by_phase()
