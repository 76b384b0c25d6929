"""``/proxy``: the proxy's routes as it has them, and making them right at once."""

from __future__ import annotations

from jupyterhub.hub.web import bodies, models, queries
from jupyterhub.hub.web.api.base import Absent, APIHandler, Operation, paged
from jupyterhub.hub.web.entry import needs_scope

_NO_PROXY = "The proxy does not answer."


class ProxyRoutes(APIHandler):
    metrics_name = "jupyterhub.apihandlers.proxy.ProxyAPIHandler"
    operations = {
        "get": Operation(
            "List the proxy's routes",
            description="By prefix, as the proxy has them now.",
            query=queries.Paging,
            answers={200: paged(dict[str, models.ProxyRoute])},
            refusals={500: _NO_PROXY},
        ),
        "post": Operation(
            "Check the proxy's routes",
            description="Compares them with what should be there, and mends them.",
            answers={200: None},
            refusals={500: _NO_PROXY},
        ),
        "patch": Operation(
            "Say where the proxy is",
            bodies.ProxyAddress,
            description="From now on, until the hub ends. The routes are checked at once.",
            without_body=Absent.REFUSED,
            answers={200: None},
            refusals={500: _NO_PROXY},
        ),
    }

    @needs_scope("proxy")
    async def get(self) -> None:
        window = self.window()
        routes = await self.house.routes.all()
        page = sorted(routes)[window.offset : window.offset + window.limit]
        self.answer_list({spec: routes[spec] for spec in page}, len(routes), window)

    @needs_scope("proxy")
    async def post(self) -> None:
        await self.house.routes.check()
        self.answer()

    @needs_scope("proxy")
    async def patch(self) -> None:
        address = self.read_body(bodies.ProxyAddress)
        self.house.routes.use_proxy_at(api_url=address.api_url, auth_token=address.auth_token)
        await self.house.routes.check()
        self.answer()


HANDLERS: list[tuple[str, type]] = [(r"/proxy", ProxyRoutes)]
