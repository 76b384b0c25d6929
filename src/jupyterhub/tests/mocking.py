"""A real hub in the process of the tests, and spawners that are slow, bad, or show what they were given."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from typing import Any

import pamela
from traitlets import Bool, Dict, Unicode, default
from traitlets.config import Config

from jupyterhub.auth import PAMAuthenticator
from jupyterhub.cli.app import JupyterHub
from jupyterhub.cli.build import Ending, RunningHub, build, open_store
from jupyterhub.cli.settings import settings_from
from jupyterhub.hub.store.store import Store
from jupyterhub.orm import new_session_factory
from jupyterhub.spawner import SimpleLocalProcessSpawner
from jupyterhub.utils import random_port

from .utils import add_user, async_requests, public_host, public_url

__all__ = [
    "BadSpawner",
    "FormSpawner",
    "InstrumentedSpawner",
    "MockHub",
    "MockPAMAuthenticator",
    "MockSpawner",
    "NeverSpawner",
    "SlowBadSpawner",
    "SlowSpawner",
    "mock_authenticate",
    "mock_check_account",
    "mock_open_session",
    "public_host",
    "public_url",
]

#: how long a hub in a test may take to start, and to end
LIMIT_S = 60


def mock_authenticate(username: str, password: str, service: Any = None, encoding: str = "utf-8") -> bool:
    """As ``pamela.authenticate``: passwords are the names."""
    if isinstance(password, tuple):
        password = password[0]
    if username == password:
        return True
    raise pamela.PAMError("Fake")


def mock_check_account(username: str, service: Any = None, encoding: str = "utf-8") -> bool:
    """As ``pamela.check_account``: names that begin with ``notallowed`` are not."""
    if username.startswith("notallowed"):
        raise pamela.PAMError("Fake")
    return True


def mock_open_session(username: str, service: Any, encoding: str = "utf-8") -> None:
    """As ``pamela.open_session``: does nothing."""


class MockPAMAuthenticator(PAMAuthenticator):
    """Lets everybody in whose password is their name, but for ``notallowed…``; ``dne…`` have no account here."""

    open_sessions = Bool(False)

    @default("admin_users")
    def _admin(self) -> set[str]:
        return {"admin"}

    def system_user_exists(self, user: Any) -> bool:
        return not user.name.startswith("dne")

    async def authenticate(self, handler: Any, data: Any) -> Any:
        try:
            mock_authenticate(data["username"], data["password"])
            mock_check_account(data["username"])
        except pamela.PAMError:
            return None
        return data["username"]

    async def is_admin(self, handler: Any, authentication: Any) -> Any:
        return True if authentication["name"] in self.admin_users else None


class MockSpawner(SimpleLocalProcessSpawner):
    """Starts ``jupyterhub.tests.mocksu``, in a folder that exists."""

    @default("cmd")
    def _mock_server(self) -> list[str]:
        return [sys.executable, "-m", "jupyterhub.tests.mocksu"]

    @default("home_dir_template")
    def _some_folder(self) -> str:
        return tempfile.gettempdir()


class SlowSpawner(MockSpawner):
    """Takes its time."""

    delay: float = 2

    async def start(self) -> Any:
        result = await super().start()
        await asyncio.sleep(self.delay)
        return result

    async def stop(self, now: bool = False) -> None:
        await asyncio.sleep(self.delay)
        await super().stop(now)


class NeverSpawner(MockSpawner):
    """Never gets there."""

    @default("start_timeout")
    def _soon(self) -> int:
        return 1

    async def start(self) -> Any:
        await asyncio.Event().wait()

    async def stop(self, now: bool = False) -> None:
        return

    async def poll(self) -> int | None:
        return 0


class BadSpawner(MockSpawner):
    """Fails."""

    async def start(self) -> Any:
        raise RuntimeError("I don't work!")


class SlowBadSpawner(MockSpawner):
    """Fails after a while."""

    async def start(self) -> Any:
        await asyncio.sleep(2)
        raise RuntimeError("I don't work!")


class FormSpawner(MockSpawner):
    """Has a form with one field of each kind."""

    options_form = "IMAFORM"

    def options_from_form(self, form_data: Any) -> dict[str, Any]:
        options: dict[str, Any] = {"notspecified": 5}
        if "bounds" in form_data:
            options["bounds"] = [int(value) for value in form_data["bounds"]]
        if "energy" in form_data:
            options["energy"] = form_data["energy"][0]
        if "hello_file" in form_data:
            options["hello"] = form_data["hello_file"][0]
        if "illegal_argument" in form_data:
            raise ValueError("You are not allowed to specify 'illegal_argument'")
        return options


class InstrumentedSpawner(MockSpawner):
    """Says whether it runs as the test wants it."""

    poll_interval = 0
    _is_running = True

    async def poll(self) -> int | None:
        return await super().poll() if self._is_running else 0

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        yield {"progress": 50, "message": "instrumented"}


class MockHub(JupyterHub):
    """A whole hub with proxy, on free ports and a database of its own, in the event loop of the test.

    ``await initialize()``, ``await start()``, ``await stop()``. The configuration is what is given to the constructor;
    no file is read, no signal handled. ``db`` blocks in tests and waits in the plugin's own code (docs/plugins.md).
    """

    test_user_name = Unicode("user")
    config_folder = Unicode()
    users_of_test = Dict()
    http_server: Any = None
    db_query_count = 0

    _running: RunningHub | None = None
    _ending: Ending | None = None
    _store: Store | None = None
    _task: asyncio.Task[int] | None = None

    @default("config_folder")
    def _own_folder(self) -> str:
        return tempfile.mkdtemp(prefix="mockhub-")

    @default("db_url")
    def _own_database(self) -> str:
        return os.environ.get("JUPYTERHUB_TEST_DB_URL") or f"sqlite:///{self.config_folder}/jupyterhub.sqlite"

    @default("cookie_secret_file")
    def _own_secret(self) -> str:
        return f"{self.config_folder}/cookie_secret"

    @default("bind_url")
    def _odd_prefix(self) -> str:
        prefix = self.config.get("JupyterHub", {}).get("base_url", "/@/space%20word/")
        return f"http://127.0.0.1:{random_port()}{prefix}"

    @default("hub_port")
    def _free_port(self) -> int:
        return random_port()

    @default("authenticator_class")
    def _mock_pam(self) -> type[MockPAMAuthenticator]:
        return MockPAMAuthenticator

    @default("spawner_class")
    def _mock_spawner(self) -> type[MockSpawner]:
        return MockSpawner

    def load_config_file(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the configuration of a test is what it gives."""

    def init_db(self) -> None:
        """Open the database without a hub: ``db`` is an ordinary session."""
        self.session_factory = new_session_factory(self.db_url)
        self.db = self.session_factory()

    async def initialize(self, argv: list[str] | None = None) -> None:  # type: ignore[override]
        """Read the configuration and build the hub."""
        test = Config()
        if not any("allow_all" in self.config.get(name, {}) for name in list(self.config)):
            test.Authenticator.allow_all = True
        if "api_url" not in self.config.get("ConfigurableHTTPProxy", {}):
            test.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{random_port()}"
        test.ConfigurableHTTPProxy.pid_file = f"{self.config_folder}/proxy.pid"
        test.merge(self.config)
        self.update_config(test)
        super().initialize(argv or [])
        self._ending = Ending(asyncio.Event())
        self._store = await open_store(self)
        self._running = await build(self, settings_from(self), self._store, self._ending)

    async def start(self, argv: list[str] | None = None) -> None:  # type: ignore[override]
        """Start the hub and its proxy; give them when they serve."""
        running = self._running
        assert running is not None, "await initialize() first"
        self._task = asyncio.create_task(running.run(time.monotonic()), name="hub under test")
        ready = asyncio.create_task(running.started.wait())
        async with asyncio.timeout(LIMIT_S):
            await asyncio.wait({ready, self._task}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._task.done():
            self._task.result()
            raise RuntimeError("the hub has ended instead of starting")
        self.http_server = running.http_server
        add_user(self.db, self, name=self.test_user_name)

    async def shutdown_cancel_tasks(self, sig: Any = None) -> None:
        """End the hub with its proxy and servers."""
        if self._task is None or self._ending is None:
            return
        self._ending.ask()
        try:
            async with asyncio.timeout(LIMIT_S):
                await asyncio.wait({self._task})
        finally:
            self._task.cancel()
            self._task = None
            self.db.close()
            if self._store is not None:
                await self._store.close()

    def stop(self) -> asyncio.Task[None]:
        """End the hub; the task that it gives is done when everything is down."""
        return asyncio.ensure_future(self.shutdown_cancel_tasks())

    async def login_user(self, name: str) -> Any:
        """Log a user in through the login page; give the cookies."""
        base = public_url(self)
        login = base + "hub/login"
        page = await async_requests.get(login, headers={"Sec-Fetch-Mode": "navigate"})
        page.raise_for_status()
        answer = await async_requests.post(
            login,
            data={"username": name, "password": name, "_xsrf": page.cookies["_xsrf"]},
            cookies=page.cookies,
            allow_redirects=False,
            headers={"Sec-Fetch-Mode": "navigate"},
        )
        answer.raise_for_status()
        assert answer.status_code == 302, f"{name} was not let in"
        cookies = page.cookies
        cookies.update(answer.cookies)
        return cookies
