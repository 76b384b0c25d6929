"""``/openapi.json`` and ``/docs``: the description of the API itself, for programs and for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from jupyterhub.hub.web.api.base import APIHandler, Operation, Raw
from jupyterhub.hub.web.handler import HubHandler
from jupyterhub.hub.web.models import Object

Route = tuple[Any, ...]


class _Described(HubHandler):
    """What both are made of. It is made when somebody asks for the first time, and kept."""

    identifies = False

    def initialize(self, routes: Sequence[Route], beside: Sequence[Route]) -> None:
        self.routes, self.beside = routes, beside

    @property
    def document(self) -> dict[str, Any]:
        from jupyterhub.hub.web import openapi  # no hub starts later because somebody may ask

        return openapi.document(
            self.routes, beside=self.beside, hub_prefix=self.hub_settings.hub_prefix, registry=self.house.registry
        )


class DocumentHandler(_Described, APIHandler):
    """The OpenAPI document."""

    metrics_name = "jupyterhub.apihandlers.reference.OpenAPIHandler"
    operations = {"get": Operation("Read the OpenAPI document", description="Of this very API.", answers={200: Object})}

    def get(self) -> None:
        kept = self.application.settings
        if "openapi_text" not in kept:
            kept["openapi_text"] = json.dumps(self.document)
        self.set_header("Content-Type", "application/json")
        self.finish(kept["openapi_text"])


class PageHandler(_Described):
    """The same as a page: whole in itself, so that it can be read without any other host and with all scripts off."""

    metrics_name = "jupyterhub.apihandlers.reference.DocsHandler"
    operations = {"get": Operation("Read about the API", answers={200: Raw("text/html")})}

    @property
    def content_security_policy(self) -> str:
        ours = "style-src 'self'; script-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'"
        return f"{super().content_security_policy}; default-src 'none'; {ours}"

    async def get(self) -> None:
        kept = self.application.settings
        if "openapi_page" not in kept:
            from jupyterhub.hub.web import openapi_page

            prefix = self.hub_settings.hub_prefix
            page = openapi_page.page_of(self.document)
            kept["openapi_page"] = await self.house.templates.render("api-docs.html", base_url=prefix, page=page)
        self.finish(kept["openapi_page"])


def handlers(routes: Sequence[Route], *, beside: Sequence[Route]) -> list[Route]:
    """Give the routes of the description of these routes; it describes itself as well."""
    described = [*routes]
    given = {"routes": described, "beside": beside}
    own: list[Route] = [(r"/openapi.json", DocumentHandler, given), (r"/docs", PageHandler, given)]
    described.extend(own)
    return own
