"""The texts of pages in the visitor's language: catalogues of gettext, one ``<language>.po`` each, read as they are.

Templates say ``_("…")``, handlers ``self.say("…")``, scripts ``t("…")``; the English text is the key. The browser's
language decides which catalogue is used. Tests hold that each catalogue is complete, and
``python -m tests.support.texts`` adds what is new to them.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import pass_context
from markupsafe import Markup

FOLDER = Path(__file__).parent / "translations"
ENGLISH = "en"

_LINE = re.compile(r'(msgid|msgstr)?\s*(".*")')


@dataclass(frozen=True)
class Catalogue:
    """English text → text in this language; "" where nobody has translated it yet."""

    language: str
    texts: Mapping[str, str] = field(default_factory=dict)
    #: those of them that scripts use
    of_scripts: frozenset[str] = frozenset()

    def say(self, text: str, **values: object) -> str:
        """Give a text with its ``%(name)s`` filled in."""
        said = self.texts.get(text) or text
        return said % values if values else said

    @property
    def gettext(self) -> Callable[..., str]:
        """What ``_`` and ``{% trans %}`` call: values are escaped, the texts themselves may hold HTML."""

        @pass_context
        def gettext(context: Any, text: str, **values: object) -> str:
            said = self.texts.get(text) or text
            return (Markup(said) if context.eval_ctx.autoescape else said) % values

        return gettext

    @property
    def for_scripts(self) -> Markup:
        """A JSON object for ``ui.js``; empty where there is nothing to translate."""
        texts = {text: self.texts[text] for text in sorted(self.of_scripts) if self.texts[text]}
        return Markup(json.dumps(texts, ensure_ascii=False).replace("<", "\\u003c")) if texts else Markup("")


def read(path: Path) -> Catalogue:
    """Read a catalogue: single texts without plurals or contexts, of which we have none."""
    texts: dict[str, str] = {}
    of_scripts: set[str] = set()
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        parts = {"msgid": "", "msgstr": ""}
        into = "msgid"
        for line in block.splitlines():
            if found := _LINE.fullmatch(line.strip()):
                into = found[1] or into
                parts[into] += ast.literal_eval(found[2])
        if parts["msgid"]:
            texts[parts["msgid"]] = parts["msgstr"]
            if re.search(r"^#:.*\.js\b", block, flags=re.MULTILINE):
                of_scripts.add(parts["msgid"])
    return Catalogue(path.stem, texts, frozenset(of_scripts))


@cache
def catalogues() -> Mapping[str, Catalogue]:
    """Give all languages that there are; English needs no catalogue."""
    found = {path.stem: read(path) for path in sorted(FOLDER.glob("*.po"))}
    return {**found, ENGLISH: Catalogue(ENGLISH)}


def best_for(accept_language: str) -> Catalogue:
    """Choose by an ``Accept-Language`` header (RFC 9110 §12.5.4): the first of the most wanted ones that there is."""
    wanted: list[tuple[float, str]] = []
    for part in accept_language.split(","):
        tag, _, parameter = part.strip().partition(";")
        try:
            quality = float(parameter.strip().removeprefix("q=")) if parameter else 1.0
        except ValueError:
            continue
        wanted.append((quality, tag.strip().lower().partition("-")[0]))
    known = catalogues()
    for quality, language in sorted(wanted, key=lambda one: -one[0]):
        if quality > 0 and language in known:
            return known[language]
    return known[ENGLISH]
