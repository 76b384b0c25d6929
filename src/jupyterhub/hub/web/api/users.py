"""``/users``: creating, reading, listing, changing and deleting users, and reporting their activity."""

from __future__ import annotations

from jupyterhub.hub.web import bodies
from jupyterhub.hub.web.answers import UserModels, user_parts
from jupyterhub.hub.web.api.base import APIHandler, Operation
from jupyterhub.hub.web.entry import needs_scope
from jupyterhub.rbac.scope_set import Target
from jupyterhub.words.errors import Denied, Invalid

READ_USER = (
    "read:users",
    "read:users:name",
    "read:servers",
    "read:users:groups",
    "read:users:activity",
    "read:roles:users",
)


class _UsersHandler(APIHandler):
    def models(self) -> UserModels:
        return UserModels(
            self.asking.scopes,
            self.house.settings,
            include_stopped_servers=self.flag("include_stopped_servers"),
        )


class UserList(_UsersHandler):
    metrics_name = "jupyterhub.apihandlers.users.UserListAPIHandler"
    operations = {
        "get": Operation("List users", answers={200: "User"}, paginated=True),
        "post": Operation("Create users", bodies.NewUsers, body_required=True, answers={201: "User"}),
    }

    @needs_scope("list:users")
    async def get(self) -> None:
        window = self.window()
        sort = self.get_query_argument("sort", "id")
        users, total = await self.house.users.page(
            self.asking.list_filter("list:users"),
            state=self.get_query_argument("state", ""),
            name_filter=self.get_query_argument("name_filter", "", strip=False) or None,
            sort=sort,
            window=window,
            parts=user_parts(self.asking.scopes),
        )
        models = self.models()
        self.answer_list([model for user in users if (model := models.model(user))], total, window)

    @needs_scope("admin:users")
    async def post(self) -> None:
        body = self.read_body(bodies.NewUsers)
        created = await self.house.users.create_many(body.usernames, admin=body.admin, requester=self.asking)
        models = self.models()
        self.answer([models.model(user) for user in created], status=201)


class OneUser(_UsersHandler):
    metrics_name = "jupyterhub.apihandlers.users.UserAPIHandler"
    operations = {
        "get": Operation("Read a user", answers={200: "User"}),
        "post": Operation("Create a user", bodies.NewUser, answers={201: "User"}),
        "patch": Operation("Change a user", bodies.UserChange, body_required=True, answers={200: "User"}),
        "delete": Operation("Delete a user", answers={204: None}),
    }

    @needs_scope(*READ_USER)
    async def get(self, user_name: str) -> None:
        details = await self.house.users.details(user_name)
        on = Target(user=user_name, user_groups=frozenset(details.groups))
        shows_auth_state = self.asking.may("admin:auth_state", on)
        auth_state = await self.house.users.auth_state(details.user) if shows_auth_state else None
        self.answer(self.models().model(details, auth_state=auth_state))

    @needs_scope("admin:users")
    async def post(self, user_name: str) -> None:
        body = self.read_optional_body(bodies.NewUser)
        created = await self.house.users.create(user_name, admin=body.admin, requester=self.asking)
        self.answer(self.models().model(created), status=201)

    @needs_scope("admin:users")
    async def patch(self, user_name: str) -> None:
        await self.house.users.find(user_name)  # that there is nobody is said before what is wrong with the body
        body = self.read_body(bodies.UserChange)
        changed = await self.house.users.change(
            user_name, new_name=body.name, admin=body.admin, auth_state=body.auth_state, requester=self.asking
        )
        # What the requester may see of the user follows from the name that the request was made for.
        auth_state = await self.house.users.auth_state(changed.user)
        self.answer(self.models().model(changed, auth_state=auth_state, known_as=user_name))

    @needs_scope("delete:users")
    async def delete(self, user_name: str) -> None:
        await self.house.users.delete(user_name, requester=self.asking)
        self.answer(status=204)


class UserActivity(APIHandler):
    metrics_name = "jupyterhub.apihandlers.users.ActivityAPIHandler"
    operations = {
        "post": Operation("Report activity", bodies.ActivityReport, body_required=True, answers={200: None}),
    }

    @needs_scope("users:activity")
    async def post(self, user_name: str) -> None:
        try:
            report = self.read_body(bodies.ActivityReport)
        except Invalid:
            await self.house.users.find(user_name)  # as for PATCH, but asked only where it matters: reports are many
            raise
        servers = {name: server.last_activity for name, server in (report.servers or {}).items()}
        await self.house.activity.record(user_name, last_activity=report.last_activity, servers=servers)
        self.answer()


class AdminAccess(APIHandler):
    """Answers as if it did something: clients of version 1 asked here before they opened another user's server."""

    metrics_name = "jupyterhub.apihandlers.users.UserAdminAccessAPIHandler"
    operations = {"post": Operation("Without effect", answers={200: None})}

    @needs_scope("servers")
    async def post(self, user_name: str) -> None:
        if not self.house.settings.admin_access:
            raise Denied("admin access to user servers is not enabled")
        await self.house.users.find(user_name)
        self.answer()


HANDLERS: list[tuple[str, type]] = [
    (r"/users", UserList),
    (r"/users/(?P<user_name>[^/]+)", OneUser),
    (r"/users/(?P<user_name>[^/]+)/activity", UserActivity),
    (r"/users/(?P<user_name>[^/]+)/admin-access", AdminAccess),
]
