"""The settings of these classes have the names, types and defaults that configurations in the field rely on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jupyterhub.auth import (
    Authenticator,
    DummyAuthenticator,
    LocalAuthenticator,
    NullAuthenticator,
    PAMAuthenticator,
)
from jupyterhub.authenticators.shared import SharedPasswordAuthenticator
from jupyterhub.crypto import CryptKeeper
from jupyterhub.objects import Hub, Server
from jupyterhub.proxies.builtin import BuiltinProxy
from jupyterhub.proxy import ConfigurableHTTPProxy, Proxy
from jupyterhub.spawner import LocalProcessSpawner, SimpleLocalProcessSpawner, Spawner

REFERENCE = Path(__file__).parents[2].parent / "shared/reference/traits.json"
CLASSES = [
    Authenticator,
    LocalAuthenticator,
    PAMAuthenticator,
    DummyAuthenticator,
    NullAuthenticator,
    SharedPasswordAuthenticator,
    CryptKeeper,
    Spawner,
    LocalProcessSpawner,
    SimpleLocalProcessSpawner,
    Proxy,
    ConfigurableHTTPProxy,
    Server,
    Hub,
]

#: (class that defines it, trait) → why ours differs on purpose
ON_PURPOSE = {
    ("Server", "orm_server"): "Any instead of an Instance of the ORM's class: the contracts import no database",
    ("Spawner", "profile_list"): "profiles for any spawner are ours",
    ("LocalProcessSpawner", "profile_list"): "inherited",
    ("SimpleLocalProcessSpawner", "profile_list"): "inherited",
    ("CryptKeeper", "n_threads"): "depends on the machine",
}
#: settings that are ours: docs/local-servers.md
OURS = {"fast_start", "fast_kernels", "may_gain_rights"}
#: the same as another type
SAME_TYPE = {"Integer": "Int"}


def expected() -> list[tuple[type, dict[str, Any]]]:
    if not REFERENCE.exists():
        return []
    known = {entry["class"]: entry for entry in json.loads(REFERENCE.read_text())["classes"]}
    return [
        (cls, trait)
        for cls in CLASSES
        for trait in known[cls.__name__]["traits"] + known[cls.__name__]["other_traits"]
        if (trait["defined_in"], trait["name"]) not in ON_PURPOSE
        # these belong to the traitlets package
        and trait["defined_in"] not in ("Configurable", "LoggingConfigurable")
    ]


def shape(trait: Any) -> dict[str, Any]:
    """Type of a trait, with what it contains, in the words of the reference."""
    kind = type(trait).__name__
    found: dict[str, Any] = {"type": SAME_TYPE.get(kind, kind)}
    if kind == "Union":
        found["of"] = [shape(part) for part in trait.trait_types]
    if kind in ("List", "Command") and trait._trait is not None and type(trait._trait).__name__ != "Any":
        found["element"] = shape(trait._trait)
    if kind == "CaselessStrEnum":
        found["values"] = trait.values
    return found


def wanted_shape(entry: dict[str, Any]) -> dict[str, Any]:
    wanted = {name: entry[name] for name in ("type", "values") if name in entry}
    if "of" in entry:
        wanted["of"] = [wanted_shape(part) for part in entry["of"]]
    if "element" in entry:
        wanted["element"] = wanted_shape(entry["element"])
    return wanted


def default_of(trait: Any) -> Any:
    value = trait.default()
    return "set()" if value == set() else value


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference is not on this machine")
@pytest.mark.parametrize(
    ("cls", "entry"), expected(), ids=lambda value: value["name"] if isinstance(value, dict) else value.__name__
)
def test_trait_is_as_configurations_expect(cls: type, entry: dict[str, Any]) -> None:
    trait = cls.class_traits().get(entry["name"])  # type: ignore[attr-defined]
    assert trait is not None, f"{cls.__name__}.{entry['name']} is missing"
    assert shape(trait) == wanted_shape(entry)
    assert bool(trait.metadata.get("config")) == bool(entry.get("cli"))
    assert bool(trait.allow_none) == bool(entry.get("allow_none")) or entry["type"] == "Any"
    for tag, value in entry.get("tags", {}).items():
        assert trait.metadata.get(tag) == value
    if "default_dynamic" not in entry:
        assert default_of(trait) == entry["default"]


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference is not on this machine")
@pytest.mark.parametrize("cls", CLASSES)
def test_there_are_no_settings_that_the_original_does_not_have(cls: type) -> None:
    known = {trait["name"] for other, trait in expected() if other is cls and trait.get("cli")}
    known |= {name for owner, name in ON_PURPOSE if owner == cls.__name__}
    assert set(cls.class_trait_names(config=True)) <= known | OURS  # type: ignore[attr-defined]


@pytest.mark.parametrize("cls", [*CLASSES[:-2], BuiltinProxy])
def test_every_setting_says_what_it_does(cls: type) -> None:
    silent = [name for name, trait in cls.class_traits(config=True).items() if not trait.help]  # type: ignore[attr-defined]
    assert not silent
