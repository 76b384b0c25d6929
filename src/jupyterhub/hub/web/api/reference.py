"""``/openapi.json``: the description of the API itself."""

from __future__ import annotations

import json
from collections.abc import Sequence

from jupyterhub.hub.web import openapi
from jupyterhub.hub.web.api.base import APIHandler, Operation
from jupyterhub.hub.web.models import Object


class DocumentHandler(APIHandler):
    """The OpenAPI document. It is made when somebody asks for the first time, and kept."""

    metrics_name = "jupyterhub.apihandlers.reference.OpenAPIHandler"
    operations = {"get": Operation("Read the OpenAPI document", description="Of this very API.", answers={200: Object})}
    identifies = False

    def initialize(self, routes: Sequence[openapi.Route], beside: Sequence[openapi.Route]) -> None:
        self.routes, self.beside = routes, beside

    def get(self) -> None:
        kept = self.application.settings
        if "openapi_text" not in kept:
            document = openapi.document(
                self.routes,
                beside=self.beside,
                hub_prefix=self.hub_settings.hub_prefix,
                registry=self.house.registry,
            )
            kept["openapi_text"] = json.dumps(document)
        self.set_header("Content-Type", "application/json")
        self.finish(kept["openapi_text"])


def handlers(routes: Sequence[openapi.Route], *, beside: Sequence[openapi.Route]) -> list[openapi.Route]:
    """Give the routes of the description of these routes; it describes itself as well."""
    described = [*routes]
    given = {"routes": described, "beside": beside}
    own: list[openapi.Route] = [(r"/openapi.json", DocumentHandler, given)]
    described.extend(own)
    return own
