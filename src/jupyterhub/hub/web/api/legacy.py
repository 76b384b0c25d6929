"""``/authorizations``: how services of version 1 found out whose token or cookie they had been given.

Only for callers with a token of their own in the header; what they learn is limited by their scopes.
"""

from __future__ import annotations

from typing import Any

from jupyterhub.hub.web.api.base import Operation
from jupyterhub.hub.web.api.whoami import IdentityHandler
from jupyterhub.hub.web.entry import NOBODY
from jupyterhub.words.errors import Denied, NotFound


class _Authorizations(IdentityHandler):
    accepts_cookie = False

    def check_caller(self) -> None:
        if self.requester is None or self.requester.token is None:
            raise Denied(NOBODY)


class TokenOwner(_Authorizations):
    metrics_name = "jupyterhub.apihandlers.auth.TokenAPIHandler"
    operations = {"get": Operation("Read whose token this is", answers={200: "Identity"})}
    checks_xsrf = False

    async def get(self, secret: str = "") -> None:
        self.check_caller()
        inspected = await self.house.requesters.by_token(secret) if secret else None
        if inspected is None or inspected.token is None:
            raise NotFound()
        self.house.activity.saw_token(inspected.token)
        if inspected.user is not None:
            self.answer(await self.user_identity(inspected.user, self.asking.scopes, identify=True))
        else:
            self.answer(await self.service_identity(inspected.name, self.asking.scopes))

    def post(self, *args: Any) -> None:
        # removed in version 2: POST /users/{name}/tokens
        raise NotFound()


class CookieOwner(_Authorizations):
    metrics_name = "jupyterhub.apihandlers.auth.CookieAPIHandler"
    operations = {"get": Operation("Read whose cookie this is", answers={200: "User"})}
    checks_xsrf = False

    async def get(self, cookie_name: str, cookie_value: str = "") -> None:
        self.check_caller()
        value = cookie_value or self.request.body.decode("utf-8", "replace")
        cookie_id = self.get_signed_cookie(cookie_name, value=value)
        if cookie_id is None:
            raise NotFound()
        async with self.house.store.read() as tx:
            user = await tx.users.find_by_cookie_id(cookie_id.decode("utf-8", "replace"))
        if user is None:
            raise NotFound()
        model = await self.user_identity(user, self.asking.scopes, identify=False)
        if not model:
            raise NotFound()
        self.answer(model)


HANDLERS: list[tuple[str, type]] = [
    (r"/authorizations/token(?:/(?P<secret>[^/]*))?", TokenOwner),
    (r"/authorizations/cookie/(?P<cookie_name>[^/]+)(?:/(?P<cookie_value>[^/]*))?", CookieOwner),
]
