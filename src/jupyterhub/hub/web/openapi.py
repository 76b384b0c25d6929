"""The OpenAPI 3.1 document of the REST API, made of the code that serves it.

A path and its parameters come from the route's pattern; scopes from ``needs_scope`` on the method; body, query and
answers from the classes that parse and make them; the rest from the handler's ``operations``. Nothing is written here
that could disagree with what a handler does, but for words about path parameters and tags.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tornado.web import RequestHandler

from jupyterhub.hub.web import bodies, models
from jupyterhub.hub.web.answers import USER_FIELDS
from jupyterhub.hub.web.api.base import PAGINATION_TYPE, Absent, Operation, Raw
from jupyterhub.hub.web.entry import NEEDED, Needed
from jupyterhub.hub.web.schemas import Schema, Schemas
from jupyterhub.rbac.scopes import ScopeRegistry
from jupyterhub.words.version import __version__

Document = dict[str, Any]
Route = tuple[Any, ...]

METHODS = ("get", "head", "put", "post", "patch", "delete")

#: the module of a handler → what people look for it under
TAGS: Mapping[str, tuple[str, str]] = {
    "hub": ("Hub", "What runs here, how it does, and how it ends."),
    "whoami": ("Identity", "Whose token or cookie this is."),
    "users": ("Users", "Who may log in."),
    "servers": ("Servers", "Each user has a default server and, if the hub allows it, others with names."),
    "tokens": ("Tokens", "With what programs ask."),
    "groups": ("Groups", "Users together."),
    "services": ("Services", "Programs that work with the hub."),
    "shares": ("Shares", "Who may use whose servers."),
    "proxy": ("Proxy", "Which addresses lead where."),
    "authorize": ("OAuth", "How servers and services find out who visits them (RFC 6749)."),
    "token": ("OAuth", ""),
    "metadata": ("OAuth", ""),
    "legacy": ("Legacy", "For services of version 1."),
    "reference": ("Reference", "What you are reading, and the same for programs."),
}

#: path parameter → what it is
PARAMETERS: Mapping[str, str] = {
    "user_name": "Name of a user",
    "server_name": "Name of a server; empty for the default server",
    "group_name": "Name of a group",
    "service_name": "Name of a service",
    "token_id": "Id of a token, such as `a7`",
    "owner": "Name of the user whose server it is",
    "shared": "Name of the server; empty for the default server",
    "secret": "A token",
    "cookie_name": "Name of a cookie",
    "cookie_value": "Its value",
}

#: path parameter → what it means if a path does not have it
_LEFT_OUT: Mapping[str, str] = {
    "server_name": "the default one",
    "secret": "which is not given",
    "cookie_value": "which is in the body",
}

#: path parameter → what a scope can be limited to; the same as ``entry`` finds in the arguments of a method
_TARGETS: Mapping[str, str] = {
    "server_name": "server",
    "user_name": "user",
    "group_name": "group",
    "service_name": "service",
}

_INTRODUCTION = f"""\
The REST API of this hub. Every program that can do something here does it with these requests, the hub's own pages too.

**Who asks** is said by a token in the header: `Authorization: Bearer TOKEN` (`token TOKEN` does as well). Users make
tokens on the token page or with `POST /users/{{user_name}}/tokens`. A browser's login cookie counts too, together with
the value of the cookie `_xsrf` in the header `X-XSRFToken`.

**Scopes** say what a token may do. Where several are named, one is enough. A scope may be limited, as in
`read:users!user=ada`. Whoever holds it for other things only gets 404, as if the thing was not there.

**Errors** are JSON: `{{"status": 404, "message": "…"}}`. The message names the wrong field and what was expected.

**Lists** with the arguments `offset` and `limit` come in pages for those who ask with
`Accept: {PAGINATION_TYPE}`. Others get the bare list, up to a larger limit.

**Times** are ISO 8601 in UTC. Every path answers `OPTIONS`, to anybody. `GET` sends an `ETag`, and knows
`If-None-Match`.
"""

_BAD_REQUEST = "The request cannot be right; the message says why."
_FORBIDDEN = "Nobody is known to ask, or they may not."
_NOT_MODIFIED = "It is as the `If-None-Match` of the request says."


def document(
    routes: Sequence[Route], *, hub_prefix: str, registry: ScopeRegistry, beside: Sequence[Route] = ()
) -> Document:
    """Describe these routes, which are below ``api`` below ``hub_prefix``, and others ``beside`` the API."""
    api_prefix = hub_prefix + "api"
    schemas = Schemas(open_shapes=bodies.OPEN_SHAPES, never_empty=bodies.NEVER_EMPTY)
    paths: dict[str, Document] = {}
    for endpoint in endpoints([*routes, *beside]):
        item = paths.setdefault(endpoint.path, {})
        if any(endpoint.handler is route[1] for route in beside):
            item["servers"] = [{"url": hub_prefix.rstrip("/")}]
        if endpoint.parameters:
            item["parameters"] = [_path_parameter(name) for name in endpoint.parameters]
        for method, operation in endpoint.operations.items():
            has_method = getattr(endpoint.handler, method) is not getattr(RequestHandler, method)
            assert has_method, f"{endpoint.handler.__name__} has no {method}"
            item[method] = _Writer(schemas, endpoint, method, operation).write()
    schemas.of(models.Error)
    _name_scopes_of_user_fields(schemas.named["User"]["properties"])
    return {
        "openapi": "3.1.0",
        "info": {"title": "JupyterHub REST API", "version": __version__, "description": _INTRODUCTION},
        "servers": [{"url": api_prefix}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.values() if text],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.named.items())),
            "securitySchemes": _security_schemes(api_prefix, registry),
        },
    }


# -- from routes to endpoints


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path with the handler that serves it."""

    path: str
    handler: Any
    #: names, in the order of the path
    parameters: tuple[str, ...]
    #: parameters that the handler's methods take, and this path does not have
    left_out: tuple[str, ...]

    @property
    def operations(self) -> Mapping[str, Operation]:
        operations: Mapping[str, Operation] = self.handler.operations
        return operations


