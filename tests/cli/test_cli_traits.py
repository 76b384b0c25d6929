"""Every setting of the original is here: same name, type, default, option and flag (reference: traits.json)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from traitlets import TraitType

from jupyterhub.cli.app import HUB_ALIASES, HUB_FLAGS, JupyterHub, NewToken, UpgradeDB
from jupyterhub.cli.settings import AS_THEY_ARE
from jupyterhub.hub.settings import HubSettings

REFERENCE = Path(__file__).parents[2].parent / "shared/reference/traits.json"
OURS = {cls.__name__: cls for cls in (JupyterHub, NewToken, UpgradeDB)}

#: where our default differs on purpose (docs/differences.md)
OTHER_DEFAULTS = {
    ("JupyterHub", "proxy_class"): "jupyterhub.proxies.builtin.BuiltinProxy",
    ("JupyterHub", "data_files_path"): None,  # a folder of this package
}
#: what only this hub can do
BEYOND_THE_ORIGINAL = {"JupyterHub": {"hubs", "run_as"}}


def reference() -> dict[str, Any]:
    if not REFERENCE.exists():
        return {}
    return {each["class"]: each for each in json.loads(REFERENCE.read_text())["classes"] if each["class"] in OURS}


def rows() -> list[Any]:
    return [
        pytest.param(name, row, id=f"{name}.{row['name']}")
        for name, cls in reference().items()
        for row in cls["traits"]
    ]


def shape(trait: TraitType[Any, Any]) -> dict[str, Any]:
    """The type of a trait as the reference writes it down."""
    found: dict[str, Any] = {"type": type(trait).__name__}
    for key, attribute in (("value", "_value_trait"), ("key", "_key_trait"), ("element", "_trait")):
        inner = getattr(trait, attribute, None)
        if inner is not None and type(inner).__name__ != "Any":
            found[key] = shape(inner)
    if hasattr(trait, "trait_types"):
        found["of"] = [shape(each) for each in trait.trait_types]
    if hasattr(trait, "values"):
        found["values"] = list(trait.values)
    if hasattr(trait, "entry_point_group"):
        found["entry_point_group"] = trait.entry_point_group
    if trait.allow_none:
        found["allow_none"] = True
    return found


def expected_shape(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"type": row["type"]}
    for key in ("value", "key", "element"):
        if key in row:
            found[key] = expected_shape(row[key])
    if "of" in row:
        found["of"] = [expected_shape(each) for each in row["of"]]
    found |= {key: row[key] for key in ("values", "entry_point_group", "allow_none") if key in row}
    return found


def plain(value: Any) -> Any:
    """A default as the reference writes it down."""
    if isinstance(value, type):
        return f"{value.__module__}.{value.__name__}"
    return repr(value) if isinstance(value, set | bytes) else value


@pytest.mark.skipif(not reference(), reason="the reference is not beside this checkout")
class TestTableOfTraits:
    @pytest.mark.parametrize(("name", "row"), rows())
    def test_a_trait_has_the_type_and_default_of_the_original(self, name, row):
        trait = OURS[name].class_traits(config=True)[row["name"]]
        assert shape(trait) == expected_shape(row)
        default = plain(trait.default())
        wanted = OTHER_DEFAULTS.get((name, row["name"]), row["default"])
        if wanted is not None:
            assert default == wanted or (isinstance(default, float) and math.isclose(default, wanted))

    @pytest.mark.parametrize("name", list(OURS))
    def test_there_is_no_configurable_trait_that_the_original_has_not(self, name):
        theirs = {row["name"] for row in reference()[name]["traits"]}
        assert set(OURS[name].class_trait_names(config=True)) == theirs | BEYOND_THE_ORIGINAL.get(name, set())

    def test_aliases_and_flags_set_the_same_traits(self):
        other = {row["name"]: row["default"] for row in reference()["JupyterHub"]["other_traits"]}
        assert other["aliases"] | {"hubs": "JupyterHub.hubs"} == HUB_ALIASES
        assert {name: flag[0] for name, flag in other["flags"].items()} == {k: v[0] for k, v in HUB_FLAGS.items()}

    def test_plugins_find_the_other_attributes_of_the_application(self):
        names = {row["name"] for row in reference()["JupyterHub"]["other_traits"] if not row["name"].startswith("_")}
        app = JupyterHub()
        assert [name for name in sorted(names) if not hasattr(app, name)] == []


def test_every_setting_tells_what_it_is_for():
    assert [name for name, trait in JupyterHub.class_own_traits(config=True).items() if not trait.help] == []


def test_each_trait_that_is_passed_on_has_its_field_in_the_settings():
    assert set(AS_THEY_ARE) <= HubSettings.__dataclass_fields__.keys()
