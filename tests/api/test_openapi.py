"""The OpenAPI document: whole, valid, and about the API that there is."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from tornado.web import RequestHandler

from jupyterhub.hub.web import answers, bodies, openapi, queries, urls
from jupyterhub.hub.web.api import not_found
from jupyterhub.hub.web.entry import NEEDED
from jupyterhub.hub.web.oauth.metadata import WELL_KNOWN, MetadataHandler
from jupyterhub.hub.web.render import StaticFiles, Templates
from jupyterhub.rbac.scopes import SCOPES, ScopeRegistry

from .calls import serving
from .house_of_tests import small_house

ROUTES = [route for route in urls.API if route[1] is not not_found.NotFoundHandler]
DOCUMENT = openapi.document(ROUTES, hub_prefix="/hub/", registry=ScopeRegistry.default())
HANDLERS = list(dict.fromkeys(route[1] for route in ROUTES))


def documented() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method in openapi.METHODS:
            if method in item:
                yield path, method, item[method]


def methods_of(handler: type[RequestHandler]) -> set[str]:
    return {m for m in openapi.METHODS if getattr(handler, m) is not getattr(RequestHandler, m)}


# -- whole


def test_it_is_an_openapi_document():
    OpenAPIV31SpecValidator(DOCUMENT).validate()


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda h: h.__name__)
def test_every_method_is_documented_and_no_other(handler):
    assert set(handler.operations) == methods_of(handler)


def test_every_path_of_the_document_leads_to_the_handler_that_it_describes():
    by_path = {endpoint.path: endpoint.handler for endpoint in openapi.endpoints(ROUTES)}
    assert set(by_path) == {path for path in DOCUMENT["paths"] if "servers" not in DOCUMENT["paths"][path]}
    for path, handler in by_path.items():
        address = re.sub(r"{\w+}", "x", path)
        serves = next(route[1] for route in urls.API if re.fullmatch(route[0], address))
        assert serves is handler, path


def test_every_route_is_in_the_document():
    described = {endpoint.handler for endpoint in openapi.endpoints(ROUTES)}
    assert described == set(HANDLERS)


def test_an_undocumented_method_would_be_noticed():
    class Undocumented(urls.groups.OneGroup):
        def put(self) -> None: ...

    assert set(Undocumented.operations) != methods_of(Undocumented)


def test_what_is_not_there_cannot_be_documented():
    class Promises(urls.groups.GroupProperties):
        operations = {"get": urls.groups.OneGroup.operations["get"]}

    with pytest.raises(AssertionError, match="Promises"):
        openapi.document([(r"/x", Promises)], hub_prefix="/hub/", registry=ScopeRegistry.default())


# -- about the API that there is


def _names_of(method: Any, module: Any) -> set[type]:
    """The classes of ``bodies`` or ``queries`` that a method's code mentions."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(method))))
    name = module.__name__.rpartition(".")[2]
    return {
        found
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name
        if isinstance(found := getattr(module, node.attr), type)
    }


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda h: h.__name__)
def test_a_method_reads_the_body_and_the_query_that_are_documented(handler):
    for name, operation in handler.operations.items():
        method = getattr(handler, name)
        source = inspect.getsource(inspect.unwrap(method))
        read = _names_of(method, bodies)
        if "read_server_options" in source:
            read.add(bodies.ServerOptions)
        is_json = isinstance(operation.body, type) and operation.body is not dict
        assert read == ({operation.body} if is_json else set()), name
        query = operation.query or object
        assert all(issubclass(query, each) for each in _names_of(method, queries)), name
        assert ("self.window()" in source) == issubclass(query, queries.Paging), name
        if "self.shown()" in source or "_identity(" in source:
            assert issubclass(query, queries.ShownServers), name


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda h: h.__name__)
def test_scopes_are_said_at_the_door_or_in_the_operation_but_not_twice(handler):
    for name, operation in handler.operations.items():
        needed = getattr(getattr(handler, name), NEEDED, None)
        assert needed is None or operation.scopes is None, name


