"""``/authorizations``: how services of version 1 found out whose token or cookie they had been given.

Only for callers with a token of their own in the header; what they learn is limited by their scopes.
"""

from __future__ import annotations

from jupyterhub.hub.web import models, queries
from jupyterhub.hub.web.api.base import Operation, Raw
from jupyterhub.hub.web.api.whoami import IdentityHandler
from jupyterhub.hub.web.entry import NOBODY
from jupyterhub.words.errors import Denied, NotFound

_ACCESS = "What is answered is limited by the scopes of the token that asks. Cookies do not count."


class _Authorizations(IdentityHandler):
    accepts_cookie = False

    def check_caller(self) -> None:
        if self.requester is None or self.requester.token is None:
            raise Denied(NOBODY)


class TokenOwner(_Authorizations):
    metrics_name = "jupyterhub.apihandlers.auth.TokenAPIHandler"
    operations = {
        "get": Operation(
            "Read whose token this is",
            description="For services of version 1. Use `GET /user` with the token itself.",
            query=queries.ShownServers,
            answers={200: models.User | models.Service},
            refusals={404: "There is no such token, or it has expired."},
            scopes=(),
            access=_ACCESS,
        ),
        "post": Operation(
            "Make a token, until version 1",
            description="Always refused. Use `POST /users/{user_name}/tokens`.",
            refusals={404: "Always."},
        ),
    }
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

    def post(self, secret: str = "") -> None:
        # removed in version 2: POST /users/{name}/tokens
        raise NotFound()


class CookieOwner(_Authorizations):
    metrics_name = "jupyterhub.apihandlers.auth.CookieAPIHandler"
    operations = {
        "get": Operation(
            "Read whose cookie this is",
            Raw("text/plain", "The value of the cookie, if it is not in the address"),
            description="For services of version 1.",
            query=queries.ShownServers,
            answers={200: models.User},
            refusals={404: "The cookie is not valid, or the user may not be read."},
            scopes=(),
            access=_ACCESS,
        )
    }
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
