"""The main job, as a person does it: log in, get JupyterLab, run a cell, stop, log out; in a real browser."""

from __future__ import annotations

import pwd
import re
from collections.abc import Callable
from typing import Any

import playwright.sync_api
import pytest

from tests.support.browsers import ARTIFACTS
from tests.support.hubs import PASSWORD, Hub
from tests.support.system_users import readable_singleuser, system_users
from tests.support.waiting import wait_until

__all__ = ["system_users"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]


class Person:
    """Somebody at a browser. Every page they look at closely is kept as a picture."""

    #: what waiting for something on a page raises when it does not come
    Late = playwright.sync_api.TimeoutError

    def __init__(self, browser: Any, hub: Hub, name: str, password: str = PASSWORD) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 800})
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.hub, self.name, self.password = hub, name, password

    def look(self, what: str) -> None:
        ARTIFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=str(ARTIFACTS / f"{what}.png"))

    def log_in(self) -> None:
        self.page.goto(self.hub.url)
        self.page.get_by_label("Username").fill(self.name)
        self.page.get_by_label("Password").fill(self.password)
        self.page.get_by_role("button", name="Sign in").click()

    def wait_for_lab(self) -> None:
        self.page.wait_for_url(re.compile(rf"/user/{self.name}/lab"), timeout=60_000)
        self.page.wait_for_selector(".jp-Launcher, .jp-NotebookPanel", timeout=60_000)

    def new_notebook(self) -> None:
        self.page.locator('.jp-LauncherCard[data-category="Notebook"]').first.click()
        self.page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell", timeout=30_000)
        # the kernel is connected when the panel says that it is idle
        self.page.wait_for_selector('.jp-NotebookPanel-toolbar [data-status="idle"]', timeout=60_000)

    def run(self, code: str, cell: int) -> str:
        """Type into a cell, run it, and give its output.

        JupyterLab drops a run that is asked for in the moment in which it connects to the kernel, as a person would
        notice; so it is asked again.
        """
        box = self.page.locator(".jp-NotebookPanel .jp-CodeCell").nth(cell)
        editor, output = box.locator(".cm-content"), box.locator(".jp-OutputArea-output pre")
        editor.click()
        self.page.keyboard.insert_text(code)
        wait_until(lambda: str(editor.inner_text()).strip() == code, what=f"{code!r} in the cell")
        for _ in range(3):
            editor.click()
            self.page.keyboard.press("Shift+Enter")
            try:
                output.first.wait_for(timeout=20_000)
                break
            except self.Late:
                self.look(f"no-output-{cell}")
        return str(output.first.inner_text()).strip()


#: a start that takes a moment: on a quick machine the progress page would be gone before anybody sees it
UNHURRIED = """
import asyncio
c.Spawner.default_url = "/lab"
c.Spawner.pre_spawn_hook = lambda spawner: asyncio.sleep(4)
"""


def test_a_day_in_jupyterlab_which_does_not_notice_that_the_hub_was_killed(
    make_hub: Callable[..., Hub], chromium: Any
) -> None:
    hub = make_hub(UNHURRIED).start()
    ada = Person(chromium, hub, "ada")
    ada.page.goto(hub.url)
    ada.look("login")
    ada.log_in()
    ada.page.get_by_role("heading", name="Your server is starting up.").wait_for(timeout=20_000)
    ada.look("spawn-pending")
    ada.wait_for_lab()
    ada.new_notebook()
    assert ada.run("print(6*7)", 0) == "42"
    ada.look("jupyterlab")

    hub.kill()
    assert ada.run("print(6*8)", 1) == "48", "the kernel's WebSocket goes through the proxy, which lives on"
    hub.start()
    wait_until(lambda: (hub.server("ada") or {}).get("ready"), within_s=30, what="ada's server taken over")
    assert ada.run("print(6*9)", 2) == "54"

    ada.page.goto(hub.url + "hub/home")
    ada.look("home")
    ada.page.get_by_role("button", name="Stop my server").click()
    ada.page.get_by_role("link", name="Start my server").wait_for(timeout=60_000)
    ada.look("home-stopped")
    ada.page.goto(hub.url + "user/ada/lab")
    ada.page.get_by_role("heading", name="Server not running").wait_for()
    ada.look("not-running")
    ada.page.get_by_role("link", name="Log out").click()
    ada.page.get_by_label("Username").wait_for()
    ada.page.goto(hub.url + "user/ada/lab")
    ada.page.get_by_label("Username").wait_for()
    ada.page.goto(hub.url + "hub/no-such-page")
    ada.look("not-found")
    assert not ada.problems


