"""Templates: Jinja2 environments over the deployment's template folders and the packaged ones.

A template is looked for in each of ``template_paths`` and then among the packaged ones; ``templates/NAME`` always means
the packaged one, so that an override can extend the original of the same name (pages.md §7). Static files carry a hash
of their content, so that browsers may keep them for ever.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, TemplateNotFound, meta
from markupsafe import Markup

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

    @cached_property
    def import_map(self) -> Markup:
        """The import map of our modules: what they import of each other is found at its address with the hash too."""
        modules = sorted(file.relative_to(self._folder).as_posix() for file in (self._folder / "js").glob("**/*.js"))
        return Markup(json.dumps({"imports": {self._prefix + path: self.url(path) for path in modules}}))


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
        given = dict(options or {})
        extensions = ["jinja2.ext.i18n", *given.pop("extensions", ())]
        settings = {"autoescape": True, "trim_blocks": True, "lstrip_blocks": True, **given, "extensions": extensions}
        #: for pages; ``environment_sync`` is for error pages, which tornado renders outside a coroutine
        self.environment = Environment(loader=loader, enable_async=True, **settings)
        self.environment_sync = Environment(loader=loader, **settings)
        for environment in (self.environment, self.environment_sync):
            environment.install_null_translations(newstyle=True)  # type: ignore[attr-defined]
        self.static = static
        self.template_vars = dict(template_vars or {})
        self._packaged: dict[str, bool] = {}
        self._loader = self.environment.loader

    async def render(self, name: str, **namespace: Any) -> str:
        """Render a page template."""
        return await self.environment.get_template(name).render_async(self._filled(namespace))

    def render_sync(self, name: str, **namespace: Any) -> str:
        """Render a template outside a coroutine."""
        return self.environment_sync.get_template(name).render(self._filled(namespace))

    async def render_text(self, source: str, **namespace: Any) -> str:
        """Render a template given as text: ``Authenticator.custom_html`` (pages.md §7)."""
        return await self.environment.from_string(source).render_async(self._filled(namespace))

    def first_of(self, name: str, otherwise: str) -> str:
        """Give the name of the first template that exists."""
        try:
            self.environment_sync.get_template(name)
        except TemplateNotFound:
            return otherwise
        return name

    def is_packaged(self, name: str) -> bool:
        """Say whether a template and all that it extends and includes are ours, none a deployment's or a plugin's."""
        loader = self.environment.loader
        if loader is not self._loader:
            # a plugin has put a loader of its own in the place of ours: the same name may mean another template now
            self._loader, self._packaged = loader, {}
        if name not in self._packaged:
            # set before the answer is known: templates may include each other
            self._packaged[name] = True
            self._packaged[name] = self._is_packaged(name)
        return self._packaged[name]

    def _is_packaged(self, name: str) -> bool:
        environment = self.environment
        assert environment.loader is not None
        source, file, _ = environment.loader.get_source(environment, name)
        if file is None or PACKAGED_TEMPLATES not in Path(file).parents:
            return False
        referenced = meta.find_referenced_templates(environment.parse(source))
        return all(other is not None and self.is_packaged(other) for other in referenced)

    def _filled(self, namespace: dict[str, Any]) -> dict[str, Any]:
        """Add ``static_url`` and the deployment's ``template_vars``; those that are functions are given the user."""
        user = namespace.get("user")
        given = {name: value(user) if inspect.isroutine(value) else value for name, value in self.template_vars.items()}
        return {"static_url": self.static.url, "import_map": self.static.import_map, **given, **namespace}
