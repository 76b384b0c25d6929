"""What a deployment's own templates may change, and under which content security policy pages then are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from jupyterhub.hub.web.compat import BaseHandler
from jupyterhub.hub.web.entry import needs_login

from .conftest import Door, MakeDoor


class SpawnForm(BaseHandler):
    """The spawn page with what its handler gives it, without a spawner."""

    @needs_login
    async def get(self) -> None:
        await self.render_page(
            "spawn.html",
            for_user=self.user_view,
            spawner=None,
            spawner_options_form=self.get_argument("form", '<input name="size" value="small">'),
            error_message="",
            url="/hub/spawn?_xsrf=x",
        )


LOGO_AND_COLOURS = """{% extends "templates/page.html" %}
{% block stylesheet %}{{ super() }}
<link rel="stylesheet" href="https://cdn.example.org/brand.css">{% endblock %}
{% block logo %}
<a id="brand" href="{{ logo_url or base_url }}"><img src="https://cdn.example.org/logo.svg" alt="Uni"></a>
{% endblock %}
{% block footer %}<footer id="imprint">{{ greet }}</footer>
<script>window.seen = window.jhdata.base_url;</script>{% endblock %}"""

ANNOUNCEMENT = """{% extends "templates/login.html" %}
{% block announcement %}{{ super() }}<p id="maintenance">Closed on Monday</p>{% endblock %}"""

CHANGED_FORM = """{% extends "templates/spawn.html" %}
{% block heading %}<h1 id="ours">Your machine, {{ for_user.name }}</h1>{% endblock %}
{% block script %}{{ super() }}<script nonce="{{ csp_nonce }}">document.title = "x";</script>{% endblock %}"""


def policy(r: Any) -> str:
    return str(r.headers["Content-Security-Policy"])


async def door_with(make_door: MakeDoor, folder: Path, templates: dict[str, str], **variables: Any) -> Door:
    folder.mkdir()
    for name, text in templates.items():
        (folder / name).write_text(text)
    door = await make_door(template_paths=[str(folder)], handlers=[("/spawn-form", SpawnForm)])
    door.house.templates.template_vars = variables
    await door.add_user("ada")
    return door


async def test_logo_and_colours_of_a_deployment_are_on_every_page(make_door: MakeDoor, tmp_path: Path) -> None:
    door = await door_with(make_door, tmp_path / "own", {"page.html": LOGO_AND_COLOURS}, greet=lambda user: "dear all")
    page = await door.browser().get("/hub/login")
    assert 'id="brand"' in page.text and "jupyterhub-logo" not in page.text and "dear all" in page.text
    assert 'id="login_submit"' in page.text and "css/style.min.css?v=" in page.text
    missing = await door.browser().get("/hub/nowhere")
    assert missing.status_code in (302, 404) and 'id="brand"' in missing.text
    for r in (page, missing):
        assert "default-src" not in policy(r), "its scripts, styles and pictures come from wherever it likes"
        assert "frame-ancestors 'none'" in policy(r)


async def test_an_announcement_of_a_template_stands_beside_that_of_the_variable(
    make_door: MakeDoor, tmp_path: Path
) -> None:
    templates = {"login.html": ANNOUNCEMENT}
    door = await door_with(make_door, tmp_path / "own", templates, announcement="<b id='news'>x</b>")
    page = await door.browser().get("/hub/login")
    assert "id='news'" in page.text and 'id="maintenance"' in page.text


async def test_a_changed_spawn_form_keeps_form_options_and_scripts(make_door: MakeDoor, tmp_path: Path) -> None:
    door = await door_with(make_door, tmp_path / "own", {"spawn.html": CHANGED_FORM})
    ada = door.browser()
    await ada.login("ada")
    page = await ada.get("/hub/spawn-form")
    assert 'id="ours"' in page.text and 'id="spawn_form"' in page.text and 'name="size"' in page.text
    assert "default-src" not in policy(page)
    assert "default-src 'none'" in policy(await ada.get("/hub/nowhere")), "a page that is all ours"


async def test_a_deployment_may_have_the_strict_policy_with_templates_of_its_own(
    make_door: MakeDoor, tmp_path: Path
) -> None:
    door = await door_with(make_door, tmp_path / "own", {"spawn.html": CHANGED_FORM}, strict_csp=True)
    ada = door.browser()
    await ada.login("ada")
    page = await ada.get("/hub/spawn-form")
    nonces = set(re.findall(r'<script[^>]* nonce="([^"]+)"', page.text))
    assert len(nonces) == 1 and f"'nonce-{nonces.pop()}'" in policy(page)


async def test_packaged_pages_run_nothing_that_is_not_ours(door: Door) -> None:
    page = await door.browser().get("/hub/login")
    again = await door.browser().get("/hub/login")
    assert "unsafe" not in policy(page) and "script-src 'self' 'nonce-" in policy(page)
    assert policy(page) != policy(again), "nobody can know the next nonce"
    inline = re.findall(r"<script(?![^>]*\bsrc=)([^>]*)>", page.text)
    assert inline and all("nonce=" in attributes for attributes in inline)
    assert not re.search(r"<style\b|\sstyle=|\son[a-z]+=", page.text)


@pytest.mark.parametrize(
    ("form", "strict"),
    [
        ('<input name="size"> <b>bold</b>', True),
        ('<script>grow("x")</script>', False),
        ('<select name="x" onchange="y()"></select>', False),
        ('<p style="color: red">x</p>', False),
    ],
)
async def test_forms_of_plugins_keep_their_scripts_and_styles(make_door: MakeDoor, form: str, strict: bool) -> None:
    door = await make_door(handlers=[("/spawn-form", SpawnForm)])
    await door.add_user("ada")
    ada = door.browser()
    await ada.login("ada")
    page = await ada.get("/hub/spawn-form", params={"form": form})
    assert form in page.text
    assert ("default-src 'none'" in policy(page)) is strict


async def test_a_configured_policy_is_the_only_one(make_door: MakeDoor) -> None:
    door = await make_door(headers={"content-security-policy": "frame-ancestors https://portal.example"})
    for path in ("/hub/login", "/hub/nowhere"):
        assert policy(await door.browser().get(path)) == "frame-ancestors https://portal.example"


async def test_modules_import_each_other_at_addresses_that_may_be_kept_for_ever(door: Door) -> None:
    page = await door.browser().get("/hub/login")
    assert re.search(r'"/hub/static/js/api.js": "/hub/static/js/api.js\?v=[0-9a-f]{12}"', page.text)
    unversioned = re.findall(r'(?:src|href)="(/hub/static/[^"?]+)"', page.text)
    assert not unversioned
