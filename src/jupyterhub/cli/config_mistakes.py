"""Mistakes in the configuration, told so that they can be mended: which file, which line, which trait, what to do.

JupyterHub goes on with a warning where a name is not known, and so does this hub: configurations are shared between
deployments and plugins. But a name that is all but right was meant to do something, and a hub that runs without it may
let in people whom nobody wanted in: a misspelt trait of a class that is in use ends the start (docs/differences.md).
"""

from __future__ import annotations

import ast
import copy
import difflib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from traitlets import HasTraits, TraitError
from traitlets.config import Application, Config, Configurable
from traitlets.config.loader import DeferredConfig, LazyConfigValue

from jupyterhub.words.errors import ConfigurationError

if TYPE_CHECKING:
    from .app import JupyterHub

#: traits that name a class, and where names of such classes are registered
CLASS_TRAITS = {
    "authenticator_class": "jupyterhub.authenticators",
    "spawner_class": "jupyterhub.spawners",
    "proxy_class": "jupyterhub.proxies",
}

#: sections that are read by something that is loaded later, if at all
READ_ELSEWHERE = {
    "CryptKeeper",
    "EventLogger",
    "JupyterHubHTTPClient",
    "JupyterHubSingleUser",
    "NewToken",
    "PeriodicMetricsCollector",
    "UpgradeDB",
    "HubAuth",
    "HubOAuth",
}


def check(app: JupyterHub) -> None:
    """Look through the configuration that a hub has read. Warn, or raise ConfigurationError with the first mistake."""
    places = Places.of(app)
    loaded = _loaded_classes(app)
    _check_names(app, loaded, places)
    _check_values(app, loaded, places)
    _check_sections(app, loaded, places)
    _check_certificates(app, places)
    _check_database(app, places)


def explain(error: Exception, app: Application) -> ConfigurationError:
    """Give a refused value as one message: what is wrong, where it is set, what to do."""
    message = str(error)
    hub = app if "JupyterHub" in {cls.__name__ for cls in type(app).__mro__} else None
    places = Places.of(hub) if hub is not None else Places()
    section, trait = _named_in(message)
    lines = [f"Bad config encountered during initialization: {message}"]
    if trait:
        place = places.find(trait, section)
        lines.append(
            f"{place.name} is set {place}. Correct it there, or remove it to get the default." if place else ""
        )
    if trait in CLASS_TRAITS:
        lines.append(f"Registered names are: {', '.join(registered(CLASS_TRAITS[trait]))}.")
    return ConfigurationError("\n".join(filter(None, lines)))


def uncopyable(config: Config, app: Application) -> ConfigurationError | None:
    """Find the value that traitlets could not copy, as it copies every one; None if there is none."""
    for section, values in config.items():
        for name, value in values.items() if isinstance(values, Config) else ():
            try:
                copy.deepcopy(value)
            except TypeError as error:
                place = Places.of(app).at(section, name)
                return ConfigurationError(
                    f"{place.name}, set {place}, holds something that cannot be copied ({error}). "
                    "Give a function or a class that makes it when it is needed."
                )
    return None


def registered(group: str) -> list[str]:
    """The names that an entry-point group has in this installation."""
    return sorted({point.name for point in entry_points(group=group)})


# -- where something is set


@dataclass(frozen=True, slots=True)
class Place:
    """Where a trait got its value. As text: ``in FILE, line N``."""

    name: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        if not self.file:
            return "on the command line"
        return f"in {self.file}, line {self.line}" if self.line else f"in {self.file}"


@dataclass
class Places:
    """All that command line and configuration files set, by (section, trait); the last one counts."""

    known: dict[tuple[str, str], Place] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, app: Application) -> Places:
        places = cls(files=list(app.loaded_config_files))
        for file in places.files:
            places.known |= _assignments(file)
        for section, values in app.cli_config.items():
            if isinstance(values, Config):
                places.known |= {(section, name): Place(f"--{section}.{name}") for name in values}
        return places

    def at(self, section: str, trait: str) -> Place:
        """Where this is set; without a line if the file does something that reading it does not show."""
        found = self.known.get((section, trait))
        return found or Place(f"c.{section}.{trait}", self.files[-1] if self.files else "")

    def find(self, trait: str, section: str = "") -> Place | None:
        """Where a trait is set, on this class or on one of its parents."""
        found = self.known.get((section, trait)) or self.known.get(("JupyterHubApp", trait))
        return found or next((place for (_, name), place in self.known.items() if name == trait), None)


