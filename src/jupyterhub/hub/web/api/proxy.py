"""``/proxy``: the proxy's routes as it has them, and making them right at once."""

from __future__ import annotations

from jupyterhub.hub.web import bodies
from jupyterhub.hub.web.api.base import APIHandler, Operation
from jupyterhub.hub.web.entry import needs_scope
from jupyterhub.words.errors import Invalid


class ProxyRoutes(APIHandler):
    metrics_name = "jupyterhub.apihandlers.proxy.ProxyAPIHandler"
    operations = {
        "get": Operation("List the proxy's routes", answers={200: "Routes"}, paginated=True),
        "post": Operation("Compare the proxy's routes with what should be there, and mend them", answers={200: None}),
        "patch": Operation(
            "Say where the proxy's API is now", bodies.ProxyAddress, body_required=True, answers={200: None}
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
        value = self.body()
        if not isinstance(value, dict) or not value:
            raise Invalid("Say where the proxy is: an object with 'api_url' or 'auth_token'.")
        address = bodies.read(bodies.ProxyAddress, value)
        self.house.routes.use_proxy_at(api_url=address.api_url, auth_token=address.auth_token)
        await self.house.routes.check()
        self.answer()


HANDLERS: list[tuple[str, type]] = [(r"/proxy", ProxyRoutes)]
