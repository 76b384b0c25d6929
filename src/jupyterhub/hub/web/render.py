"""Templates: Jinja2 environments over the deployment's template folders and the packaged ones.

A template is looked for in each of ``template_paths`` and then among the packaged ones; ``templates/NAME`` always means
the packaged one, so that an override can extend the original of the same name (pages.md §7). Static files carry a hash
of their content, so that browsers may keep them for ever.
"""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, Template, TemplateNotFound

HERE = Path(__file__).parent
PACKAGED_TEMPLATES = HERE / "templates"
STATIC_FILES = HERE / "static"


class StaticFiles:
    """Addresses of static files with the hash of their content: ``css/style.min.css?v=1a2b3c4d``."""

    def __init__(self, *, url_prefix: str, folder: Path = STATIC_FILES) -> None:
        self._prefix, self._folder = url_prefix, folder
        self._hashes: dict[str, str] = {}

    def url(self, path: str, include_version: bool = True) -> str:
        url = self._prefix + path
        if not include_version:
            return url
        if path not in self._hashes:
            file = self._folder / path
            self._hashes[path] = hashlib.sha256(file.read_bytes()).hexdigest()[:12] if file.is_file() else ""
        version = self._hashes[path]
        return f"{url}?v={version}" if version else url


class Templates:
    """Renders the templates of one hub."""

    def __init__(
        self,
        *,
        template_paths: Iterable[str | os.PathLike[str]],
        static: StaticFiles,
        template_vars: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        packaged = FileSystemLoader(PACKAGED_TEMPLATES)
        own = [FileSystemLoader(path) for path in template_paths if Path(path) != PACKAGED_TEMPLATES]
        loader = ChoiceLoader([PrefixLoader({"templates": packaged}, "/"), *own, packaged])
        settings = {"autoescape": True, "trim_blocks": True, "lstrip_blocks": True, **(options or {})}
        #: for pages; ``environment_sync`` is for error pages, which tornado renders outside a coroutine
        self.environment = Environment(loader=loader, enable_async=True, **settings)
        self.environment_sync = Environment(loader=loader, **settings)
        self.static = static
        self.template_vars = dict(template_vars or {})

    async def render(self, name: str, **namespace: Any) -> str:
        """Render a page template."""
        return await self.environment.get_template(name).render_async(self._filled(namespace))

    def render_sync(self, names: list[str], **namespace: Any) -> str:
        """Render the first of these templates that exists."""
        return self._first(names).render(self._filled(namespace))

    async def render_text(self, source: str, **namespace: Any) -> str:
        """Render a template given as text: ``Authenticator.custom_html`` (pages.md §7)."""
        return await self.environment.from_string(source).render_async(self._filled(namespace))

    def _first(self, names: list[str]) -> Template:
        for name in names[:-1]:
            try:
                return self.environment_sync.get_template(name)
            except TemplateNotFound:
                continue
        return self.environment_sync.get_template(names[-1])

    def _filled(self, namespace: dict[str, Any]) -> dict[str, Any]:
        """Add ``static_url`` and the deployment's ``template_vars``; those that are functions are given the user."""
        user = namespace.get("user")
        given = {name: value(user) if inspect.isroutine(value) else value for name, value in self.template_vars.items()}
        return {"static_url": self.static.url, **given, **namespace}
