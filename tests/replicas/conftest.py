"""Several real hubs on a PostgreSQL of the tests' own, with light servers."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.hubs import Hub
from tests.support.postgres import PostgresServer, postgres_bin, running_postgres

LIGHT_SERVER = Path(__file__).parents[1] / "support" / "light_server.py"

CONFIG = """
c.JupyterHub.db_url = "{url}"
c.JupyterHub.hubs = {hubs}
c.JupyterHub.log_level = "DEBUG"
c.Spawner.cmd = [{python!r}, {server!r}]
c.Spawner.args = []
c.JupyterHub.last_activity_interval = 3
"""


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    if postgres_bin() is None or importlib.util.find_spec("asyncpg") is None:
        pytest.skip("needs a PostgreSQL server's programs (initdb, pg_ctl) and asyncpg")
    with running_postgres() as server:
        yield server


@pytest.fixture
def make_hubs(postgres, tmp_path) -> Iterator[Callable[..., Hub]]:
    """A factory of started hubs: one supervisor with three workers, unless told otherwise."""
    made: list[Hub] = []

    def make(extra_config: str = "", *, hubs: int = 3) -> Hub:
        url = postgres.url(asyncio.run(postgres.create_database()))
        config = CONFIG.format(url=url, hubs=hubs, python=sys.executable, server=str(LIGHT_SERVER))
        hub = Hub(tmp_path / f"hub-{len(made)}", extra_config=config + extra_config)
        made.append(hub)
        return hub.start()

    yield make
    for hub in made:
        hub.close()
