"""Short storms; ``storm.py`` says how to have longer ones. A failure prints the seed that makes it again."""

from __future__ import annotations

import importlib.util

import pytest

from tests.support.postgres import postgres_bin

from .storm import Plan, Storm


def weather(storm: Storm) -> None:
    storm.run()
    assert storm.violations == [], f"{storm.report()}\n{storm.hub.log[-5000:]}"
    assert storm.faults and storm.promises.done["started"] > storm.plan.people, storm.report()


@pytest.mark.slow
def test_three_hubs_keep_every_promise_whatever_breaks(tmp_path):
    if postgres_bin() is None or importlib.util.find_spec("asyncpg") is None:
        pytest.skip("needs a PostgreSQL server's programs (initdb, pg_ctl) and asyncpg")
    weather(Storm(Plan(seed=7, seconds=35, people=20), tmp_path))


@pytest.mark.slow
def test_one_hub_on_sqlite_that_is_killed_and_restarted_keeps_every_promise(tmp_path):
    weather(Storm(Plan(seed=7, seconds=15, people=10, sqlite=True), tmp_path))
