"""Starts that fail: what the requester, the row, the stream and the next start see of it."""

from __future__ import annotations

import asyncio
import socket

import pytest
from tornado.util import TimeoutError as TornadoTimeoutError
from tornado.web import HTTPError

from jupyterhub.spawner import SpawnException
from jupyterhub.words.errors import SpawnFailed

from .small_hubs import ADA, BOB, answer, until


def raising(error: BaseException):
    async def fail(spawner):
        raise error

    return fail


async def failure_of(hub, error: BaseException) -> SpawnFailed:
    hub.world.during_start = raising(error)
    with pytest.raises(SpawnFailed) as failed:
        await hub.start()
    return failed.value


async def test_an_http_error_keeps_status_reason_and_headers(hub):
    error = HTTPError(418, "the pot is %s", "short", reason="Teapot")
    error.headers = {"X-Tea": "1"}
    failed = await failure_of(hub, error)
    assert (failed.status, failed.reason, failed.headers) == (418, "Teapot", {"X-Tea": "1"})
    assert str(failed) == "the pot is short"


async def test_a_refusal_shows_its_message_and_never_its_log_text(hub):
    error = SpawnException("No quota left", reason="quota", log_message="secret", message_html="<b>No</b>")
    failed = await failure_of(hub, error)
    assert (failed.status, failed.reason, str(failed)) == (400, "quota", "No quota left")
    assert (failed.public_message, failed.html_message) == ("No quota left", "<b>No</b>")
    assert (await hub.progress())[-1]["message"] == "Spawn failed: No quota left"


async def test_an_error_of_any_other_kind_is_opaque_to_the_requester(hub):
    failed = await failure_of(hub, RuntimeError("password is hunter2"))
    assert failed.status == 500 and str(failed) == ""
    assert (await hub.row()).failure.message == "password is hunter2"


async def test_an_error_can_carry_a_message_for_people(hub):
    error = RuntimeError("boom")
    error.jupyterhub_message = "Ask the admins."
    failed = await failure_of(hub, error)
    assert str(failed) == failed.public_message == "Ask the admins."


async def test_a_start_that_takes_too_long_times_out(hub, world, cluster):
    cluster.configure(start_timeout=1)

    async def for_ever(spawner):
        await asyncio.Event().wait()

    world.during_start = for_ever
    with pytest.raises(SpawnFailed):
        await hub.start()
    assert (await hub.row()).failure.message == "the server did not start within 1 s"
    assert not world.running


@pytest.mark.parametrize("error", [TimeoutError("no volume"), TornadoTimeoutError("no volume")])
async def test_a_time_out_of_the_spawner_itself_keeps_its_text(hub, error):
    failed = await failure_of(hub, error)
    assert failed.status == 500
    assert (await hub.row()).failure.message == "no volume"


async def test_a_server_that_never_answers_times_out(hub, world, cluster):
    cluster.configure(http_timeout=1)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # bound, so that nobody else gets it, and not listening
        world.port = deaf.getsockname()[1]
        with pytest.raises(SpawnFailed):
            await hub.start()
    assert "did not answer within 1 s" in (await hub.row()).failure.message
    assert not world.running and (await hub.row()).endpoint is None


async def test_a_server_that_dies_before_it_answers_is_noticed(hub, world):
    async def die(spawner):
        world.running.clear()

    world.during_start = die
    world.port = 1
    with pytest.raises(SpawnFailed):
        await hub.start(wait_s=5)
    assert "ended before it answered" in (await hub.row()).failure.message


async def test_a_poll_that_fails_while_the_server_comes_up_does_not_fail_the_start(hub, world):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        world.port = listening.getsockname()[1]
        servers = []

        async def come_up_and_fail(spawner):
            if not servers:
                servers.append(await asyncio.start_server(answer, sock=listening))
                raise OSError("not known now")

        world.during_poll = come_up_and_fail
        assert (await hub.start()).is_ready
        servers[0].close()


async def test_options_that_cannot_be_applied_are_a_bad_request(hub, world, cluster):
    def refuse(spawner, options):
        raise KeyError("size")

    cluster.configure(apply_user_options=refuse)
    with pytest.raises(SpawnFailed) as failed:
        await hub.start(user_options={"a": 1})
    assert failed.value.status == 400 and world.count("start") == 0


async def test_a_hook_that_raises_prevents_the_start(hub, world, cluster):
    cluster.configure(pre_spawn_hook=raising(HTTPError(403, "not today")))
    with pytest.raises(SpawnFailed, match="not today"):
        await hub.start()
    assert world.count("start") == 0 and await hub.token_notes() == []


async def test_a_failed_start_leaves_nothing_behind(hub, world, cluster):
    await failure_of(hub, RuntimeError("boom"))
    assert not world.running and world.count("stop") == 1
    assert await hub.token_notes() == [] and await hub.client_ids() == [] and cluster.proxy.table == {}
    row = await hub.row()
    assert row.is_stopped and row.endpoint is None and row.hub_id is None


async def test_a_failed_start_whose_clean_up_fails_too_ends_as_failed(hub, world):
    world.during_stop = raising(RuntimeError("cannot stop"))
    await failure_of(hub, RuntimeError("boom"))
    assert (await hub.row()).failure.message == "boom"


async def test_a_route_that_cannot_be_added_fails_the_start(hub, world, cluster):
    cluster.proxy.broken = True
    with pytest.raises(SpawnFailed):
        await hub.start()
    assert not world.running


async def test_the_next_start_forgets_the_failure(hub, world):
    await failure_of(hub, RuntimeError("boom"))
    world.during_start = lambda spawner: asyncio.sleep(0)
    assert (await hub.start()).failure is None


async def test_a_start_that_waits_for_something_cancelled_has_failed_once(hub, world):
    """Not endlessly begun again: nobody cancelled the start, only what the plugin waited for."""
    failed = await failure_of(hub, asyncio.CancelledError())
    assert failed.status == 500 and world.count("start") == 1


async def test_a_spawner_that_cannot_be_made_fails_the_start(hub, cluster):
    def __init__(self, **kwargs):
        raise ValueError("no such cluster")

    cluster.spawner_class.__init__ = __init__
    with pytest.raises(SpawnFailed):
        await hub.start()
    row = await hub.row()
    assert row.is_stopped and row.failure.message == "no such cluster"
    assert (await hub.progress())[-1]["message"] == "Spawn failed: no such cluster"


async def test_a_state_that_cannot_be_cleared_does_not_keep_the_server_stopping(hub, cluster):
    await hub.start()

    def get_state(self):
        raise KeyError("pid")

    cluster.spawner_class.get_state = get_state
    assert await hub.servers.stop(ADA, wait_s=8) is True


async def test_too_many_errors_in_a_row_end_the_hub(hub, other, world, cluster):
    cluster.configure(consecutive_failure_limit=2)
    await failure_of(hub, RuntimeError("one"))
    assert not hub.observer.gave_up
    world.during_start = raising(RuntimeError("two"))
    with pytest.raises(SpawnFailed):
        await other.start(BOB)
    await until(lambda: other.observer.gave_up)


async def test_refusals_and_successes_do_not_end_the_hub(hub, world, cluster):
    cluster.configure(consecutive_failure_limit=2)
    await failure_of(hub, RuntimeError("one"))
    await failure_of(hub, SpawnException("no", reason="quota"))
    world.during_start = lambda spawner: asyncio.sleep(0)
    await hub.start(BOB)
    await failure_of(hub, RuntimeError("one again"))
    assert not hub.observer.gave_up
