"""The trait types that configuration of the hub and of its plugins is made of.

Only types and their parsing; the traits themselves are on the classes that they configure. Imported by plugins too.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any, ClassVar

import traitlets
from traitlets import Any as AnyTrait
from traitlets import (
    Bool,
    CaselessStrEnum,
    Dict,
    Enum,
    Float,
    Instance,
    Int,
    Integer,
    List,
    Set,
    TraitError,
    TraitType,
    Type,
    Undefined,
    Unicode,
    Union,
)

__all__ = [
    "AnyTrait",
    "Bool",
    "ByteSpecification",
    "Callable",
    "CaselessStrEnum",
    "Command",
    "Dict",
    "EntryPointType",
    "Enum",
    "Float",
    "Instance",
    "Int",
    "Integer",
    "List",
    "Set",
    "TraitError",
    "TraitType",
    "Type",
    "URLPrefix",
    "Undefined",
    "Unicode",
    "Union",
]

log = logging.getLogger("jupyterhub.config")


class URLPrefix(Unicode):  # type: ignore[type-arg]  # generic only for type checkers
    """A path that everything of something lives under: gets a ``/`` at both ends if it has none."""

    def validate(self, obj: Any, value: Any) -> Any:
        prefix = super().validate(obj, value)
        if not prefix.startswith("/"):
            prefix = "/" + prefix
        if not prefix.endswith("/"):
            prefix += "/"
        return prefix


class Command(List):  # type: ignore[type-arg]
    """A command as a list of words. A string means a command of one word; it is not split at spaces."""

    def __init__(self, default_value: Any = Undefined, **kwargs: Any) -> None:
        kwargs.setdefault("minlen", 1)
        if isinstance(default_value, str):
            default_value = [default_value]
        super().__init__(Unicode(), default_value, **kwargs)

    def validate(self, obj: Any, value: Any) -> Any:
        if isinstance(value, str):
            value = [value]
        return super().validate(obj, value)

    def from_string(self, s: str) -> Any:
        """Read a command line argument: a Python list, or else a command of one word."""
        return super().from_string(s) if s.lstrip().startswith("[") else [s]

    def from_string_list(self, s_list: list[str]) -> Any:
        if len(s_list) == 1:
            return self.from_string(s_list[0])
        return list(s_list)


class ByteSpecification(Integer):  # type: ignore[type-arg]
    """A number of bytes: an integer, or a number with one of the suffixes K, M, G, T (powers of 1024)."""

    UNIT_SUFFIXES: ClassVar[dict[str, int]] = {"K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
    info_text = "a number of bytes, plain or with one of the suffixes K, M, G, T (such as 512M)"

    def validate(self, obj: Any, value: Any) -> Any:
        if isinstance(value, bool):
            self.error(obj, value)
        if isinstance(value, (int, float)):
            return int(value)
        if not isinstance(value, str):
            self.error(obj, value)
        text = value.strip()
        factor = self.UNIT_SUFFIXES.get(text[-1:], 1)
        number = text[:-1] if factor != 1 else text
        try:
            return int(float(number) * factor) if not number.isdigit() else int(number) * factor
        except (ValueError, OverflowError):
            raise TraitError(
                f"{self.name}: {value!r} is not {self.info_text}. Use an upper-case suffix directly behind the number."
            ) from None

    def from_string(self, s: str) -> Any:
        if self.allow_none and s == "None":
            return None
        return s


class Callable(traitlets.Callable):
    """Something that can be called."""

    info_text = "a callable"


@cache
def _installed(group: str) -> EntryPoints:
    # Each look reads the metadata of every installed package: ten milliseconds, and a start would look six times.
    return entry_points(group=group)


class EntryPointType(Type):  # type: ignore[type-arg]
    """A class, given as itself, as a dotted name, or as the name of an entry point of a group.

    Entry point names are looked up without regard to case. What is found must be a subclass of ``klass``.
    """

    def __init__(self, *args: Any, entry_point_group: str, **kwargs: Any) -> None:
        self.entry_point_group = entry_point_group
        super().__init__(*args, **kwargs)
        self._own_help: str = self.help

    def load_entry_points(self) -> dict[str, EntryPoint]:
        """Give the registered entry points by lower-case name; nothing is imported yet."""
        return {point.name.lower(): point for point in _installed(self.entry_point_group)}

    def load_classes(self) -> dict[str, type]:
        """Import everything that is registered; a plugin that cannot be imported is left out, with a debug line."""
        classes: dict[str, type] = {}
        for name, point in self.load_entry_points().items():
            try:
                classes[name] = point.load()
            except Exception as error:
                log.debug("entry point %s of %s cannot be loaded: %s", name, self.entry_point_group, error)
        return classes

    def describe(self) -> str:
        """The help text with the names that can be used here, for ``--help-all`` and ``--generate-config``."""
        names = "\n".join(f"  - {name}: {point.value}" for name, point in sorted(self.load_entry_points().items()))
        return f"{self._own_help}\n\nCurrently installed:\n\n{names}" if names else self._own_help

    def _resolve_string(self, string: str) -> Any:
        point = self.load_entry_points().get(string.lower())
        return point.load() if point is not None else super()._resolve_string(string)

    def validate(self, obj: Any, value: Any) -> Any:
        if isinstance(value, str):
            try:
                value = self._resolve_string(value)
            except ImportError as error:
                known = ", ".join(sorted(self.load_entry_points())) or "none"
                raise TraitError(
                    f"{self.name}: {value!r} is neither the name of an installed plugin (these are: {known}) nor a "
                    f"class that can be imported ({error})"
                ) from error
        return super().validate(obj, value)
