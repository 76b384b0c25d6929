"""``/groups``: groups, their members and properties."""

from __future__ import annotations

from jupyterhub.hub.web import bodies, models, queries
from jupyterhub.hub.web.answers import group_model
from jupyterhub.hub.web.api.base import Absent, APIHandler, Operation, paged
from jupyterhub.hub.web.entry import needs_scope
from jupyterhub.words.errors import Invalid


class GroupList(APIHandler):
    metrics_name = "jupyterhub.apihandlers.groups.GroupListAPIHandler"
    operations = {
        "get": Operation("List groups", query=queries.GroupChoice, answers={200: paged(list[models.Group])}),
        "post": Operation(
            "Make groups",
            bodies.NewGroups,
            description="All of them are made, or none.",
            without_body=Absent.REFUSED,
            answers={201: list[models.Group]},
            refusals={400: "A user does not exist.", 409: "One of the groups exists."},
        ),
    }

    @needs_scope("list:groups")
    async def get(self) -> None:
        window, chosen = self.window(), self.read_query(queries.GroupChoice)
        groups, total = await self.house.groups.page(
            self.asking.list_filter("list:groups"),
            name_filter=chosen.name_filter or None,
            names_members=chosen.include_users,
            window=window,
        )
        shown = [model for group in groups if (model := group_model(group, self.asking.scopes))]
        self.answer_list(shown, total, window)

    @needs_scope("admin:groups")
    async def post(self) -> None:
        body = self.read_body(bodies.NewGroups)
        created = await self.house.groups.create_many(body.groups, members=body.users)
        self.answer([group_model(group, self.asking.scopes) for group in created], status=201)


class OneGroup(APIHandler):
    metrics_name = "jupyterhub.apihandlers.groups.GroupAPIHandler"
    operations = {
        "get": Operation("Read a group", answers={200: models.Group}),
        "post": Operation(
            "Make a group",
            bodies.NewGroup,
            answers={201: models.Group},
            refusals={400: "A user does not exist.", 409: "The group exists."},
        ),
        "delete": Operation("Delete a group", answers={204: None}),
    }

    @needs_scope("read:groups", "read:groups:name", "read:roles:groups")
    async def get(self, group_name: str) -> None:
        self.answer(group_model(await self.house.groups.details(group_name), self.asking.scopes))

    @needs_scope("admin:groups")
    async def post(self, group_name: str) -> None:
        body = self.read_optional_body(bodies.NewGroup)
        created = await self.house.groups.create(group_name, members=body.users)
        self.answer(group_model(created, self.asking.scopes), status=201)

    @needs_scope("delete:groups")
    async def delete(self, group_name: str) -> None:
        await self.house.groups.delete(group_name)
        self.answer(status=204)


class GroupMembers(APIHandler):
    metrics_name = "jupyterhub.apihandlers.groups.GroupUsersAPIHandler"
    operations = {
        "post": Operation(
            "Add users to a group",
            bodies.Members,
            description="Who is a member already stays one.",
            without_body=Absent.REFUSED,
            answers={200: models.Group},
            refusals={400: "A user does not exist."},
        ),
        "delete": Operation(
            "Take users out of a group",
            bodies.Members,
            description="Who is no member is passed over.",
            without_body=Absent.REFUSED,
            answers={200: models.Group},
            refusals={400: "A user does not exist."},
        ),
    }

    @needs_scope("groups")
    async def post(self, group_name: str) -> None:
        # That the group exists is found out first: its absence is worse than a mistake in the body.
        await self.house.groups.details(group_name)
        group = await self.house.groups.add_members(group_name, self.read_body(bodies.Members).users)
        self.answer(group_model(group, self.asking.scopes))

    @needs_scope("groups")
    async def delete(self, group_name: str) -> None:
        await self.house.groups.details(group_name)
        group = await self.house.groups.remove_members(group_name, self.read_body(bodies.Members).users)
        self.answer(group_model(group, self.asking.scopes))


class GroupProperties(APIHandler):
    metrics_name = "jupyterhub.apihandlers.groups.GroupPropertiesAPIHandler"
    operations = {
        "put": Operation(
            "Replace the properties of a group", dict, without_body=Absent.REFUSED, answers={200: models.Group}
        ),
    }

    @needs_scope("groups")
    async def put(self, group_name: str) -> None:
        await self.house.groups.details(group_name)
        properties = self.body()
        if not isinstance(properties, dict):
            raise Invalid("The properties of a group are a JSON object.")
        group = await self.house.groups.set_properties(group_name, properties)
        self.answer(group_model(group, self.asking.scopes))


_GROUP = r"/groups/(?P<group_name>[^/]+)"

HANDLERS: list[tuple[str, type]] = [
    (r"/groups", GroupList),
    (_GROUP, OneGroup),
    (_GROUP + r"/users", GroupMembers),
    (_GROUP + r"/properties", GroupProperties),
]
