"""``/services``: what services there are; adding and removing external ones."""

from __future__ import annotations

from dataclasses import asdict

from tornado.web import HTTPError

from jupyterhub.hub.web import bodies, models
from jupyterhub.hub.web.answers import service_model
from jupyterhub.hub.web.api.base import Absent, APIHandler, Operation
from jupyterhub.hub.web.entry import needs_scope
from jupyterhub.words.errors import AlreadyExists, NotFound


class ServiceList(APIHandler):
    metrics_name = "jupyterhub.apihandlers.services.ServiceListAPIHandler"
    operations = {"get": Operation("List services", answers={200: dict[str, models.Service]})}

    @needs_scope("list:services")
    async def get(self) -> None:
        services = await self.house.services.visible(self.asking.list_filter("list:services"))
        scopes, settings = self.asking.scopes, self.house.settings
        shown = {details.service.name: service_model(details, scopes, settings) for details in services}
        self.answer({name: model for name, model in shown.items() if model})


class OneService(APIHandler):
    metrics_name = "jupyterhub.apihandlers.services.ServiceAPIHandler"
    operations = {
        "get": Operation("Read a service", answers={200: models.Service}),
        "post": Operation(
            "Add a service",
            bodies.NewService,
            description="One with a `url` is waited for, and has a route at once.",
            without_body=Absent.REFUSED,
            answers={201: models.Service},
            refusals={
                400: "It asks for scopes that you do not hold yourself, or it is none that can be added over the API.",
                409: "There is one of this name.",
            },
        ),
        "delete": Operation(
            "Remove a service",
            answers={200: None},
            refusals={405: "It is in the configuration file.", 409: "It has come into the configuration meanwhile."},
        ),
    }

    @needs_scope("read:services", "read:services:name", "read:roles:services")
    async def get(self, service_name: str) -> None:
        details = await self.house.services.details(service_name)
        self.answer(service_model(details, self.asking.scopes, self.house.settings))

    @needs_scope("admin:services")
    async def post(self, service_name: str) -> None:
        if await self._exists(service_name):
            raise AlreadyExists(f"Service {service_name} already exists")
        given = asdict(self.read_body(bodies.NewService))
        described = {key: given[key] for key in self.body()} | {"name": service_name}
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
