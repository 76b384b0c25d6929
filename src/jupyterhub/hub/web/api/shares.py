"""``/shares``, ``/share-codes`` and the ``/shared`` of users and groups: who may use whose servers."""

from __future__ import annotations

from jupyterhub.hub.web import bodies, models, queries
from jupyterhub.hub.web.answers import made_share_code_model, share_code_model, share_model
from jupyterhub.hub.web.api.base import Absent, APIHandler, Operation
from jupyterhub.hub.web.entry import needs_scope
from jupyterhub.words.models import Share, ShareCode, Window
from jupyterhub.words.names import ServerKey
from jupyterhub.words.unset import Unset

_SHARES, _CODES = models.Page[list[models.Share]], models.Page[list[models.ShareCode]]


class _SharesHandler(APIHandler):
    def answer_shares(self, shares: list[Share], total: int, window: Window) -> None:
        shown = [share_model(share, self.house.settings) for share in shares]
        self.answer_list(shown, total, window, always_wrapped=True)

    def answer_codes(self, codes: list[ShareCode], total: int, window: Window) -> None:
        shown = [share_code_model(code, self.house.settings) for code in codes]
        self.answer_list(shown, total, window, always_wrapped=True)


class SharesOfOwner(_SharesHandler):
    metrics_name = "jupyterhub.apihandlers.shares.UserShareListAPIHandler"
    operations = {"get": Operation("List the shares of a user's servers", query=queries.Paging, answers={200: _SHARES})}

    @needs_scope("read:shares")
    async def get(self, user_name: str) -> None:
        window = self.window()
        self.answer_shares(*await self.house.shares.list_of_owner(user_name, window), window)


class SharesOfServer(_SharesHandler):
    metrics_name = "jupyterhub.apihandlers.shares.ServerShareAPIHandler"
    operations = {
        "get": Operation("List the shares of a server", query=queries.Paging, answers={200: _SHARES}),
        "post": Operation(
            "Share a server",
            bodies.Recipient,
            description="Adds to what is shared with them already. Scopes without a filter are limited to the server.",
            without_body=Absent.REFUSED,
            answers={200: models.Share},
            refusals={
                400: "There is nobody of this name, or the scopes are not for this server.",
                403: "You do not hold the scopes yourself, or may not read the name of who gets them.",
            },
        ),
        "patch": Operation(
            "Take back a share",
            bodies.Recipient,
            description="Scopes are taken back as they are written, filter included; without any, all of them.",
            without_body=Absent.REFUSED,
            answers={200: models.Share | models.NothingShared},
        ),
        "delete": Operation("Take back all shares of a server", answers={204: None}),
    }

    @needs_scope("read:shares")
    async def get(self, user_name: str, server_name: str) -> None:
        window = self.window()
        found = await self.house.shares.list_of_server(ServerKey(user_name, server_name), window)
        self.answer_shares(*found, window)

    @needs_scope("shares")
    async def post(self, user_name: str, server_name: str) -> None:
        body = self.read_body(bodies.Recipient)
        share = await self.house.shares.grant(
            ServerKey(user_name, server_name),
            user=body.user,
            group=body.group,
            scopes=body.scopes,
            requester=self.asking,
        )
        self.answer(share_model(share, self.house.settings))

    @needs_scope("shares")
    async def patch(self, user_name: str, server_name: str) -> None:
        body = self.read_body(bodies.Recipient)
        share = await self.house.shares.revoke(
            ServerKey(user_name, server_name), user=body.user, group=body.group, scopes=body.scopes
        )
        self.answer({} if share is None else share_model(share, self.house.settings))

    @needs_scope("shares")
    async def delete(self, user_name: str, server_name: str) -> None:
        await self.house.shares.revoke_all(ServerKey(user_name, server_name))
        self.answer(status=204)


class SharedWithUser(_SharesHandler):
    metrics_name = "jupyterhub.apihandlers.shares.UserSharedListAPIHandler"
    operations = {"get": Operation("List what is shared with a user", query=queries.Paging, answers={200: _SHARES})}

    @needs_scope("read:users:shares")
    async def get(self, user_name: str) -> None:
        window = self.window()
        self.answer_shares(*await self.house.shares.list_for_user(user_name, window), window)


class ShareWithUser(_SharesHandler):
    metrics_name = "jupyterhub.apihandlers.shares.UserSharedAPIHandler"
    operations = {
        "get": Operation("Read what of a server is shared with a user", answers={200: models.Share}),
        "delete": Operation("Give up what is shared with a user", answers={204: None}),
    }

    @needs_scope("read:users:shares")
    async def get(self, user_name: str, owner: str, shared: str) -> None:
        share = await self.house.shares.find(ServerKey(owner, shared), user=user_name)
        self.answer(share_model(share, self.house.settings))

    @needs_scope("users:shares")
    async def delete(self, user_name: str, owner: str, shared: str) -> None:
        await self.house.shares.leave(ServerKey(owner, shared), user=user_name)
        self.answer(status=204)


