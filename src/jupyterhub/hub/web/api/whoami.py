"""``/user``: who the requester is; what servers and services ask with their visitors' tokens."""

from __future__ import annotations

from jupyterhub.hub.requester import Requester
from jupyterhub.hub.users import UserDetails
from jupyterhub.hub.web import models, queries
from jupyterhub.hub.web.answers import UserModels, service_row_model, user_parts, with_identity
from jupyterhub.hub.web.api.base import APIHandler, Operation
from jupyterhub.rbac.expand import Owner
from jupyterhub.rbac.scope_set import ScopeSet
from jupyterhub.words.errors import Denied
from jupyterhub.words.models import User


class IdentityHandler(APIHandler):
    """Base of the handlers that answer with the model of whoever a credential belongs to."""

    async def user_identity(self, user: User, scopes: ScopeSet, *, identify: bool) -> models.User | None:
        if identify:
            scopes = with_identity(scopes, Owner("user", user.name))
        details: UserDetails = await self.house.users.details_of(user, user_parts(scopes))
        asked = self.read_query(queries.ShownServers)
        shown = UserModels(scopes, self.house.settings, include_stopped_servers=asked.include_stopped_servers)
        return shown.model(details)

    async def service_identity(self, name: str, scopes: ScopeSet) -> models.Service | None:
        scopes = with_identity(scopes, Owner("service", name))
        details = await self.house.services.details(name)
        return service_row_model(details, scopes, self.house.settings)


class WhoAmI(IdentityHandler):
    metrics_name = "jupyterhub.apihandlers.users.SelfAPIHandler"
    operations = {
        "get": Operation(
            "Read who asks",
            description="The user or service whose token or cookie the request came with.",
            query=queries.ShownServers,
            answers={200: models.UserWhoAsks | models.ServiceWhoAsks},
            scopes=(),
        )
    }

    async def get(self) -> None:
        requester = self.requester
        if requester is None:
            raise Denied()
        model: models.User | models.Service | None
        if requester.user is not None:
            model = await self.user_identity(requester.user, requester.scopes, identify=True)
        else:
            model = await self.service_identity(requester.name, requester.scopes)
        assert model is not None  # everybody may read their own name
        self.answer({**model, **_asking(requester)})


def _asking(requester: Requester) -> models.Asking:
    token = requester.token
    return {
        "token_id": token.public_id if token else None,
        "session_id": token.session_id if token else None,
        "scopes": sorted(requester.scopes.raw),
    }


HANDLERS: list[tuple[str, type]] = [(r"/user", WhoAmI)]
