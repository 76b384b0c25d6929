"""One hub on MariaDB, with the URL that people have for the original."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from tests.support.hubs import Hub
from tests.support.mariadb import has_mariadb, running_mariadb

from .conftest import LIGHT_SERVER


def test_a_server_is_started_kept_over_a_kill_and_stopped(tmp_path):
    if not has_mariadb() or importlib.util.find_spec("aiomysql") is None:
        pytest.skip("needs a MariaDB server's programs (mariadbd, mariadb-install-db) and aiomysql")
    with running_mariadb() as database:
        url = database.url(database.create_database())
        config = f"""
c.JupyterHub.db_url = "{url}"
c.Spawner.cmd = [{sys.executable!r}, {str(LIGHT_SERVER)!r}]
c.Spawner.args = []
"""
        hub = Hub(tmp_path, extra_config=config).start()
        try:
            assert hub.api("POST", "users/ada").status_code == 201
            assert hub.api("POST", "users/ada/server").status_code == 201
            hub.kill()
            hub.start()
            assert hub.server("ada")["ready"]
            assert hub.api("POST", "users/ada/tokens", json={}).status_code == 201
            assert hub.api("DELETE", "users/ada/server").status_code == 204
            assert hub.server("ada") is None
        finally:
            hub.close()
        assert "Traceback" not in hub.log
