"""``/users``: creating, reading, listing, changing and deleting users, and reporting their activity."""

from __future__ import annotations

from jupyterhub.hub.web import bodies, models, queries
from jupyterhub.hub.web.answers import UserModels, user_parts
from jupyterhub.hub.web.api.base import Absent, APIHandler, Operation, paged
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
    def shown(self) -> UserModels:
        """Give what makes models of users, as this request wants them."""
        asked = self.read_query(queries.ShownServers)
        return UserModels(
            self.asking.scopes, self.house.settings, include_stopped_servers=asked.include_stopped_servers
        )


class UserList(_UsersHandler):
    metrics_name = "jupyterhub.apihandlers.users.UserListAPIHandler"
    operations = {
        "get": Operation("List users", query=queries.UserChoice, answers={200: paged(list[models.User])}),
        "post": Operation(
            "Create users",
            bodies.NewUsers,
            description="Answers with those that are new; who is there already is passed over.",
            without_body=Absent.REFUSED,
            query=queries.ShownServers,
            answers={201: list[models.User]},
            refusals={
                400: "A name is not allowed, or the authenticator refuses a user.",
                403: "Only admins can make admins.",
                409: "All of them exist.",
            },
        ),
    }

    @needs_scope("list:users")
    async def get(self) -> None:
        window, chosen = self.window(), self.read_query(queries.UserChoice)
        # who is in a group is told to those who may read the group, by whatever way they ask
        if chosen.group and not self.asking.may("read:groups", Target(group=chosen.group)):
            raise Denied("Choosing users by group requires the scope read:groups for that group.")
        users, total = await self.house.users.page(
            self.asking.list_filter("list:users"),
            state=chosen.state,
            name_filter=chosen.name_filter or None,
            group=chosen.group or None,
            admin=chosen.admin,
            sort=chosen.sort,
            window=window,
            parts=user_parts(self.asking.scopes),
        )
        shown = self.shown()
        self.answer_list([model for user in users if (model := shown.model(user))], total, window)

    @needs_scope("admin:users")
    async def post(self) -> None:
        body = self.read_body(bodies.NewUsers)
        created = await self.house.users.create_many(body.usernames, admin=body.admin, requester=self.asking)
        shown = self.shown()
        self.answer([shown.model(user) for user in created], status=201)


class OneUser(_UsersHandler):
    metrics_name = "jupyterhub.apihandlers.users.UserAPIHandler"
    operations = {
        "get": Operation("Read a user", query=queries.ShownServers, answers={200: models.User}),
        "post": Operation(
            "Create a user",
            bodies.NewUser,
            query=queries.ShownServers,
            answers={201: models.User},
            refusals={
                400: "The name is not allowed, or the authenticator refuses the user.",
                403: "Only admins can make admins.",
                409: "The user exists.",
            },
        ),
        "patch": Operation(
            "Change a user",
            bodies.UserChange,
            without_body=Absent.REFUSED,
            query=queries.ShownServers,
            answers={200: models.User},
            refusals={
                400: "The new name is taken or not allowed, or `auth_state` cannot be kept.",
                403: "Only admins can change admins.",
            },
        ),
        "delete": Operation(
            "Delete a user",
            description="Their servers are stopped first.",
            answers={204: None},
            refusals={400: "Nobody can delete themselves, and a server that does not stop is in the way."},
        ),
    }

    @needs_scope(*READ_USER)
    async def get(self, user_name: str) -> None:
        details = await self.house.users.details(user_name)
        on = Target(user=user_name, user_groups=frozenset(details.groups))
        shows_auth_state = self.asking.may("admin:auth_state", on)
        auth_state = await self.house.users.auth_state(details.user) if shows_auth_state else None
        self.answer(self.shown().model(details, auth_state=auth_state))

    @needs_scope("admin:users")
    async def post(self, user_name: str) -> None:
        body = self.read_optional_body(bodies.NewUser)
        created = await self.house.users.create(user_name, admin=body.admin, requester=self.asking)
        self.answer(self.shown().model(created), status=201)

    @needs_scope("admin:users")
    async def patch(self, user_name: str) -> None:
        await self.house.users.find(user_name)  # that there is nobody is said before what is wrong with the body
        body = self.read_body(bodies.UserChange)
        changed = await self.house.users.change(
            user_name, new_name=body.name, admin=body.admin, auth_state=body.auth_state, requester=self.asking
        )
        # What the requester may see of the user follows from the name that the request was made for.
        auth_state = await self.house.users.auth_state(changed.user)
        self.answer(self.shown().model(changed, auth_state=auth_state, known_as=user_name))

    @needs_scope("delete:users")
    async def delete(self, user_name: str) -> None:
        await self.house.users.delete(user_name, requester=self.asking)
        self.answer(status=204)


class UserActivity(APIHandler):
    metrics_name = "jupyterhub.apihandlers.users.ActivityAPIHandler"
    operations = {
        "post": Operation(
            "Report activity",
            bodies.ActivityReport,
            without_body=Absent.REFUSED,
            answers={200: None},
            refusals={400: "A time is in the future, or the user has no such server."},
        ),
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
    operations = {
        "post": Operation(
            "Ask to open servers of a user",
            description="Without effect: for clients of version 1.",
            answers={200: None},
            refusals={403: "`c.JupyterHub.admin_access` is off."},
        )
    }

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
