"""Announcement and maintenance: put up by REST, kept in the database, asked at every start."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jupyterhub.hub.bulletin import Bulletin
from jupyterhub.words.clock import isoformat, utcnow
from jupyterhub.words.errors import Unavailable

from .house_of_tests import ROOT


async def test_what_is_put_up_stays_until_it_is_taken_down(house, api):
    assert (await api("GET", "notices")).json() == {"announcement": None, "maintenance": None}
    put = await api("PATCH", "notices", json={"announcement": {"text": "New images <b>today</b>"}})
    assert put.status_code == 200
    announcement = put.json()["announcement"]
    assert (announcement["text"], announcement["kind"], announcement["by"]) == (
        "New images <b>today</b>",
        "info",
        "root",
    )
    both = (await api("PATCH", "notices", json={"maintenance": {"text": "Disks."}})).json()
    assert both["announcement"] == announcement and both["maintenance"]["text"] == "Disks."
    assert (await Bulletin(house.store).now()).maintenance.text == "Disks.", "another hub sees it at once"
    left = (await api("PATCH", "notices", json={"announcement": None})).json()
    assert left["announcement"] is None and left["maintenance"] == both["maintenance"]


async def test_a_notice_ends_by_itself(house, api):
    soon = utcnow() + timedelta(hours=1)
    await api("PATCH", "notices", json={"maintenance": {"until": isoformat(soon)}})
    assert (await house.bulletin.now()).maintenance.until == soon
    async with house.store.begin() as tx:
        kept = dict(await tx.facts.get("notices"))
        kept["maintenance"] = {**kept["maintenance"], "until": isoformat(utcnow())}
        await tx.facts.set("notices", kept)
    assert (await api("GET", "notices")).json()["maintenance"] is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"announcement": {"text": " "}},
        {"announcement": {"text": "x" * 2001}},
        {"announcement": {"text": "x", "kind": "loud"}},
        {"announcement": {"text": "x", "until": "2001-01-01T00:00:00Z"}},
        {"announcement": {"text": "x", "until": "9999-12-31T23:59:59Z"}},
        {"maintenance": {"users": ["nobody"]}},
        {"maintenance": {"groups": ["none"]}},
        {"maintenance": "yes"},
        {"other": None},
    ],
)
async def test_what_cannot_be_right_is_refused_and_changes_nothing(house, api, body):
    assert (await api("PATCH", "notices", json=body)).status_code == 400
    assert (await api("GET", "notices")).json() == {"announcement": None, "maintenance": None}


async def test_who_may_not_end_the_hub_may_not_close_it(house, api):
    reader = await house.service_with("reader", "read:hub", "admin:users", "admin:servers")
    assert (await api("GET", "notices", token=reader)).status_code == 200
    assert (await api("PATCH", "notices", token=reader, json={"announcement": None})).status_code == 403
    stranger = await house.service_with("stranger", "admin:users")
    assert (await api("GET", "notices", token=stranger)).status_code == 403


async def test_during_maintenance_only_those_who_pass_start_servers(house, api):
    ada, bob, carol = await house.add_users("ada", "bob", "carol")
    [boss] = await house.add_users("boss", admin=True)
    await api("POST", "groups/operators", json={"users": ["bob"]})
    body = {"maintenance": {"text": "Disks.", "users": ["carol"], "groups": ["operators"]}}
    assert (await api("PATCH", "notices", json=body)).status_code == 200
    bulletin = house.bulletin
    with pytest.raises(Unavailable, match="Disks") as refused:
        await bulletin.check_may_start(ada)
    assert refused.value.retry_after_s == 300
    for passes in (bob, carol, boss):
        await bulletin.check_may_start(passes)
    await bulletin.check_may_start(ada, ROOT)
    until = utcnow() + timedelta(minutes=30)
    await api("PATCH", "notices", json={"maintenance": {"until": isoformat(until)}})
    with pytest.raises(Unavailable) as refused:
        await bulletin.check_may_start(bob)
    assert 1700 < refused.value.retry_after_s <= 1801
    await api("PATCH", "notices", json={"maintenance": None})
    await bulletin.check_may_start(ada)