def test_a_failed_start_says_so_and_can_be_tried_again(make_hub: Callable[..., Hub], chromium: Any) -> None:
    hub = make_hub(
        """
from jupyterhub.spawner import SimpleLocalProcessSpawner
import asyncio, os
class Broken(SimpleLocalProcessSpawner):
    async def start(self):
        await asyncio.sleep(2)
        error = RuntimeError("no disk 17")
        error.jupyterhub_message = "The disk is full. Ask the help desk."
        raise error
    async def progress(self):
        yield {"progress": 20, "message": "looking for a disk"}
c.JupyterHub.spawner_class = Broken
"""
    ).start()
    bob = Person(chromium, hub, "bob")
    bob.log_in()
    bob.page.get_by_text("looking for a disk").first.wait_for(timeout=10_000)
    bob.page.get_by_role("link", name="Try again").wait_for(timeout=20_000)
    assert "The disk is full" in bob.page.locator("#progress-message").inner_text()
    bob.look("spawn-failed")
    bob.page.reload()
    bob.page.get_by_role("heading", name="The server did not start").wait_for()
    bob.look("not-running-failed")
    assert "no disk 17" not in bob.page.content()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_are_shown_in_both_themes(make_hub: Callable[..., Hub], chromium: Any, theme: str) -> None:
    hub = make_hub().start()
    cleo = Person(chromium, hub, "admin")
    cleo.page.emulate_media(color_scheme=theme)
    cleo.page.goto(hub.url)
    cleo.look(f"login-{theme}")
    cleo.page.goto(hub.url + "hub/login?next=/hub/home")
    cleo.page.get_by_label("Username").fill("admin")
    cleo.page.get_by_label("Password").fill(PASSWORD)
    cleo.page.get_by_role("button", name="Sign in").click()
    cleo.page.wait_for_url(re.compile("/hub/home"))
    for name in ("home", "token", "admin"):
        cleo.page.goto(f"{hub.url}hub/{name}")
        cleo.look(f"{name}-{theme}")
    assert not cleo.problems


PAM = """
c.JupyterHub.authenticator_class = "pam"
c.JupyterHub.spawner_class = "localprocess"
c.Spawner.cmd = [{singleuser!r}]
c.Spawner.args = []
c.Spawner.default_url = "/lab"
c.Spawner.environment = {{"JUPYTER_PREFER_ENV_PATH": "1"}}
"""


@pytest.mark.root
def test_two_people_of_the_system_log_in_by_pam_and_each_gets_a_server_of_their_own(
    make_hub: Callable[..., Hub], chromium: Any, system_users: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    singleuser = readable_singleuser()
    hub = make_hub(PAM.format(singleuser=singleuser)).start()
    for name, password in system_users.items():
        person = Person(chromium, hub, name, password)
        person.log_in()
        person.wait_for_lab()
        person.new_notebook()
        assert person.run("import getpass, os; print(getpass.getuser(), os.getuid(), os.getcwd())", 0) == (
            f"{name} {pwd.getpwnam(name).pw_uid} {pwd.getpwnam(name).pw_dir}"
        )
        person.look(f"pam-{name}")
        assert hub.api("DELETE", f"users/{name}/server").status_code in (202, 204)
    impostor = Person(chromium, hub, "jhx-eve", "not her password")
    impostor.log_in()
    impostor.page.get_by_text("Invalid username or password").wait_for(timeout=20_000)
    impostor.look("login-refused")
