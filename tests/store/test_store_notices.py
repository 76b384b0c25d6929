"""Notices wake those who watch; one that nobody watches, or that comes before the wait, does no harm."""

from __future__ import annotations

import asyncio

from jupyterhub.hub.store.notices import Notices, server_topic


async def test_an_announcement_wakes_all_who_watch_the_topic_and_nobody_else():
    notices = Notices()
    with notices.watch(server_topic(1)) as one, notices.watch(server_topic(1)) as two, notices.watch("else") as other:
        waits = [asyncio.create_task(watch.wait(within_s=5)) for watch in (one, two)]
        await asyncio.sleep(0)
        notices.announce(server_topic(1))
        assert await asyncio.gather(*waits) == [True, True]
        assert not await other.wait(within_s=0)


async def test_what_was_announced_between_two_waits_is_not_lost_and_counts_once():
    notices = Notices()
    with notices.watch("server:1") as watch:
        notices.announce("server:1")
        notices.announce("server:1")
        assert await watch.wait(within_s=5)
        assert not await watch.wait(within_s=0)


async def test_a_topic_that_nobody_watches_is_forgotten():
    notices = Notices()
    with notices.watch("server:1") as gone:
        pass
    notices.announce("server:1")
    assert not await gone.wait(within_s=0)
    assert notices._watches == {}