def endpoints(routes: Sequence[Route]) -> Iterator[Endpoint]:
    """Give each path once, with optional parts of a pattern as paths of their own."""
    found: dict[str, Any] = {}
    for pattern, handler, *_ in routes:
        for path in _paths(pattern):
            found.setdefault(path or "/", handler)
    named = {handler: set[str]() for handler in found.values()}
    for path, handler in found.items():
        named[handler].update(_names(path))
    for path, handler in found.items():
        names = _names(path)
        yield Endpoint(path, handler, names, tuple(sorted(named[handler] - set(names))))


_OPTIONAL = re.compile(r"\(\?:((?:[^()]|\([^()]*\))*)\)\?")
_PARAMETER = re.compile(r"\(\?P<(\w+)>[^()]*\)")


def _paths(pattern: str) -> list[str]:
    texts = [_OPTIONAL.sub("", pattern), _OPTIONAL.sub(r"\1", pattern)]
    return list(dict.fromkeys(_PARAMETER.sub(r"{\1}", text).replace("\\", "") for text in texts))


def _names(path: str) -> tuple[str, ...]:
    return tuple(re.findall(r"{(\w+)}", path))


def _path_parameter(name: str) -> Document:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": PARAMETERS[name],
        "schema": {"type": "string"},
    }


# -- one operation


