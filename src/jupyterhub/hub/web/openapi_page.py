"""An OpenAPI document → what the page about the API shows. It knows the document only, not the code behind it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup, escape

from jupyterhub.hub.web.schemas import Schema
from jupyterhub.words.models import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    name: str
    kind: Markup
    description: Markup
    required: bool = False
    deprecated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    status: str
    description: Markup
    kind: Markup
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One operation."""

    id: str
    method: str
    path: Markup
    summary: str
    description: Markup
    scopes: list[str]
    parameters: list[tuple[str, list[Field]]]
    body: Field | None
    body_fields: list[Field]
    responses: list[Response]
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    id: str
    name: str
    description: Markup
    operations: list[Shown] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    title: str
    version: str
    introduction: Markup
    sections: list[Section]
    models: list[tuple[str, Markup, list[Field]]]
    scopes: list[tuple[str, Markup]]


def page_of(document: Mapping[str, Any]) -> Page:
    """Say what the page shows."""
    sections = {
        tag["name"]: Section(id=_slug(tag["name"]), name=tag["name"], description=marked(tag["description"]))
        for tag in document["tags"]
    }
    schemas = document["components"]["schemas"]
    for path, item in document["paths"].items():
        server = item.get("servers", document["servers"])[0]["url"]
        for method, operation in item.items():
            if isinstance(operation, dict):
                described = {**operation, "parameters": [*item.get("parameters", []), *operation.get("parameters", [])]}
                sections[operation["tags"][0]].operations.append(_shown(server, path, method, described, schemas))
    scopes = document["components"]["securitySchemes"]["oauth2"]["flows"]["authorizationCode"]["scopes"]
    return Page(
        title=document["info"]["title"],
        version=document["info"]["version"],
        introduction=_paragraphs(document["info"]["description"]),
        sections=list(sections.values()),
        models=[(name, marked(schema.get("description", "")), _fields(schema)) for name, schema in schemas.items()],
        scopes=[(name, marked(text)) for name, text in scopes.items()],
    )


def _shown(server: str, path: str, method: str, operation: Mapping[str, Any], schemas: Mapping[str, Schema]) -> Shown:
    content = operation.get("requestBody", {}).get("content", {})
    media_type, schema = next(((kind, given["schema"]) for kind, given in content.items()), ("", None))
    scopes = {scope for requirement in operation["security"] for names in requirement.values() for scope in names}
    fields = _fields(_resolved(schema, schemas)) if schema else []
    return Shown(
        id=operation["operationId"],
        method=method.upper(),
        # the names of parameters stand out, and a long path may be broken behind each slash
        path=Markup(re.sub(r"({\w+})", r"<var>\1</var>", str(escape(path))).replace("/", "/<wbr>")),
        summary=operation["summary"],
        description=marked(operation["description"]),
        scopes=sorted(scopes),
        parameters=[
            (title, [_parameter(p) for p in operation["parameters"] if p["in"] == place])
            for title, place in (("In the path", "path"), ("In the query", "query"))
            if any(p["in"] == place for p in operation["parameters"])
        ],
        body=None
        if schema is None
        else Field(
            name=media_type,
            kind=kind_of(schema),
            description=marked(operation["requestBody"].get("description", "")),
            required=operation["requestBody"]["required"],
        ),
        body_fields=fields,
        responses=[_response(status, response) for status, response in operation["responses"].items()],
        example=_curl(server, path, method, operation, media_type, schema, schemas),
    )


def _parameter(parameter: Mapping[str, Any]) -> Field:
    return Field(
        name=parameter["name"],
        kind=kind_of(parameter["schema"]),
        description=_said(parameter.get("description", ""), parameter["schema"]),
        required=parameter["required"],
    )


def _response(status: str, response: Mapping[str, Any]) -> Response:
    contents: dict[str, Any] = response.get("content", {})
    media_type = next(iter(contents), "")
    schema = contents[media_type]["schema"] if contents else None
    if media_type == "text/event-stream":
        assert schema is not None
        schema = schema["properties"]["data"]["contentSchema"]
    return Response(
        status="any other" if status == "default" else status,
        description=marked(response["description"]),
        kind=Markup("") if schema is None else kind_of(schema),
        media_type="" if media_type == "application/json" else media_type,
    )


# -- schemas in words


def _fields(schema: Schema) -> list[Field]:
    required = schema.get("required", ())
    return [
        Field(
            name=name,
            kind=kind_of(part),
            description=_said(part.get("description", ""), part),
            required=name in required,
            deprecated=part.get("deprecated", False),
        )
        for name, part in schema.get("properties", {}).items()
    ]


