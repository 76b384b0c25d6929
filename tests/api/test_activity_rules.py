"""Activity: what is reported is stored before the answer, never moves back, and is written together."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyterhub.hub.activity import Activity, parsed_time
from jupyterhub.hub.requester import Requester
from jupyterhub.rbac.scope_set import NO_SCOPES
from jupyterhub.words.clock import utcnow
from jupyterhub.words.errors import Invalid, NotFound
from jupyterhub.words.names import ServerKey

from .statements import counted


def stamp(**ago: float) -> str:
    return (utcnow() - timedelta(**ago)).isoformat()


async def last_of(house, name: str):
    async with house.store.read() as tx:
        return (await tx.users.find(name)).last_activity


@pytest.fixture
async def ada(house):
    [ada] = await house.add_users("ada")
    await house.servers.start(ServerKey("ada", "lab"))
    return ada


async def test_a_report_is_in_the_database_when_it_is_acknowledged(house, ada):
    when = stamp(minutes=5)
    await house.activity.record("ada", last_activity=when, servers={"lab": stamp(minutes=-5)})
    assert await last_of(house, "ada") == datetime.fromisoformat(when)
    server = await house.servers.find(ServerKey("ada", "lab"))
    assert server.last_activity > utcnow()


async def test_activity_never_moves_back(house, ada):
    newer = stamp(minutes=1)
    await house.activity.record("ada", last_activity=newer, servers={})
    await house.activity.record("ada", last_activity=stamp(days=1), servers={})
    assert await last_of(house, "ada") == datetime.fromisoformat(newer)


async def test_a_report_with_an_unknown_server_stores_nothing(house, ada):
    with pytest.raises(Invalid):
        await house.activity.record("ada", last_activity=stamp(), servers={"lab": stamp(), "other": stamp()})
    assert await last_of(house, "ada") is None


async def test_reports_that_arrive_together_are_written_together(house):
    users = await house.add_users(*(f"u{i}" for i in range(40)))
    times = {user.name: stamp(seconds=i) for i, user in enumerate(users)}
    with counted(house.store) as statements:
        async with asyncio.TaskGroup() as tasks:
            for name, when in times.items():
                tasks.create_task(house.activity.record(name, last_activity=when, servers={}))
    written = [statement for statement in statements if statement.startswith("UPDATE")]
    assert len(written) < 20, f"{len(written)} writes for 40 reports"
    for name, when in times.items():
        assert await last_of(house, name) == datetime.fromisoformat(when)


async def test_a_report_survives_that_the_first_of_its_batch_is_cancelled(house):
    await house.add_users("one", "two")
    activity = house.activity
    await activity._writing.acquire()
    first = asyncio.create_task(activity.record("one", last_activity=stamp(), servers={}))
    while not activity._reported:
        await asyncio.sleep(0)
    second = asyncio.create_task(activity.record("two", last_activity=stamp(), servers={}))
    while len(activity._reported.users) < 2:
        await asyncio.sleep(0)
    first.cancel()
    activity._writing.release()
    await second
    assert await last_of(house, "two") is not None


async def test_activity_of_nobody_is_not_found(house):
    with pytest.raises(NotFound):
        await house.activity.record("nobody", last_activity=stamp(), servers={})


@pytest.mark.parametrize(
    "text", ["", "yesterday-ish", "0", "2023-13-01", "99999999999999999999", "2023-05-06T07:08:09+99:00"]
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(Invalid):
        parsed_time(text, utcnow())


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2023-05-06T07:08:09Z", datetime(2023, 5, 6, 7, 8, 9, tzinfo=UTC)),
        ("2023-05-06T07:08:09", datetime(2023, 5, 6, 7, 8, 9, tzinfo=UTC)),
        ("2023-05-06T07:08:09+02:00", datetime(2023, 5, 6, 5, 8, 9, tzinfo=UTC)),
        ("Sat, 6 May 2023 07:08:09 GMT", datetime(2023, 5, 6, 7, 8, 9, tzinfo=UTC)),
    ],
)
def test_times_are_read_in_many_forms(text, when):
    assert parsed_time(text, utcnow()) == when


@given(st.text(max_size=40))
def test_any_text_is_a_time_in_utc_or_refused(text):
    latest = utcnow()
    try:
        when = parsed_time(text, latest)
    except Invalid:
        return
    assert when.tzinfo is UTC and when <= latest


def test_the_far_future_is_refused():
    with pytest.raises(Invalid, match="future"):
        parsed_time("2999-01-01T00:00:00Z", utcnow())


# -- what the hub sees itself


async def asking(house, name: str, note: str = "of a test") -> Requester:
    async with house.store.begin() as tx:
        user = await tx.users.find(name)
        token = await tx.tokens.create("user", user.id, secret=(name + note) * 8, scopes=[], note=note)
    return Requester(kind="user", id=user.id, name=name, admin=False, scopes=NO_SCOPES, token=token, user=user)


async def test_what_was_seen_is_read_at_once_and_written_later(house, ada):
    requester = await asking(house, "ada")
    house.activity.saw(requester)
    assert (await house.users.details("ada")).user.last_activity is not None
    assert (await house.tokens.find("ada", requester.token.public_id)).token.last_activity is not None
    assert await last_of(house, "ada") is None
    await house.activity.flush()
    assert await last_of(house, "ada") is not None


async def test_the_token_of_a_server_is_no_activity_of_its_owner(house, ada):
    house.activity.saw(await asking(house, "ada", note="Server at /user/ada/"))
    await house.activity.flush()
    assert await last_of(house, "ada") is None


async def test_nothing_is_written_within_the_resolution(house, ada):
    activity = Activity(store=house.store, resolution_s=3600)
    requester = await asking(house, "ada")
    activity.saw(requester)
    await activity.flush()
    again = await house.requesters.by_token("adaof a test" * 8) or requester
    async with house.store.read() as tx:
        user, token = await tx.users.find("ada"), await tx.tokens.find(requester.token.id)
    activity.saw(Requester(kind="user", id=user.id, name="ada", admin=False, scopes=NO_SCOPES, token=token, user=user))
    assert again and not activity._seen
