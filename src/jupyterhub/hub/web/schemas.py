"""Type annotations → JSON Schema (draft 2020-12, which OpenAPI 3.1 takes as it is).

Bodies and queries are dataclasses, answers are TypedDicts; what their annotations say is checked when a request comes
in or by the type checker, and told to clients from here. In ``Annotated`` a text is a description and an ``Is`` holds
what Python's types cannot say.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired, Union

from jupyterhub.words.models import Json
from jupyterhub.words.unset import Unset

Schema = dict[str, Json]

#: what a body may leave out, with the value that it then has
_DEFAULTS = (str, bool, int)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Is:
    """Keywords of JSON Schema."""

    #: in place of the type that Python's stands for
    type: tuple[str, ...] | None = None
    format: str | None = None
    pattern: str | None = None
    minimum: int | None = None
    maximum: int | None = None
    min_items: int | None = None
    min_length: int | None = None
    max_length: int | None = None
    one_of: tuple[Json, ...] | None = None

    def keywords(self) -> Schema:
        names = {"min_items": "minItems", "min_length": "minLength", "max_length": "maxLength", "one_of": "enum"}
        found = {names.get(f.name, f.name): getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in found.items() if v is not None}


class Schemas:
    """Makes schemas, and keeps those of classes: they are written once and referred to by name."""

    def __init__(self, *, open_shapes: frozenset[type], never_empty: frozenset[type]) -> None:
        self._open, self._never_empty = open_shapes, never_empty
        self.named: dict[str, Schema] = {}
        self._classes: dict[str, type] = {}

    def of(self, hint: Any) -> Schema:
        """Give the schema of a type; of a class of fields, a reference to it."""
        if hint is Any:
            return {}
        if hint is None or hint is types.NoneType:
            return {"type": "null"}
        if hint in _SIMPLE:
            return {"type": _SIMPLE[hint]}
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin is Annotated:
            return self._annotated(arguments[0], arguments[1:])
        if origin is NotRequired:
            return self.of(arguments[0])
        if origin is Literal:
            return _literal(arguments)
        if origin in (Union, types.UnionType):
            return _any_of([self.of(a) for a in arguments if a is not Unset])
        if origin in (tuple, list):
            return {"type": "array", "items": self.of(arguments[0])}
        if hint is dict:
            return {"type": "object"}
        if typing.is_typeddict(origin):
            return self._fields_of_dict(origin, dict(zip(origin.__parameters__, arguments, strict=True)))
        if isinstance(origin, type) and issubclass(origin, Mapping):
            values = self.of(arguments[1])
            return {"type": "object", **({"additionalProperties": values} if values else {})}
        assert isinstance(hint, type), hint
        return self._reference(hint)

    def _annotated(self, hint: Any, extras: tuple[Any, ...]) -> Schema:
        schema = self.of(hint)
        for extra in extras:
            if isinstance(extra, Is):
                schema = {**schema, **extra.keywords()}
            else:
                schema = {**schema, "description": str(extra)}
        return schema

    def _reference(self, shape: type) -> Schema:
        name = shape.__name__
        if name not in self._classes:
            self._classes[name] = shape
            self.named[name] = {}  # classes may refer to themselves
            made = self._fields_of_dict(shape) if typing.is_typeddict(shape) else self._fields_of_dataclass(shape)
            self.named[name] = made
        # Two classes of one name would hide each other.
        assert self._classes[name] is shape, name
        return {"$ref": f"#/components/schemas/{name}"}

    def _fields_of_dict(self, shape: Any, filled: Mapping[Any, Any] | None = None) -> Schema:
        hints = typing.get_type_hints(shape, include_extras=True)
        properties = {name: self.of((filled or {}).get(hint, hint)) for name, hint in hints.items()}
        # ``__required_keys__`` knows nothing of annotations that are text, as ``from __future__`` makes them.
        required = [name for name, hint in hints.items() if typing.get_origin(hint) is not NotRequired]
        return _object(shape, properties, required)

    def _fields_of_dataclass(self, shape: Any) -> Schema:
        hints = typing.get_type_hints(shape, include_extras=True)
        properties, required = {}, []
        for field in dataclasses.fields(shape):
            schema = self.of(hints[field.name])
            if field.metadata.get("ignored"):
                schema = {**schema, "deprecated": True, "description": "Checked, and then not looked at"}
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                required.append(field.name)
            elif isinstance(field.default, _DEFAULTS) and "deprecated" not in schema:
                schema = {**schema, "default": field.default}
            properties[field.name] = schema
        made = _object(shape, properties, required)
        if shape in self._never_empty:
            made["minProperties"] = 1
        if shape not in self._open:
            made["additionalProperties"] = False
        return made


_SIMPLE = {str: "string", bool: "boolean", int: "integer", float: "number", bytes: "string"}


def _object(shape: Any, properties: Schema, required: list[str]) -> Schema:
    made: Schema = {"type": "object"}
    # TypedDicts of which people say nothing have the docstring of dict.
    if shape.__doc__ and shape.__doc__ != dict.__doc__ and not shape.__doc__.startswith(f"{shape.__name__}("):
        made["description"] = " ".join(shape.__doc__.split())
    made["properties"] = properties
    if required:
        made["required"] = required
    return made


def _literal(values: tuple[Any, ...]) -> Schema:
    kinds = {_SIMPLE.get(type(v), "null") for v in values}
    return {"type": kinds.pop() if len(kinds) == 1 else sorted(kinds), "enum": list(values)}


def _any_of(schemas: list[Schema]) -> Schema:
    """Join alternatives; null beside one simple type becomes a list of types, which is easier to read."""
    if len(schemas) == 1:
        return schemas[0]
    null: Schema = {"type": "null"}
    others = [s for s in schemas if s != null]
    if len(others) == 1 and len(others) < len(schemas):
        [only] = others
        if isinstance(only.get("type"), str) and "enum" not in only:
            return {**only, "type": [only["type"], "null"]}
    return {"anyOf": schemas}
