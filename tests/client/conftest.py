"""A stub hub, and servers that talk to it."""

import os

import pytest

from .single_user import SingleUser
from .stub_hub import StubHub, model


@pytest.fixture(scope="session")
def hub():
    with StubHub().running() as hub:
        yield hub


@pytest.fixture(autouse=True)
def _a_working_hub(hub):
    hub.broken = None
    hub.login_as = model("ada", ["access:servers!user=ada"])
    hub.tokens["adas-token-0123456789"] = hub.login_as
    hub.tokens["bobs-token-0123456789"] = model("bob", ["access:servers!user=bob"])
    yield
    hub.broken = None


@pytest.fixture
def start(hub, tmp_path):
    """Start a single-user server in an empty home directory; stopped after the test."""
    started = []

    def start(*arguments, **kwargs):
        started.append(SingleUser(hub, tmp_path, *arguments, **kwargs))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def server(hub, tmp_path_factory):
    """The one that most tests share."""
    server = SingleUser(
        hub,
        tmp_path_factory.mktemp("home"),
        environment={"JUPYTERHUB_ACTIVITY_INTERVAL": "1", "JUPYTERHUB_DEFAULT_URL": "/lab"},
    )
    try:
        server.wait_until_it_answers()
        yield server
    finally:
        server.stop()


@pytest.fixture
def no_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("JUPYTERHUB_", "JPY_")):
            monkeypatch.delenv(name)


@pytest.fixture
def fresh_singletons():
    """``HubAuth.instance()`` is one per process; each test gets its own."""
    from jupyterhub.services.auth import HubAuth, HubOAuth

    def clear():
        for cls in (HubOAuth, HubAuth):
            cls.clear_instance()

    clear()
    yield
    clear()