class SharedWithGroup(_SharesHandler):
    metrics_name = "jupyterhub.apihandlers.shares.GroupSharedListAPIHandler"
    operations = {"get": Operation("List what is shared with a group", query=queries.Paging, answers={200: _SHARES})}

    @needs_scope("read:groups:shares")
    async def get(self, group_name: str) -> None:
        window = self.window()
        self.answer_shares(*await self.house.shares.list_for_group(group_name, window), window)


class ShareWithGroup(_SharesHandler):
    metrics_name = "jupyterhub.apihandlers.shares.GroupSharedAPIHandler"
    operations = {
        "get": Operation("Read what of a server is shared with a group", answers={200: models.Share}),
        "delete": Operation("Give up what is shared with a group", answers={204: None}),
    }

    @needs_scope("read:groups:shares")
    async def get(self, group_name: str, owner: str, shared: str) -> None:
        share = await self.house.shares.find(ServerKey(owner, shared), group=group_name)
        self.answer(share_model(share, self.house.settings))

    @needs_scope("groups:shares")
    async def delete(self, group_name: str, owner: str, shared: str) -> None:
        await self.house.shares.leave(ServerKey(owner, shared), group=group_name)
        self.answer(status=204)


class CodesOfOwner(_SharesHandler):
    metrics_name = "jupyterhub.apihandlers.shares.UserShareCodeListAPIHandler"
    operations = {
        "get": Operation(
            "List the codes of a user's servers",
            query=queries.Paging,
            answers={200: _CODES},
        )
    }

    @needs_scope("read:shares")
    async def get(self, user_name: str) -> None:
        window = self.window()
        self.answer_codes(*await self.house.shares.list_codes_of_owner(user_name, window), window)


class CodesOfServer(_SharesHandler):
    metrics_name = "jupyterhub.apihandlers.shares.ServerShareCodeAPIHandler"
    operations = {
        "get": Operation("List the codes of a server", query=queries.Paging, answers={200: _CODES}),
        "post": Operation(
            "Make a code",
            bodies.NewShareCode,
            answers={200: models.MadeShareCode},
            refusals={400: "The scopes are not for this server.", 403: "You do not hold the scopes yourself."},
        ),
        "delete": Operation(
            "Revoke codes",
            query=queries.CodeChoice,
            answers={204: None},
            refusals={404: "There is no such code, or server."},
        ),
    }

    @needs_scope("read:shares")
    async def get(self, user_name: str, server_name: str) -> None:
        window = self.window()
        found = await self.house.shares.list_codes_of_server(ServerKey(user_name, server_name), window)
        self.answer_codes(*found, window)

    @needs_scope("shares")
    async def post(self, user_name: str, server_name: str) -> None:
        body = self.read_optional_body(bodies.NewShareCode)
        secret, code = await self.house.shares.create_code(
            ServerKey(user_name, server_name),
            scopes=body.scopes,
            expires_in_s=None if isinstance(body.expires_in, Unset) else body.expires_in,
            requester=self.asking,
        )
        self.answer(made_share_code_model(code, secret, self.house.settings))

    @needs_scope("shares")
    async def delete(self, user_name: str, server_name: str) -> None:
        key = ServerKey(user_name, server_name)
        chosen = self.read_query(queries.CodeChoice)
        if chosen.code is None and chosen.id is None:
            await self.house.shares.delete_codes(key)
        else:
            await self.house.shares.delete_code(key, secret=chosen.code, code_id=chosen.id)
        self.answer(status=204)


_OWNER = r"(?P<user_name>[^/]+)"
_SERVER = r"(?P<server_name>[^/]*)"
_OF = r"(?P<owner>[^/]+)/(?P<shared>[^/]*)"

HANDLERS: list[tuple[str, type]] = [
    (rf"/shares/{_OWNER}", SharesOfOwner),
    (rf"/shares/{_OWNER}/{_SERVER}", SharesOfServer),
    (rf"/share-codes/{_OWNER}", CodesOfOwner),
    (rf"/share-codes/{_OWNER}/{_SERVER}", CodesOfServer),
    (rf"/users/{_OWNER}/shared", SharedWithUser),
    (rf"/users/{_OWNER}/shared/{_OF}", ShareWithUser),
    (r"/groups/(?P<group_name>[^/]+)/shared", SharedWithGroup),
    (rf"/groups/(?P<group_name>[^/]+)/shared/{_OF}", ShareWithGroup),
]