def kind_of(schema: Schema) -> Markup:
    """Say in a few words what a value is; classes of fields are links to where they are described."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return Markup('<a href="#model-{0}">{0}</a>').format(name)
    if "anyOf" in schema:
        return Markup(" or ").join(_distinct(kind_of(part) for part in schema["anyOf"]))
    if "enum" in schema:
        return Markup(" or ").join(Markup("<code>{}</code>").format(json.dumps(value)) for value in schema["enum"])
    kinds = schema.get("type", "any value")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    return Markup(" or ").join(_one_kind(kind, schema) for kind in kinds)


def _one_kind(kind: str, schema: Schema) -> Markup:
    if kind == "array":
        return Markup("list of {}").format(kind_of(schema["items"]))
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return Markup("object of {} by name").format(kind_of(schema["additionalProperties"]))
    if kind == "object" and "_pagination" in schema.get("properties", {}):
        return Markup('<a href="#model-Pagination">page</a> of it')
    if kind == "string":
        return escape({"date-time": "time", "uri": "URL"}.get(schema.get("format", ""), "text"))
    return escape({"integer": "whole number", "boolean": "true or false"}.get(kind, kind))


def _said(description: str, schema: Schema) -> Markup:
    """Add to a description what else the schema says."""
    limits = [
        words.format(schema[key])
        for key, words in (
            ("minimum", "at least {}"),
            ("maximum", "at most {}"),
            ("minLength", "at least {} characters"),
            ("maxLength", "at most {} characters"),
            ("minItems", "at least {} of them"),
        )
        if key in schema
    ]
    default = schema.get("default", "")
    if default not in ("", False):
        limits.append(f"default `{json.dumps(default)}`")
    return marked("; ".join(filter(None, [description, *limits])))


def _distinct(parts: Iterable[Markup]) -> list[Markup]:
    return list(dict.fromkeys(parts))


def _resolved(schema: Schema, schemas: Mapping[str, Schema]) -> Schema:
    """Give the fields of a body: of the class that it refers to, maybe beside null."""
    for part in (schema, *schema.get("anyOf", ())):
        if "$ref" in part:
            return schemas[part["$ref"].rpartition("/")[2]]
    return schema


# -- an example to copy


def _curl(
    server: str,
    path: str,
    method: str,
    operation: Mapping[str, Any],
    media_type: str,
    schema: Schema | None,
    schemas: Mapping[str, Schema],
) -> str:
    methods: dict[str, list[str]] = {"get": [], "head": ["--head"]}
    options = methods.get(method, [f"-X {method.upper()}"])
    if operation["security"]:
        options.append('-H "Authorization: Bearer $TOKEN"')
    if schema is not None and media_type == "application/json":
        body = json.dumps(_example(_resolved(schema, schemas), schemas))
        options.append(f"-H 'Content-Type: application/json' \\\n  -d '{body}'")
    filled = re.sub(r"{(\w+)}", lambda found: _SAMPLES.get(found[1], "…"), path)
    return " \\\n  ".join([" ".join(["curl", *options[:1]]), *options[1:], f'"$HUB{server}{filled}"'])


_SAMPLES = {
    "user_name": "ada",
    "server_name": "lab",
    "group_name": "staff",
    "service_name": "cull",
    "token_id": "a7",
    "owner": "bob",
    "shared": "lab",
}


def _example(schema: Schema, schemas: Mapping[str, Schema]) -> Json:
    """Make a small value that fits: of an object, what is required, or else its first field that is no relic."""
    if "$ref" in schema or "anyOf" in schema:
        return _example(_resolved(schema, schemas) if "$ref" in schema else schema["anyOf"][0], schemas)
    kind = schema.get("type", "string")
    match kind if isinstance(kind, str) else kind[0]:
        case "object":
            known = {k: v for k, v in schema.get("properties", {}).items() if not v.get("deprecated")}
            wanted = list(schema.get("required", ())) or list(known)[:1]
            return {name: _example(known[name], schemas) for name in wanted}
        case "array":
            return [_example(schema["items"], schemas)]
        case "integer" | "number":
            return schema.get("minimum", 60)
        case "boolean":
            return True
        case _:
            return "…"


# -- text


def marked(text: str) -> Markup:
    """Escape a text, and set what is between backticks or double stars as code or strong."""
    escaped = str(escape(text))
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped)
    return Markup(re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", escaped))


def _paragraphs(text: str) -> Markup:
    return Markup("").join(Markup("<p>{}</p>").format(marked(part)) for part in text.strip().split("\n\n"))


def _slug(name: str) -> str:
    return name.lower().replace(" ", "-")