class _Writer:
    """Writes the description of one method of one endpoint."""

    def __init__(self, schemas: Schemas, endpoint: Endpoint, method: str, operation: Operation) -> None:
        self.schemas, self.endpoint, self.method, self.operation = schemas, endpoint, method, operation
        self.needed: Needed | None = getattr(getattr(endpoint.handler, method), NEEDED, None)
        #: what a scope can be limited to here
        self.target = next((kind for name, kind in _TARGETS.items() if name in endpoint.parameters), None)

    @property
    def scopes(self) -> tuple[str, ...] | None:
        return self.needed.scopes if self.needed else self.operation.scopes

    def write(self) -> Document:
        operation = self.operation
        module = self.endpoint.handler.__module__.rpartition(".")[2]
        written: Document = {
            "operationId": self._id(),
            "tags": [TAGS[module][0]],
            "summary": operation.summary + "".join(f" ({_LEFT_OUT[name]})" for name in self.endpoint.left_out),
            "description": " ".join(filter(None, [operation.description, self._access()])),
        }
        parameters = self._query()
        if parameters:
            written["parameters"] = parameters
        if operation.body is not None:
            written["requestBody"] = self._body()
        written["responses"] = {
            (status if status == "default" else str(status)): answer for status, answer in self._responses()
        }
        written["security"] = self._security()
        return written

    def _id(self) -> str:
        words = re.findall(r"\w+", self.operation.summary.lower().replace("'s", ""))
        parts = [word for word in words if word not in ("a", "an", "the")]
        return "_".join([*parts, *(f"without_{name}" for name in self.endpoint.left_out)])

    def _access(self) -> str:
        scopes, words = self.scopes, self.operation.access
        if scopes is None:
            return words or "Open to anybody."
        if not scopes:
            which = "token or cookie" if self.endpoint.handler.accepts_cookie else "token"
            return " ".join(filter(None, [f"Any valid {which} will do.", words]))
        named = ", ".join(f"`{scope}`" for scope in scopes)
        sentence = f"Needs any of {named}" if len(scopes) > 1 else f"Needs {named}"
        if self.needed and self.needed.is_filtered:
            return f"{sentence}; with a filter, the list is limited to what it names."
        limited = f", for this {self.target} at least." if self.target else ", without a filter."
        if not self.needed and not self.target:
            limited = "."
        return " ".join(filter(None, [sentence + limited, words]))

    def _security(self) -> list[Document]:
        if self.scopes is None:
            return []
        each = [[scope] for scope in self.scopes] or [[]]
        required: list[Document] = [{scheme: scopes} for scopes in each for scheme in ("token", "oauth2")]
        return [*required, {}] if "auth" in _fields_of(self.operation.body) else required

    # -- in

    def _query(self) -> list[Document]:
        if self.operation.query is None:
            return []
        schema = self._inline(self.operation.query)
        return [
            {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", ()),
                **({"description": part["description"]} if "description" in part else {}),
                "schema": {key: value for key, value in _without_null(part).items() if key != "description"},
            }
            for name, part in schema["properties"].items()
        ]

    def _inline(self, shape: type) -> Schema:
        """Give the schema of a class without keeping it among the components."""
        own = Schemas(open_shapes=frozenset(), never_empty=frozenset())
        own.of(shape)
        return own.named[shape.__name__]

    def _body(self) -> Document:
        body, absent = self.operation.body, self.operation.without_body
        if isinstance(body, Raw):
            schema = {"type": "string"} if body.parts is None else self.schemas.of(body.parts)
            described = {"description": body.description} if body.description else {}
            return {
                **described,
                "content": {body.media_type: {"schema": schema}},
                "required": absent is Absent.REFUSED,
            }
        schema = self.schemas.of(body)
        if absent is Absent.ALLOWED:
            schema = {"anyOf": [schema, {"type": "null"}]}
        elif absent is Absent.FALSY:
            schema = {"anyOf": [schema, {"enum": [None, False, 0, "", []]}]}
        return {"content": {"application/json": {"schema": schema}}, "required": absent is Absent.REFUSED}

    # -- out

    def _responses(self) -> Iterator[tuple[Any, Document]]:
        answers = {status: self._answer(status, kind) for status, kind in self.operation.answers.items()}
        if self.method == "get" and 200 in answers and not self._is_stream:
            answers[304] = {"description": _NOT_MODIFIED}
        for status, description in self._refusals().items():
            answers[status] = {"description": description, "content": self._error()}
        yield from sorted(answers.items())
        if self.operation.any_status:
            yield "default", {"description": "What a spawner or a hook has decided.", "content": self._error()}

    @property
    def _is_stream(self) -> bool:
        answer = self.operation.answers.get(200)
        return isinstance(answer, Raw) and answer.parts is not None

    def _answer(self, status: int, kind: Any) -> Document:
        phrase = http.client.responses[status]
        if kind is None:
            return {"description": phrase}
        if not isinstance(kind, Raw):
            return {"description": phrase, "content": {"application/json": {"schema": self.schemas.of(kind)}}}
        schema: Schema = {"type": "string"}
        if kind.parts is not None:
            # each event, as OpenAPI 3.2 describes them; 3.1 has no words for streams
            data = {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": self.schemas.of(kind.parts),
            }
            schema = {"type": "object", "properties": {"data": data}, "required": ["data"]}
        return {"description": kind.description or phrase, "content": {kind.media_type: {"schema": schema}}}

    def _refusals(self) -> dict[int, str]:
        """Say which refusals there are: those that follow from what is known, and those that the operation adds."""
        operation, found = self.operation, {}
        has_json_body = operation.body is not None and not isinstance(operation.body, Raw)
        if has_json_body or operation.query or self.endpoint.parameters:
            found[400] = _BAD_REQUEST
        if self.scopes is not None:
            found[403] = _FORBIDDEN
        if self.needed and self.target:
            found[404] = f"There is no such {self._thing}, or it is not shown to who asks."
        for status, when in operation.refusals.items():
            found[status] = f"{when} {found[status]}" if status == 400 and has_json_body else when
            if status == 403 and self.scopes is not None:
                found[status] = f"{_FORBIDDEN} {when}"
        return {status: text for status, text in found.items() if status not in operation.answers}

    @property
    def _thing(self) -> str:
        return {"server_name": "server", "shared": "share", "token_id": "token"}.get(
            self.endpoint.parameters[-1], self.target or "thing"
        )

    def _error(self) -> Document:
        if not self.endpoint.handler.is_api:
            return {"text/html": {"schema": {"type": "string"}}}
        return {"application/json": {"schema": self.schemas.of(models.Error)}}


def _fields_of(shape: Any) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = getattr(shape, "__dataclass_fields__", {})
    return fields


def _without_null(schema: Schema) -> Schema:
    """A query has no null: what may be None is left out."""
    kind = schema.get("type")
    if isinstance(kind, list) and "null" in kind:
        [kind] = [k for k in kind if k != "null"]
        return {**schema, "type": kind}
    return schema


# -- components


def _name_scopes_of_user_fields(properties: dict[str, Schema]) -> None:
    for field, scopes in USER_FIELDS.items():
        shown = f"Shown with {' or '.join(f'`{scope}`' for scope in scopes)}"
        said = properties[field].get("description")
        properties[field]["description"] = f"{said}. {shown}" if said else shown


def _security_schemes(api_prefix: str, registry: ScopeRegistry) -> Document:
    return {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token in the `Authorization` header. The roles of a requirement are scopes.",
        },
        "oauth2": {
            "type": "oauth2",
            "description": "The same token, where a service gets one for its visitors.",
            "flows": {
                "authorizationCode": {
                    "authorizationUrl": f"{api_prefix}/oauth2/authorize",
                    "tokenUrl": f"{api_prefix}/oauth2/token",
                    "scopes": {name: scope.doc_description for name, scope in registry.definitions.items()},
                }
            },
        },
    }
