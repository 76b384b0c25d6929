"""``/users/{name}/tokens``: API tokens of users."""

from __future__ import annotations

from tornado.web import HTTPError

from jupyterhub.hub.web import bodies, models
from jupyterhub.hub.web.answers import token_model
from jupyterhub.hub.web.api.base import Absent, APIHandler, Operation
from jupyterhub.hub.web.entry import NOBODY, needs_scope
from jupyterhub.rbac.scope_set import Target
from jupyterhub.words.errors import Denied, HubError
from jupyterhub.words.models import Json


class TokenList(APIHandler):
    metrics_name = "jupyterhub.apihandlers.users.UserTokenListAPIHandler"
    operations = {
        "get": Operation("List the tokens of a user", answers={200: models.Tokens}),
        "post": Operation(
            "Make a token",
            bodies.NewToken,
            without_body=Absent.FALSY,
            answers={201: models.MadeToken},
            refusals={400: "There is no such scope or role, or its owner does not have it."},
            scopes=("tokens",),
            access="Without a token or cookie, credentials of the user in `auth` do. Whether there is such a user is "
            "not told: every refusal is a 403.",
        ),
    }
    #: a stranger has to bring a password in the body, which no foreign site knows
    checks_xsrf_of_strangers = False

    @needs_scope("read:tokens")
    async def get(self, user_name: str) -> None:
        tokens = await self.house.tokens.list_of(user_name)
        self.answer({"api_tokens": [token_model(token) for token in tokens]})

    async def post(self, user_name: str) -> None:
        """Make a token. Who may: holders of ``tokens``, or whoever logs in with credentials in the body.

        Every refusal is a 403: nobody learns here which users there are.
        """
        value = self.body() or {}
        if self.requester is None:
            await self._log_in(user_name, value)
        else:
            await self._check_scope(user_name)
        # Last: what is wrong with a body is told only to those who may send one.
        body = bodies.read(bodies.NewToken, value)
        secret, details = await self.house.tokens.create(
            user_name,
            note=body.note,
            expires_in_s=body.expires_in,
            scopes=body.scopes,
            roles=body.roles,
            requester=self.requester,
        )
        made: models.MadeToken = {**token_model(details), "token": secret}
        self.answer(made, status=201)

    async def _log_in(self, user_name: str, value: Json) -> None:
        """See that the credentials in the body are those of this user, who must exist."""
        credentials = value.get("auth") if isinstance(value, dict) else None
        if not isinstance(credentials, dict):
            raise Denied(NOBODY)
        try:
            await self.house.users.find(user_name)
            model = await self.house.logins.authenticate(self, credentials)
        except (HubError, HTTPError) as error:
            raise Denied(NOBODY) from error
        if model is None or model["name"] != user_name:
            raise Denied(NOBODY)
        await self.house.logins.persist(model)

    async def _check_scope(self, user_name: str) -> None:
        """See that the requester may make tokens for this user, and that there is one."""
        groups = frozenset[str]()
        async with self.house.store.read() as tx:
            user = await tx.users.find(user_name)
            if self.asking.scopes.needs_groups(["tokens"]):
                groups = (await tx.groups.groups_of_names([user_name])).get(user_name, groups)
        if user is None or not self.asking.may("tokens", Target(user=user_name, user_groups=groups)):
            raise Denied("Action is not authorized with current scopes; requires any of [tokens]")


class OneToken(APIHandler):
    metrics_name = "jupyterhub.apihandlers.users.UserTokenAPIHandler"
    operations = {
        "get": Operation("Read a token", answers={200: models.Token}),
        "delete": Operation("Revoke a token", answers={204: None}),
    }

    @needs_scope("read:tokens")
    async def get(self, user_name: str, token_id: str) -> None:
        self.answer(token_model(await self.house.tokens.find(user_name, token_id)))

    @needs_scope("tokens")
    async def delete(self, user_name: str, token_id: str) -> None:
        await self.house.tokens.delete(user_name, token_id)
        self.answer(status=204)


_USER = r"/users/(?P<user_name>[^/]+)"

HANDLERS: list[tuple[str, type]] = [
    (_USER + r"/tokens", TokenList),
    (_USER + r"/tokens/(?P<token_id>[^/]*)", OneToken),
]
