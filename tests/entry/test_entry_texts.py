"""The pages' texts: which language a visitor gets, and that its catalogue is whole."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from jupyterhub.hub.web import texts
from tests.support.texts import used

from .conftest import Door, MakeDoor

CATALOGUES = sorted(texts.FOLDER.glob("*.po"))


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.stem)
def test_a_catalogue_has_all_texts_and_no_others(path: Path) -> None:
    """``python -m tests.support.texts`` adds what is missing and removes what is gone."""
    catalogue = texts.read(path)
    assert {text for text, said in catalogue.texts.items() if said} == set(used())


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.stem)
def test_a_translation_has_the_same_gaps_and_marks_as_the_text(path: Path) -> None:
    marks = re.compile(r"%\(\w+\)s|\{\w+\}|</?\w+[^>]*>")
    for text, said in texts.read(path).texts.items():
        assert sorted(marks.findall(text)) == sorted(marks.findall(said)), text


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("de-CH,de;q=0.9,en;q=0.8", "de"),
        ("fr,de;q=0.5", "de"),
        ("en-GB,de", "en"),
        ("de;q=0.1,en;q=0.2", "en"),
        ("de;q=0", "en"),
        ("fr", "en"),
        ("de;q=x, *", "en"),
        ("", "en"),
    ],
)
def test_the_most_wanted_language_that_there_is_counts(accepted: str, language: str) -> None:
    assert texts.best_for(accepted).language == language


async def test_the_browser_decides_the_language(door: Door) -> None:
    german = await door.browser().get("/hub/login", headers={"Accept-Language": "de-DE,de;q=0.9"})
    assert '<html lang="de">' in german.text and "Benutzername:" in german.text
    [kept] = re.findall(r'<script type="application/json" id="texts">(.*?)</script>', german.text)
    assert json.loads(kept)["Cancel"] == "Abbrechen"
    english = await door.browser().get("/hub/login")
    assert '<html lang="en">' in english.text and 'id="texts"' not in english.text
    missing = await door.browser().get("/hub/nowhere", headers={"Accept-Language": "de"})
    assert "Unter dieser Adresse gibt es nichts" in missing.text


async def test_a_deployment_may_have_one_language_for_all(make_door: MakeDoor, tmp_path: Path) -> None:
    door = await make_door(template_paths=[str(tmp_path)])
    door.house.templates.template_vars = {"lang": "en"}
    page = await door.browser().get("/hub/login", headers={"Accept-Language": "de"})
    assert '<html lang="en">' in page.text and "Username:" in page.text


async def test_what_is_filled_into_a_text_is_escaped(make_door: MakeDoor, tmp_path: Path) -> None:
    template = '{% extends "page.html" %}{% block main %}{{ _("Revoke %(name)s", name="<i>x</i>") }}{% endblock %}'
    (tmp_path / "404.html").write_text(template)
    door = await make_door(template_paths=[str(tmp_path)])
    page = await door.browser().get("/hub/nowhere", headers={"Accept-Language": "de"})
    assert "&lt;i&gt;x&lt;/i&gt; widerrufen" in page.text
