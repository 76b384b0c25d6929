"""The texts of our pages, as they stand in templates, scripts and code. As a program it writes the catalogues anew."""

from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment

from jupyterhub.hub.web import texts
from jupyterhub.rbac.scopes import NO_SCOPE_DEFINITION, ScopeRegistry

ROOT = Path(__file__).parents[2] / "src" / "jupyterhub"
WEB = ROOT / "hub" / "web"

_SCRIPT_TEXT = re.compile(r'\bt\(("(?:[^"\\]|\\.)*")')


def used() -> dict[str, set[str]]:
    """Give all texts, and where each is used. Those of the admin page and of the reference of the API are left out."""
    found: dict[str, set[str]] = defaultdict(set)
    for text, where in [*_of_templates(), *_of_scripts(), *_of_code()]:
        found[text].add(where)
    for definition in [*ScopeRegistry.default().definitions.values(), NO_SCOPE_DEFINITION]:
        found[definition.description].add("rbac/scopes.py")
    return dict(found)


def _of_templates() -> Iterator[tuple[str, str]]:
    environment = Environment(extensions=["jinja2.ext.i18n"], trim_blocks=True, lstrip_blocks=True)
    for path in sorted((WEB / "templates").glob("*.html")):
        if path.name in ("admin.html", "admin_hub.html", "api-docs.html"):
            continue
        for _, _, text in environment.extract_translations(path.read_text()):  # type: ignore[attr-defined]
            yield text if isinstance(text, str) else text[0], f"templates/{path.name}"


def _of_scripts() -> Iterator[tuple[str, str]]:
    for path in sorted((WEB / "static" / "js").glob("*.js")):
        if not path.name.startswith(("admin", "charts")):
            for literal in _SCRIPT_TEXT.findall(path.read_text()):
                yield json.loads(literal), f"static/js/{path.name}"
    # a table of share.js
    for literal in re.findall(r'\[[^\[\]]*, ("[^"]+")\]', (WEB / "static" / "js" / "share.js").read_text()):
        yield json.loads(literal), "static/js/share.js"


def _of_code() -> Iterator[tuple[str, str]]:
    for path in [*sorted((WEB / "pages").glob("*.py")), ROOT / "rbac" / "descriptions.py"]:
        tree = ast.parse(path.read_text())
        constants = {
            node.targets[0].id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
            if isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "say":
                [argument] = node.args
                if isinstance(argument, ast.Constant):
                    yield argument.value, path.relative_to(ROOT).as_posix()
                elif isinstance(argument, ast.Name) and argument.id in constants:
                    yield constants[argument.id], path.relative_to(ROOT).as_posix()


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def update(path: Path) -> int:
    """Write a catalogue anew with exactly the texts that are used; give how many of them nobody has translated."""
    kept = texts.read(path).texts if path.exists() else {}
    header = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n'
    blocks = [
        f"#: {' '.join(sorted(where))}\nmsgid {_quoted(text)}\nmsgstr {_quoted(kept.get(text, ''))}\n"
        for text, where in sorted(used().items(), key=lambda one: (sorted(one[1]), one[0]))
    ]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([header, *blocks]), encoding="utf-8")
    return sum(not kept.get(text) for text in used())


if __name__ == "__main__":
    for catalogue in sorted(texts.FOLDER.glob("*.po")):
        print(catalogue.name, update(catalogue), "to be translated")