def test_scopes_of_requirements_exist():
    for path, method, operation in documented():
        for requirement in operation["security"]:
            for scopes in requirement.values():
                assert set(scopes) <= set(SCOPES), (method, path)
    flows = DOCUMENT["components"]["securitySchemes"]["oauth2"]["flows"]
    assert set(flows["authorizationCode"]["scopes"]) == set(SCOPES)


def test_operations_have_names_of_their_own():
    names = [operation["operationId"] for _, _, operation in documented()]
    assert len(names) == len(set(names))


def test_fields_of_users_that_take_a_scope_say_which():
    user = DOCUMENT["components"]["schemas"]["User"]
    assert user["properties"].keys() - set(user["required"]) == set(answers.USER_FIELDS)
    assert user["properties"]["groups"]["description"] == "Shown with `read:users` or `read:users:groups`"


def test_bodies_are_described_as_they_are_read():
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["NewUsers"]["required"] == ["usernames"]
    assert schemas["NewUsers"]["additionalProperties"] is False
    assert "additionalProperties" not in schemas["ActivityReport"]
    assert schemas["NewUsers"]["properties"]["groups"]["deprecated"] is True
    assert schemas["NewToken"]["properties"]["expires_in"]["type"] == ["integer", "null"]
    assert schemas["ServerChange"]["minProperties"] == 1
    body = DOCUMENT["paths"]["/users"]["post"]["requestBody"]
    assert body["required"] and body["content"]["application/json"]["schema"]["$ref"].endswith("/NewUsers")


@pytest.mark.parametrize(
    ("method", "path", "statuses"),
    [
        ("get", "/", {"200", "304"}),
        ("get", "/users", {"200", "304", "400", "403"}),
        ("patch", "/users/{user_name}", {"200", "400", "403", "404"}),
        ("post", "/users/{user_name}/tokens", {"201", "400", "403"}),
        (
            "post",
            "/users/{user_name}/servers/{server_name}",
            {"201", "202", "400", "403", "404", "409", "429", "500", "503", "default"},
        ),
        ("delete", "/services/{service_name}", {"200", "400", "403", "404", "405", "409"}),
    ],
)
def test_statuses_of_an_operation(method, path, statuses):
    assert set(DOCUMENT["paths"][path][method]["responses"]) == statuses


# -- served


async def test_anybody_may_read_it_below_the_base_url(database):
    async with small_house(database, base_url="/jupyter/", hub_prefix="/jupyter/hub/") as house, serving(house) as api:
        r = await api("GET", "openapi.json", token=None)
        assert r.status_code == 200 and r.headers["Content-Type"] == "application/json"
        assert r.json()["servers"] == [{"url": "/jupyter/hub/api"}]
        beside = r.json()["paths"][WELL_KNOWN.replace("\\", "")]
        assert beside["servers"] == [{"url": "/jupyter/hub"}] and MetadataHandler.operations.keys() <= beside.keys()
        again = await api("GET", "openapi.json", headers={"If-None-Match": r.headers["ETag"]})
        assert again.status_code == 304


async def test_it_is_made_when_it_is_asked_for(api, monkeypatch):
    made = []
    real = openapi.document
    monkeypatch.setattr(openapi, "document", lambda *a, **k: made.append(1) or real(*a, **k))
    assert (await api("GET", "")).status_code == 200 and made == []
    for _ in range(3):
        assert (await api("GET", "openapi.json")).json()["openapi"] == "3.1.0"
    assert made == [1]


async def test_the_page_shows_every_operation_and_runs_nothing_inline(database):
    async with small_house(database, hub_prefix="/jupyter/hub/") as house, serving(house) as api:
        house.templates = Templates(template_paths=[], static=StaticFiles(url_prefix="/jupyter/hub/static/"))
        r = await api("GET", "docs", token=None)
        assert r.status_code == 200 and r.headers["Content-Type"].startswith("text/html")
        policy = r.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        for _, _, operation in documented():
            assert f'id="{operation["operationId"]}"' in r.text
        assert set(re.findall(r'href="#([^"]+)"', r.text)) <= set(re.findall(r'id="([^"]+)"', r.text))
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]* src=)", r.text)
        assert set(re.findall(r'(?:src|<link[^>]*href)="(/[^"?]*)', r.text)) and "http://" not in r.text
