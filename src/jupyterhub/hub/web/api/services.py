"""``/services``: what services there are; adding and removing external ones."""

from __future__ import annotations

from dataclasses import asdict

from tornado.web import HTTPError

from jupyterhub.hub.web import bodies
from jupyterhub.hub.web.answers import service_model
from jupyterhub.hub.web.api.base import APIHandler, Operation
from jupyterhub.hub.web.entry import needs_scope
from jupyterhub.words.errors import AlreadyExists, Invalid, NotFound


class ServiceList(APIHandler):
    metrics_name = "jupyterhub.apihandlers.services.ServiceListAPIHandler"
    operations = {"get": Operation("List services", answers={200: "Services"})}

    @needs_scope("list:services")
    async def get(self) -> None:
        services = await self.house.services.visible(self.asking.list_filter("list:services"))
        scopes, settings = self.asking.scopes, self.house.settings
        models = {details.service.name: service_model(details, scopes, settings) for details in services}
        self.answer({name: model for name, model in models.items() if model})


class OneService(APIHandler):
    metrics_name = "jupyterhub.apihandlers.services.ServiceAPIHandler"
    operations = {
        "get": Operation("Read a service", answers={200: "Service"}),
        "post": Operation("Add a service", bodies.NewService, body_required=True, answers={201: "Service"}),
        "delete": Operation("Remove a service", answers={200: None}),
    }

    @needs_scope("read:services", "read:services:name", "read:roles:services")
    async def get(self, service_name: str) -> None:
        details = await self.house.services.details(service_name)
        self.answer(service_model(details, self.asking.scopes, self.house.settings))

    @needs_scope("admin:services")
    async def post(self, service_name: str) -> None:
        if await self._exists(service_name):
            raise AlreadyExists(f"Service {service_name} already exists")
        value = self.body()
        if not isinstance(value, dict) or not value:
            raise Invalid("Describe the service: a JSON object with at least one key.")
        body = bodies.read(bodies.NewService, value)
        described = {key: part for key, part in asdict(body).items() if key in value} | {"name": service_name}
        created = await self.house.services.add(described, requester=self.asking)
        self.answer(service_model(created, self.asking.scopes, self.house.settings), status=201)

    @needs_scope("admin:services")
    async def delete(self, service_name: str) -> None:
        details = await self.house.services.details(service_name)
        if details.service.from_config:
            raise HTTPError(405, "Service %s is in the configuration file: remove it there.", service_name)
        await self.house.services.remove(service_name)
        self.answer()

    async def _exists(self, name: str) -> bool:
        try:
            await self.house.services.details(name)
        except NotFound:
            return False
        return True


HANDLERS: list[tuple[str, type]] = [
    (r"/services", ServiceList),
    (r"/services/(?P<service_name>[^/]+)", OneService),
]
