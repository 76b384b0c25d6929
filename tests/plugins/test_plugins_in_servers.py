"""Real extensions of Jupyter Server in the single-user server: reached through hub and proxy, with the hub's login."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.hubs import PASSWORD, Hub, free_ports
from tests.support.waiting import wait_until

from .test_plugins_spawners import start
from .visitors import Visitor

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hub(plugins_bin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with one running server, whose owner is ada."""
    hub = Hub(tmp_path_factory.mktemp("hub"), bin=plugins_bin)
    hub.start()
    start(hub, "ada")
    yield hub
    hub.stop()


@pytest.fixture
def ada(hub: Hub) -> Iterator[Visitor]:
    with Visitor(hub) as visitor:
        visitor.log_in("ada", PASSWORD)
        visitor.visit("user/ada/api/status")
        yield visitor


def token_of(hub: Hub, user: str) -> str:
    text: str = hub.api("POST", f"users/{user}/tokens").json()["token"]
    return text


def test_nbgitpuller_fetches_a_repository(hub, ada, tmp_path):
    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments], cwd=tmp_path, check=True
        )

    git("init", "-q", "-b", "main")
    (tmp_path / "lesson.txt").write_text("hello")
    git("add", ".")
    git("commit", "-qm", "a lesson")
    page = ada.visit(f"user/ada/git-pull?repo={tmp_path}&branch=main&targetpath=course")
    assert page.status_code == 200 and "pull" in page.text.lower()
    headers = {"Authorization": f"token {token_of(hub, 'ada')}"}
    query = {"repo": str(tmp_path), "branch": "main", "targetpath": "course", "depth": "0"}
    with httpx.stream("GET", f"{hub.url}user/ada/git-pull/api", params=query, headers=headers, timeout=60) as events:
        told = "".join(events.iter_text())
    assert '"phase": "finished"' in told, told
    lesson = httpx.get(f"{hub.url}user/ada/api/contents/course/lesson.txt", headers=headers)
    assert lesson.json()["content"] == "hello"


def test_server_proxy_leads_to_what_listens_beside_the_server(hub, ada, tmp_path):
    (tmp_path / "index.html").write_text("an app of ada's")
    [port] = free_ports(1)
    app = subprocess.Popen(["python3", "-m", "http.server", "--bind", "127.0.0.1", str(port)], cwd=tmp_path)
    try:
        path = f"user/ada/proxy/{port}/index.html"
        wait_until(lambda: ada.visit(path).text == "an app of ada's", within_s=15, what="the app through the proxy")
        with Visitor(hub) as stranger:
            stranger.visit(path)
            assert stranger.page is not None and "hub/login" in str(stranger.page.url)
    finally:
        app.terminate()
        app.wait(10)


def test_collaboration_opens_a_session(hub):
    headers = {"Authorization": f"token {token_of(hub, 'ada')}"}
    contents = f"{hub.url}user/ada/api/contents/shared.txt"
    made = httpx.put(contents, json={"type": "file", "format": "text", "content": "hi"}, headers=headers)
    assert made.status_code in (200, 201), made.text
    session = httpx.put(
        f"{hub.url}user/ada/api/collaboration/session/shared.txt",
        json={"format": "text", "type": "file"},
        headers=headers,
    )
    assert session.status_code in (200, 201), session.text
    assert session.json()["sessionId"] and session.json()["fileId"]
    me = httpx.get(f"{hub.url}user/ada/api/me", headers=headers).json()
    assert me["identity"]["username"] == "ada"
