"""The pages of people, in a real browser: each state by keyboard and mouse, in both themes, wide and narrow."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.axe import violations
from tests.support.hubs import Hub
from tests.support.waiting import wait_until

from .test_journey import Person

pytestmark = [pytest.mark.browser, pytest.mark.slow]

#: what a page may take on a first visit, without pictures
MOST_BYTES = 60 * 1024

#: Servers are quick and do nothing. Those of users with a file hold-NAME wait until it is gone.
CONFIG = """
import asyncio, sys
from pathlib import Path
from jupyterhub.spawner import SimpleLocalProcessSpawner

class Held(SimpleLocalProcessSpawner):
    async def start(self):
        await self.held()
        if self.user_options.get("fault"):
            error = RuntimeError("secret")
            error.jupyterhub_message = "The disk is full. Ask the help desk."
            raise error
        return await super().start()
    async def held(self):
        while Path(f"hold-{self.user.name}").exists():
            await asyncio.sleep(0.02)
    async def progress(self):
        yield {"progress": 40, "message": "Looking for a node"}
    async def stop(self, now=False):
        await self.held()
        await super().stop(now)

def profiles(spawner):
    if not spawner.user.name.startswith("chooser"):
        return []
    memory = {"display_name": "Memory", "attribute": "mem_limit", "default": "2G", "pattern": "[0-9]+[MG]",
              "message": "A number and M or G", "description": "At most 64G"}
    image = {"display_name": "Image", "choices": {"torch": {"display_name": "PyTorch"}, "jax": {"display_name": "JAX"}}}
    return [
        {"display_name": "Small", "description": "2 CPUs"},
        {"slug": "gpu", "display_name": "GPU", "profile_options": {"image": image, "memory": memory}},
    ]

c.JupyterHub.spawner_class = Held
c.Spawner.profile_list = profiles
c.JupyterHub.allow_named_servers = True
c.JupyterHub.named_server_limit_per_user = 5
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0.1, "slow_stop_timeout": 0.1}
c.JupyterHub.load_groups = {"physics": {"users": ["ada"]}}
c.JupyterHub.load_roles[0]["scopes"] += ["shares"]
c.JupyterHub.load_roles.append({"name": "user", "scopes": [
    "self", "shares!user", "list:users", "list:groups", "read:users:name", "read:groups:name"]})