@cache
def _assignments(file: str) -> dict[tuple[str, str], Place]:
    """The lines of a Python configuration file, and of those that it loads, that set something."""
    if not file.endswith(".py"):
        return {}
    try:
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return {}
    found: dict[tuple[str, str], Place] = {}
    targets: list[ast.expr]
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=each):
                targets = each
            case ast.AugAssign(target=only) | ast.AnnAssign(target=only):
                targets = [only]
            case ast.Call(func=ast.Attribute(value=ast.Attribute() as only)):  # c.Spawner.args.append("…")
                targets = [only]
            case ast.Call(func=ast.Name(id="load_subconfig"), args=[ast.Constant(value=str(name)), *_]):
                found |= _assignments(os.path.join(os.path.dirname(file), name))
                continue
            case _:
                continue
        for target in targets:
            names = _path(target)
            if len(names) >= 3 and (names[1][:1].isupper() or names[0] == "c"):
                section, trait = names[-2:] if len(names) == 3 else names[1:3]
                found[section, trait] = Place(f"c.{section}.{trait}", file, target.lineno)
    return found


def _path(node: ast.AST) -> list[str]:
    """``c.JupyterHub.port`` or ``c["JupyterHub"].port`` as its parts; [] for anything else."""
    match node:
        case ast.Name(id=name):
            return [name]
        case ast.Attribute(value=value, attr=name):
            before = _path(value)
        case ast.Subscript(value=value, slice=ast.Constant(value=str(name))):
            before = _path(value)
        case _:
            return []
    return [*before, name] if before else []


def _named_in(message: str) -> tuple[str, str]:
    """The class and the trait that a message of traitlets or of ours is about; "" where it does not say."""
    if found := re.search(r"[Tt]he '(\w+)' trait of (?:an?|the) (\w+) instance", message):
        return found[2], found[1]
    if found := re.search(r"\b([A-Z]\w*)\.([a-z]\w*)\b", message):
        return found[1], found[2]
    if found := re.match(r"(\w+): ", message):
        return "JupyterHub", found[1]
    return "", ""


# -- what can be wrong


def _loaded_classes(app: JupyterHub) -> list[type[Configurable]]:
    """The classes that this hub makes objects of and that take configuration. Imports the configured plugins."""
    classes: list[type[Configurable]] = [type(app)]
    for trait in CLASS_TRAITS:
        try:
            plugin = getattr(app, trait)
        except (TraitError, ImportError) as error:
            raise explain(error, app) from error
        if isinstance(plugin, type) and issubclass(plugin, Configurable):
            classes.append(plugin)
    return classes


def _sections(app: JupyterHub) -> Iterator[tuple[str, Config]]:
    for name, section in app.config.items():
        if isinstance(section, Config):
            yield name, section


def _check_names(app: JupyterHub, loaded: Iterable[type[Configurable]], places: Places) -> None:
    for section, values in _sections(app):
        readers = [cls for cls in loaded if section in {parent.__name__ for parent in cls.__mro__}]
        if not readers:
            continue
        traits = {name for cls in readers for name in cls.class_trait_names(config=True)}
        for name, value in values.items():
            if name in traits or isinstance(value, Config) or any(hasattr(cls, name) for cls in readers):
                continue
            if meant := similar(name, traits):
                place = places.at(section, name)
                raise ConfigurationError(
                    f"{readers[-1].__name__} has no trait {name!r}; it is set {place}. "
                    f"Did you mean c.{section}.{meant}? Correct it, or remove it."
                )
            if type(app) in readers or app.spawner_class in readers:
                # Authenticator and proxy warn when they are made; a spawner, not before somebody starts it.
                app.log.warning(
                    "Config option `%s` not recognized by `%s`. It is set %s and has no effect.",
                    name,
                    readers[-1].__name__,
                    places.at(section, name),
                )


def _check_values(app: JupyterHub, loaded: Iterable[type[Configurable]], places: Places) -> None:
    """Try the values of plugins, whose objects are made later: a spawner's at the first start of a server."""
    for cls in loaded:
        if isinstance(app, cls):
            continue
        probe = cls.__new__(cls)  # complete enough to be named in messages; no code of the plugin has run
        names = {parent.__name__ for parent in cls.__mro__}
        traits = cls.class_traits(config=True)
        for section, values in _sections(app):
            for name, value in values.items() if section in names else ():
                if name not in traits or isinstance(value, LazyConfigValue):
                    continue
                if isinstance(value, DeferredConfig):
                    value = value.get_value(traits[name])
                try:
                    with probe.cross_validation_lock:
                        traits[name]._validate(probe, value)
                except TraitError as error:
                    place = places.at(section, name)
                    raise ConfigurationError(
                        f"Bad config encountered during initialization: {error}\n"
                        f"{place.name} is set {place}. Correct it there, or remove it to get the default."
                    ) from error


