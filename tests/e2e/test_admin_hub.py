"""Two parts of the admin page in a real browser: how the hubs are doing, and what is announced."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.axe import violations
from tests.support.browsers import ARTIFACTS
from tests.support.hubs import Hub

from .test_pages import CONFIG, MOST_BYTES, Visitor, tab_to

pytestmark = [pytest.mark.browser, pytest.mark.slow]


#: what sticks out of the window
WIDER = """(section) => [...document.querySelectorAll(section + ' *')]
  .filter((e) => e.getBoundingClientRect().right > window.innerWidth + 1).map((e) => e.outerHTML.slice(0, 80)).join()"""


@pytest.fixture(scope="module")
def hub(make_hub: Callable[..., Hub]) -> Hub:
    hub = make_hub(CONFIG).start()
    for name in ("ada", "bob", "fails"):
        hub.api("POST", f"users/{name}")
    hub.api("POST", "groups/physics", json={"users": ["ada"]})
    hub.api("POST", "users/fails/server", json={"fault": "1"})
    hub.api("POST", "users/bob/server")
    _starts_of_an_hour(hub)
    return hub


def _starts_of_an_hour(hub: Hub) -> None:
    """As many as a course makes: rows, as other hubs would have written them."""
    chance = random.Random(7)
    with closing(sqlite3.connect(hub.folder / "jupyterhub.sqlite", timeout=10)) as db, db:
        [now] = db.execute("SELECT max(minute) FROM jhx_starts").fetchone()
        rows = []
        for back in range(1, 58):
            for number in range(chance.randrange(0, 14) if 10 < back < 30 else chance.randrange(0, 4)):
                reason = "The node pool 'gpu' is full" if chance.random() < 0.05 else None
                rows.append((now - back, f"student{number}", "", 0.6 + chance.expovariate(0.5), reason))
        db.executemany(
            "INSERT INTO jhx_starts (minute, user_name, server_name, took_s, failure) VALUES (?,?,?,?,?)", rows
        )


@pytest.fixture
def admin(hub: Hub, chromium: Any) -> Iterator[Visitor]:
    visitor = Visitor(chromium, hub, "admin", viewport={"width": 1280, "height": 1600}).enter("admin")
    visitor.go("hub/admin?view=hub")
    yield visitor
    visitor.context.close()
    hub.api("PATCH", "notices", json={"announcement": None, "maintenance": None})


def looked_at(admin: Visitor, section: str, what: str) -> list[str]:
    """Look at a view wide and narrow, with what axe-core says of it."""
    page, found = admin.page, []
    for width in (1280, 360):
        page.set_viewport_size({"width": width, "height": 900})
        page.screenshot(path=str(ARTIFACTS / f"{what}-{width}.png"), full_page=True)
        found += violations(page)
        if wider := page.evaluate(WIDER, section):
            found.append(f"wider than {width}: {wider}")
    return found


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_status_and_notices_are_for_everyone(admin: Visitor, theme: str) -> None:
    page = admin.page
    page.emulate_media(color_scheme=theme)
    page.get_by_text("The node pool 'gpu' is full").click()
    found = looked_at(admin, "#hub-status", f"admin-hub-{theme}")
    page.get_by_role("link", name="Notices").click()
    page.get_by_role("heading", name="Announcement none").wait_for()
    found += looked_at(admin, "#hub-notices", f"admin-notices-{theme}")
    assert not found and not admin.problems


def test_the_status_follows_what_happens(hub: Hub, admin: Visitor) -> None:
    page = admin.page
    running = page.locator("#hub-figures > div", has_text="Servers running").locator("dd")
    expect(running).to_have_text("1")
    hub.api("POST", "users/ada/server")
    expect(running).to_have_text("2", timeout=15_000)
    hub.api("DELETE", "users/ada/server")
    expect(running).to_have_text("1", timeout=15_000)
    assert page.get_by_role("img", name="Starts per minute in the last hour").count() == 1
    assert page.locator("#hub-list li").count() == 1
    page.get_by_text("JupyterHubProxy").or_(page.locator("#hub-parts li").nth(1)).first.wait_for()


def test_an_announcement_is_put_up_changed_and_taken_back(hub: Hub, admin: Visitor, chromium: Any) -> None:
    page = admin.page
    page.get_by_role("link", name="Notices").click()
    page.get_by_role("heading", name="Announcement none").wait_for()
    form = page.get_by_role("form", name="Announcement")
    form.get_by_label("Text").fill("New images <b>today</b>: https://example.org/news")
    form.get_by_role("button", name="Put up").click()
    page.get_by_text("The announcement is up.").wait_for()
    banner = page.locator("body > .posted-announcement")
    expect(banner).to_contain_text("New images <b>today</b>")
    expect(banner.get_by_role("link")).to_have_attribute("href", "https://example.org/news")
    other = Visitor(chromium, hub, "ada").enter()
    expect(other.page.locator("body > .posted-announcement")).to_contain_text("New images")
    other.context.close()
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("It is as it was.").wait_for()
    expect(banner).to_have_count(0)
    assert hub.api("GET", "notices").json()["announcement"] is None
    assert not admin.problems


def test_maintenance_by_keyboard_keeps_people_from_starting(hub: Hub, admin: Visitor, chromium: Any) -> None:
    page = admin.page
    page.get_by_role("link", name="Notices").click()
    page.get_by_role("heading", name="Maintenance off").wait_for()
    page.get_by_label("What people read").focus()
    page.keyboard.type("New disks.")
    page.keyboard.press("Tab")
    page.keyboard.type("bob")
    tab_to(page, "Begin maintenance")
    page.keyboard.press("Enter")
    page.get_by_text("Maintenance has begun").wait_for()
    admin.look("admin-maintenance-light-1280")
    assert not violations(page)
    refused = hub.api("POST", "users/ada/server")
    assert refused.status_code == 503 and "New disks." in refused.json()["message"]
    ada = Visitor(chromium, hub, "ada").enter()
    ada.page.goto(f"{hub.url}hub/spawn")
    expect(ada.page.locator("main")).to_contain_text("No servers can be started at the moment. New disks.")
    expect(ada.page.locator("body > .posted-maintenance")).to_be_visible()
    ada.look("maintenance-spawn-light-1280")
    assert not violations(ada.page)
    ada.context.close()
    page.get_by_role("button", name="End maintenance").click()
    page.get_by_text("Maintenance is over.").wait_for()
    assert hub.api("POST", "users/ada/server").status_code in (201, 202)
    assert not admin.problems


def test_a_name_that_nobody_has_is_told_and_what_was_typed_stays(admin: Visitor) -> None:
    page = admin.page
    page.get_by_role("link", name="Notices").click()
    page.get_by_role("heading", name="Maintenance off").wait_for()
    page.get_by_label("What people read").fill("New disks.")
    page.get_by_label("Users who may start servers all the same").fill("nobdy")
    page.get_by_role("button", name="Begin maintenance").click()
    page.get_by_role("alert").filter(has_text="There is nobody called 'nobdy'").wait_for()
    expect(page.get_by_label("What people read")).to_have_value("New disks.")


@pytest.mark.parametrize("view", ["hub", "notices"])
def test_a_first_visit_is_small(hub: Hub, admin: Visitor, chromium: Any, view: str) -> None:
    context = chromium.new_context(storage_state=admin.context.storage_state())
    page, responses = context.new_page(), []
    page.on("response", lambda response: responses.append(response))
    page.goto(f"{hub.url}hub/admin?view={view}")
    page.locator("#admin-view[data-loaded]").wait_for()
    sizes = {r.url.rpartition("/")[2]: r.request.sizes()["responseBodySize"] for r in responses}
    context.close()
    assert sum(sizes.values()) < MOST_BYTES, sizes