"""


class Visitor(Person):
    """A person who logs in to the home page, and collects what the browser complains about."""

    def __init__(self, browser: Any, hub: Hub, name: str, **options: Any) -> None:
        super().__init__(browser, hub, name)
        self.context.close()
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self._note("error", str(error)))
        self.page.on("console", lambda message: self._note(message.type, message.text))

    def _note(self, kind: str, text: str) -> None:
        # not those of JupyterLab; and that a page answers 404 is what the page says, too
        if "/hub/" in self.page.url and kind in ("error", "warning") and "Failed to load resource" not in text:
            self.problems.append(text)

    def enter(self, path: str = "home") -> Visitor:
        self.page.goto(f"{self.hub.url}hub/login?next=/hub/{path}")
        self.page.get_by_label("Username").fill(self.name)
        self.page.get_by_label("Password").fill(self.password)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(f"{self.hub.url}hub/{path}")
        return self

    def go(self, path: str) -> None:
        self.page.goto(self.hub.url + path)


@pytest.fixture(scope="module")
def hub(make_hub: Callable[..., Hub]) -> Hub:
    return make_hub(CONFIG).start()


@pytest.fixture
def hold(hub: Hub) -> Iterator[Callable[[str], Path]]:
    """Holds the starts and stops of a user until the file is removed, or the test ends."""
    held: list[Path] = []

    def hold(name: str) -> Path:
        path = hub.folder / f"hold-{name}"
        path.touch()
        held.append(path)
        return path

    yield hold
    for path in held:
        path.unlink(missing_ok=True)


def ready(hub: Hub, name: str, server: str = "") -> None:
    wait_until(lambda: (hub.server(name, server) or {}).get("ready"), what=f"{name}'s server")


# -- all pages, all states


@pytest.fixture(scope="module")
def furnished(hub: Hub) -> Hub:
    """People in all states."""
    for name in ("ada", "bob", "fails", "waits", "stops", "new", "chooser"):
        hub.api("POST", f"users/{name}")
    hub.api("PUT", "users/ada/servers/gpu", json={"display_name": "GPU for the thesis"})
    hub.api("PUT", "users/ada/servers/course", json={"display_name": "Course"})
    hub.api("POST", "users/ada/servers/course", json={"fault": "1"})
    for name in ("ada", "bob", "stops"):
        hub.api("POST", f"users/{name}/server", json={"cpu": "2", "image": ["scipy", "r"]})
        ready(hub, name)
    hub.api("POST", "shares/bob/", json={"user": "ada"})
    hub.api("POST", "shares/ada/", json={"group": "physics"})
    hub.api("POST", "share-codes/ada/", json={"expires_in": 86400})
    hub.api("POST", "users/ada/tokens", json={"note": "nightly", "scopes": ["read:users!user=ada"], "expires_in": 9999})
    hub.api("POST", "users/fails/server", json={"fault": "1"})
    return hub


def wrong_login(visitor: Visitor) -> None:
    visitor.page.get_by_label("Username").fill("ada")
    visitor.page.get_by_label("Password").fill("wrong")
    visitor.page.get_by_role("button", name="Sign in").click()
    visitor.page.get_by_text("Invalid username or password").wait_for()


def open_menu(visitor: Visitor) -> None:
    visitor.page.locator(".server summary.button").nth(1).click()
    visitor.page.get_by_role("button", name="Delete…").wait_for()


def open_sharing(visitor: Visitor) -> None:
    visitor.page.locator(".server summary.button").first.click()
    visitor.page.get_by_role("button", name="Share…").first.click()
    visitor.page.get_by_role("button", name="Revoke group physics").wait_for()


def limit_token(visitor: Visitor) -> None:
    visitor.page.get_by_label("Only some of it").check()
    visitor.page.get_by_text("Finer permissions").click()


def wrong_choice(visitor: Visitor) -> None:
    visitor.page.get_by_label("GPU").check()
    visitor.page.get_by_label("Memory").fill("lots")
    visitor.page.get_by_role("button", name="Start").click()
    visitor.page.locator(".field-error").wait_for()


def seen(text: str) -> Callable[[Visitor], None]:
    return lambda visitor: visitor.page.get_by_text(text).first.wait_for()


#: name → who, path, what is done there before the look
STATES: dict[str, tuple[str, str, Callable[[Visitor], None] | None]] = {
    "login": ("", "hub/login", None),
    "login-wrong": ("", "hub/login", wrong_login),
    "home": ("ada", "hub/home", None),
    "home-menu": ("ada", "hub/home", open_menu),
    "home-share": ("ada", "hub/home", open_sharing),
    "home-first": ("new", "hub/home", None),
    "spawn": ("chooser", "hub/spawn", None),
    "spawn-wrong": ("chooser", "hub/spawn", wrong_choice),
    "spawn-pending": ("waits", "hub/spawn-pending/waits", seen("Looking for a node")),
    "spawn-failed": ("fails", "hub/spawn-pending/fails", seen("The disk is full")),
    "stop-pending": ("stops", "hub/spawn-pending/stops", None),
    "not-running": ("new", "user/new/lab", None),
    "tokens": ("ada", "hub/token", None),
    "tokens-limited": ("ada", "hub/token", limit_token),
    "accept-share": ("new", "SHARE", None),
    "not-found": ("ada", "hub/nowhere", None),
    "forbidden": ("ada", "hub/admin", None),
}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_in_every_state_is_for_everyone(
    furnished: Hub, chromium: Any, hold: Callable[[str], Path], theme: str
) -> None:
    """axe-core finds nothing, nothing sticks out at 360 px, the policy blocks nothing, and a first visit is small."""
    hub = furnished
    hold("waits"), hold("stops")
    hub.api("POST", "users/waits/server")
    hub.api("DELETE", "users/stops/server")
    share = hub.api("POST", "share-codes/ada/").json()["accept_url"].lstrip("/")
    wrong: dict[str, Any] = {}
    logins: dict[str, Any] = {}
    for name, (who, path, act) in STATES.items():
        if who and who not in logins:
            visitor = Visitor(chromium, hub, who).enter()
            logins[who] = visitor.context.storage_state()
            visitor.context.close()
        visitor = Visitor(
            chromium,
            hub,
            who,
            storage_state=logins.get(who),
            color_scheme=theme,
            viewport={"width": 1280, "height": 800},
        )
        sizes: list[int] = []
        visitor.page.on("response", lambda r, sizes=sizes: sizes.append(size_of(r)))
        visitor.go(share if path == "SHARE" else path)
        found = [f"{sum(sizes)} bytes"] if sum(sizes) > MOST_BYTES else []
        if act is not None:
            act(visitor)
        visitor.look(f"{name}-{theme}-1280")
        # what is where does not depend on the theme
        found += violations(visitor.page, only="color-contrast" if theme == "dark" else "")
        visitor.page.set_viewport_size({"width": 360, "height": 800})
        visitor.look(f"{name}-{theme}-360")
        if visitor.page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
            found.append("wider than a small screen")
        if theme == "light":
            found += violations(visitor.page)
        if found or visitor.problems:
            wrong[name] = [*found, *visitor.problems]
        visitor.context.close()
    hub.api("DELETE", "users/waits/server")
    assert not wrong


def test_pages_fit_and_can_be_read_in_german_with_high_contrast(furnished: Hub, chromium: Any) -> None:
    """Longer words, on a small screen, with more contrast and without motion."""
    visitor = Visitor(
        chromium,
        furnished,
        "ada",
        locale="de-DE",
        contrast="more",
        reduced_motion="reduce",
        color_scheme="dark",
        viewport={"width": 360, "height": 800},
    )
    page = visitor.page
    visitor.go("hub/login?next=/hub/home")
    page.get_by_label("Benutzername").fill("ada")
    page.get_by_label("Passwort").fill(visitor.password)
    page.get_by_role("button", name="Anmelden").click()
    page.get_by_role("button", name="Meinen Server anhalten").wait_for()
    for path, text in (("hub/home", "Benannte Server"), ("hub/token", "Andere Browser"), ("user/new/lab", "")):
        visitor.go(path)
        page.get_by_text(text).first.wait_for()
        assert page.evaluate("document.documentElement.lang") == "de"
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path
        assert violations(page) == []
        assert page.evaluate("document.getAnimations().length") == 0
        visitor.look(f"{path.replace('/', '-')}-german")
    visitor.go("hub/home")
    page.locator(".server summary.button").first.click()
    page.get_by_role("button", name="Teilen …").first.click()
    page.get_by_role("dialog", name="Ihren Server teilen").wait_for()
    assert violations(page) == [] and not visitor.problems


def size_of(response: Any) -> int:
    kind = response.request.resource_type
    if kind in ("image", "eventsource", "fetch") or response.status in range(300, 400):
        return 0
    return len(response.body())


def test_the_theme_is_switched_and_stays(hub: Hub, chromium: Any) -> None:
    visitor = Visitor(chromium, hub, "theme", color_scheme="light").enter()
    colour = "getComputedStyle(document.body).backgroundColor"
    light = visitor.page.evaluate(colour)
    visitor.page.get_by_role("button", name="Dark theme").click()
    dark = visitor.page.evaluate(colour)
    assert dark != light
    visitor.go("hub/token")
    assert visitor.page.evaluate(colour) == dark
    visitor.page.get_by_role("button", name="Light theme").wait_for()


# -- by keyboard alone


def tab_to(page: Any, name: str) -> None:
    """Go on with the Tab key until the element of this name has the focus."""
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(focused(page))
        if name in seen[-1]:
            return
    raise AssertionError(f"{name} cannot be reached by keyboard, but {seen}")


def focused(page: Any) -> str:
    script = "(document.activeElement.getAttribute('aria-label') || document.activeElement.innerText || '').trim()"
    return str(page.evaluate(script))


def test_the_whole_way_by_keyboard(furnished: Hub, chromium: Any) -> None:
    visitor = Visitor(chromium, furnished, "ada")
    page = visitor.page
    visitor.go("hub/login?next=/hub/home")
    page.keyboard.type("ada")
    page.keyboard.press("Tab")
    page.keyboard.type(visitor.password)
    page.keyboard.press("Enter")
    page.wait_for_url(furnished.url + "hub/home")
    page.wait_for_load_state()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip-link"
    page.keyboard.press("Enter")
    tab_to(page, "More for Your server")
    page.keyboard.press("Enter")
    tab_to(page, "Share…")
    page.keyboard.press("Enter")
    page.get_by_role("dialog", name="Share your server").wait_for()
    for _ in range(12):
        page.keyboard.press("Tab")
        inside = "!document.activeElement.closest('main, nav') || document.activeElement === document.body"
        assert page.evaluate(inside), "the focus stays in the dialog"
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    wait_until(lambda: "More for Your server" in focused(page), what="the focus where it was")
    tab_to(page, "More for GPU for the thesis")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Delete…").wait_for()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Delete…")).to_be_hidden()
    assert "GPU" in focused(page), "the focus is where it was"
    tab_to(page, "Start GPU for the thesis")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/user/ada/gpu|spawn-pending/ada/gpu"))
    ready(furnished, "ada", "gpu")
    furnished.api("DELETE", "users/ada/servers/gpu")
    assert not visitor.problems


# -- home


def test_servers_are_made_stopped_and_deleted_from_home(hub: Hub, chromium: Any) -> None:
    visitor = Visitor(chromium, hub, "maker").enter()
    page = visitor.page
    page.get_by_label("New server").fill("Größe: 2 GPUs!")
    page.get_by_role("button", name="Add new server").click()
    wait_until(lambda: (hub.server("maker", "gro-e-2-gpus") or {}).get("ready"), what="the new server")
    visitor.go("hub/home")
    page.get_by_role("button", name="Stop Größe: 2 GPUs!").click()
    page.get_by_role("link", name="Start Größe: 2 GPUs!").wait_for()
    page.get_by_label("More for Größe").or_(page.locator("[data-server-name=gro-e-2-gpus] summary.button")).click()
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Größe: 2 GPUs!")).to_have_count(0)
    assert not visitor.problems


def test_home_notices_what_happens_elsewhere(hub: Hub, chromium: Any) -> None:
    visitor = Visitor(chromium, hub, "watcher").enter()
    hub.api("POST", "users/watcher/server")
    ready(hub, "watcher")
    visitor.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    visitor.page.get_by_role("link", name="Open my server").wait_for()
    hub.api("DELETE", "users/watcher/server")


# -- the form


def test_a_refused_choice_is_explained_where_it_was_made_and_remembered_once_it_works(hub: Hub, chromium: Any) -> None:
    visitor = Visitor(chromium, hub, "chooser2").enter("spawn")
    page = visitor.page
    expect(page.get_by_label("Memory")).to_be_hidden()
    page.get_by_label("GPU").check()
    page.get_by_label("Image").select_option("jax")
    page.get_by_label("Memory").fill("lots")
    page.get_by_role("button", name="Start").click()
    memory = page.get_by_label("Memory")
    expect(memory).to_be_focused()
    expect(memory).to_have_value("lots")
    expect(memory).to_have_accessible_description("At most 64G A number and M or G")
    expect(page.get_by_label("Image")).to_have_value("jax")
    memory.fill("3G")
    expect(page.locator(".field-error")).to_have_count(0)
    page.get_by_role("button", name="Start").click()
    ready(hub, "chooser2")
    assert hub.server("chooser2")["user_options"] == {"profile": "gpu", "image": "jax", "memory": "3G"}  # type: ignore[index]
    hub.api("DELETE", "users/chooser2/server")
    wait_until(lambda: hub.server("chooser2") is None, what="the end of the server")
    visitor.go("hub/spawn")
    expect(page.get_by_label("GPU")).to_be_checked()
    expect(page.get_by_label("Memory")).to_have_value("3G")
    visitor.go("hub/spawn?opt-profile=small")
    ready(hub, "chooser2")
    assert hub.server("chooser2")["user_options"] == {"profile": "small"}  # type: ignore[index]
    hub.api("DELETE", "users/chooser2/server")
    assert not visitor.problems


# -- following a start


def test_a_start_is_followed_while_the_hub_is_killed_and_comes_back(
    make_hub: Callable[..., Hub], chromium: Any
) -> None:
    hub = make_hub(CONFIG).start()
    gate = hub.folder / "hold-lost"
    gate.touch()
    visitor = Visitor(chromium, hub, "lost").enter()
    visitor.go("hub/spawn")
    page = visitor.page
    page.get_by_text("Looking for a node").first.wait_for()
    expect(page).to_have_title(re.compile("^40 %"))
    hub.kill()
    page.get_by_text("The hub cannot be reached").wait_for(timeout=30_000)
    expect(page).to_have_title(re.compile("Waiting for the hub"))
    hub.start()
    expect(page.get_by_text("The hub cannot be reached")).to_be_hidden(timeout=30_000)
    gate.unlink()
    page.wait_for_url(re.compile("/user/lost/"), timeout=30_000)


def test_a_start_can_be_cancelled_and_one_that_failed_says_why(
    hub: Hub, chromium: Any, hold: Callable[[str], Path]
) -> None:
    gate = hold("waverer")
    visitor = Visitor(chromium, hub, "waverer").enter()
    visitor.go("hub/spawn")
    page = visitor.page
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("heading", name="The start was cancelled.").wait_for(timeout=20_000)
    expect(page).to_have_title(re.compile("Cancelled"))
    expect(page.get_by_role("link", name="Try again")).to_be_focused()
    visitor.go("hub/spawn?opt-fault=1")
    page.get_by_text("Looking for a node").first.wait_for()
    gate.unlink()
    page.get_by_role("heading", name="Your server did not start.").wait_for(timeout=20_000)
    expect(page.get_by_role("status").first).to_contain_text("The disk is full")
    expect(page).to_have_title(re.compile("Start failed"))


# -- tokens and sessions


def test_a_token_is_limited_described_and_revoked(hub: Hub, chromium: Any) -> None:
    visitor = Visitor(chromium, hub, "tokens").enter("token")
    page = visitor.page
    page.get_by_label("Note").fill("nightly report")
    page.get_by_label("Only some of it").check()
    page.get_by_role("checkbox", name=re.compile("^Start, stop and read servers")).check()
    page.get_by_role("button", name="Request new API token").click()
    page.locator("#token-area").wait_for()
    secret = page.locator("#token-result").inner_text()
    row = page.get_by_role("row", name=re.compile("nightly report"))
    expect(row).to_contain_text("Start, stop and read servers")
    model = hub.api("GET", "users/tokens/tokens").json()["api_tokens"]
    [scopes] = [token["scopes"] for token in model if token["note"] == "nightly report"]
    assert "servers!user=tokens" in scopes and not any("tokens!" in scope.split("user")[0] for scope in scopes)
    page.get_by_role("button", name="Revoke nightly report").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(row).to_have_count(0)
    assert page.locator("#token-result").inner_text() == secret, "it is shown only once, and stays until one leaves"
    assert not visitor.problems


def test_other_browsers_are_logged_out_and_this_one_is_not(hub: Hub, chromium: Any) -> None:
    here, elsewhere = (Visitor(chromium, hub, "twice").enter() for _ in range(2))
    here.go("hub/token")
    here.page.get_by_role("button", name="End all other sessions").click()
    here.page.get_by_role("dialog").get_by_role("button", name="End them").click()
    here.page.get_by_text("All other sessions have ended.").wait_for()
    here.page.reload()
    here.page.get_by_role("heading", name="Tokens", exact=True).wait_for()
    elsewhere.page.goto(hub.url + "hub/home")
    elsewhere.page.get_by_label("Username").wait_for()
    assert not here.problems


# -- sharing


def test_a_server_is_shared_by_link_used_and_taken_back(hub: Hub, chromium: Any) -> None:
    owner, guest = Visitor(chromium, hub, "owner").enter(), Visitor(chromium, hub, "guest").enter()
    hub.api("POST", "users/owner/server")
    ready(hub, "owner")
    owner.page.reload()
    owner.page.locator(".server summary.button").first.click()
    owner.page.get_by_role("button", name="Share…").first.click()
    dialog = owner.page.get_by_role("dialog")
    dialog.get_by_text("Nobody but you.").wait_for()
    dialog.get_by_label("Share with").select_option("link")
    dialog.get_by_role("button", name="Make a link").click()
    link = dialog.get_by_label("The link, shown only now")
    expect(link).to_have_value(re.compile(f"^{hub.origin}/hub/accept-share"))
    guest.page.goto(link.input_value())
    guest.page.get_by_role("button", name="Accept").click()
    guest.page.wait_for_url(re.compile("/user/owner/|oauth2/authorize"))
    guest.go("hub/home")
    guest.page.get_by_role("article", name="owner").wait_for()
    owner.page.keyboard.press("Escape")
    owner.page.locator(".server summary.button").first.click()
    owner.page.get_by_role("button", name="Share…").first.click()
    dialog.get_by_role("button", name="Revoke guest").click()
    expect(dialog.get_by_role("button", name="Revoke guest")).to_have_count(0)
    dialog.get_by_label("Share with").select_option("user")
    dialog.get_by_label("User name").fill("no-such-user")
    dialog.get_by_role("button", name="Share", exact=True).click()
    expect(dialog.get_by_role("alert")).to_be_visible()
    guest.go("hub/home")
    expect(guest.page.get_by_role("article", name="owner")).to_have_count(0)
    hub.api("DELETE", "users/owner/server")
    assert not owner.problems and not guest.problems