def _check_sections(app: JupyterHub, loaded: Iterable[type[Configurable]], places: Places) -> None:
    """Warn of sections that no class reads. One of a plugin that is installed but not in use is nothing to warn of."""
    known = {parent.__name__ for cls in loaded for parent in cls.__mro__} | READ_ELSEWHERE
    # Of an unknown word on the command line traitlets has warned.
    unknown = [name for name in app.config if name not in known and name not in app.cli_config]
    if not unknown:
        return
    installed = {
        point.value.rpartition(":")[2] for group in CLASS_TRAITS.values() for point in entry_points(group=group)
    }
    known |= installed | {cls.__name__ for cls in _all_subclasses(HasTraits)}
    for name in unknown:
        if name in known:
            continue
        meant = similar(name, known) or next((each for each in sorted(known) if each.lower() == name.lower()), "")
        if not meant:
            meant = next(iter(difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.75)), "")
        place = next((place for (section, _), place in places.known.items() if section == name), None)
        app.log.warning(
            "c.%s in the configuration%s is no class that this hub knows, and has no effect.%s",
            name,
            f" ({place.file}, line {place.line})" if place and place.line else "",
            f" Did you mean c.{meant}?" if meant else "",
        )


def _all_subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    for each in cls.__subclasses__():
        yield each
        yield from _all_subclasses(each)


def _check_certificates(app: JupyterHub, places: Places) -> None:
    """A proxy that the hub starts must be able to read its certificate; any other has its own."""
    if not app.ssl_cert:
        return
    for section, values in _sections(app):
        if section in {cls.__name__ for cls in app.proxy_class.__mro__} and values.get("should_start") is False:
            return
    for trait in ("ssl_cert", "ssl_key"):
        file = getattr(app, trait)
        if file and not os.access(file, os.R_OK):
            why = "cannot be read by the hub" if os.path.exists(file) else "does not exist"
            raise ConfigurationError(
                f"JupyterHub.{trait}: the file {file} {why}. It is set {places.at('JupyterHub', trait)}. "
                "Name a PEM file that the user of the hub may read."
            )


def _check_database(app: JupyterHub, places: Places) -> None:
    """A SQLite file must be writable, and so must its directory: SQLite keeps its journal beside it."""
    parts = urlsplit(app.db_url)
    # sqlite:///relative and sqlite:////absolute; anything with a query may be a file: URI with rules of its own
    if not parts.scheme.startswith("sqlite") or parts.query or parts.path[1:] in ("", ":memory:"):
        return
    path = Path(unquote(parts.path[1:])).absolute()
    if not path.parent.is_dir():
        why, remedy = f"its directory {path.parent} does not exist", "Create the directory"
    elif path.is_dir():
        why, remedy = "it is a directory", "Name a file in it"
    elif not os.access(path.parent, os.W_OK):
        why, remedy = f"the hub may not write to its directory {path.parent}", "Make the directory writable for the hub"
    elif path.exists() and not os.access(path, os.R_OK | os.W_OK):
        why, remedy = "the hub may not read and write it", "Make the file writable for the hub"
    else:
        return
    is_set = app.is_set("db_url")
    where = (
        f"is set {places.at('JupyterHub', 'db_url')}" if is_set else "has its default, a file in the current directory"
    )
    raise ConfigurationError(
        f"The database {path} cannot be used: {why}. JupyterHub.db_url {where}. {remedy}, or change JupyterHub.db_url."
    )


# -- names that are all but right


def similar(name: str, known: Iterable[str]) -> str:
    """The one known name that a slip of the fingers makes ``name`` of; "" if there is none or more than one.

    One slip in short names, two in longer ones. Likeness of another kind (``allowed_groups`` and ``allowed_users``) is
    not a slip: the name may belong to a plugin that is not in use here.
    """
    slips = 1 if len(name) < 8 else 2
    by_distance: dict[int, list[str]] = {}
    for each in known:
        if abs(len(each) - len(name)) <= slips and (distance := edit_distance(name, each)) <= slips:
            by_distance.setdefault(distance, []).append(each)
    nearest = by_distance[min(by_distance)] if by_distance else []
    return nearest[0] if len(nearest) == 1 else ""


def edit_distance(one: str, other: str) -> int:
    """How many letters must be added, taken, replaced, or swapped with their neighbour."""
    rows = [list(range(len(other) + 1))]
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            cost = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, rows[-2][j - 2] + 1)
            row.append(cost)
        rows.append(row)
    return rows[-1][-1]
