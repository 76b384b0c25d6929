"""``/users/{name}/server``, ``/users/{name}/servers/{server}``, and the streams that tell how a start goes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping

from tornado.iostream import StreamClosedError

from jupyterhub.hub.web import bodies, models
from jupyterhub.hub.web.answers import server_model
from jupyterhub.hub.web.api.base import Absent, APIHandler, Operation, Raw
from jupyterhub.hub.web.entry import needs_scope
from jupyterhub.rbac.scope_set import Target
from jupyterhub.words.errors import AlreadyExists, Invalid, NotFound
from jupyterhub.words.models import Json, Server
from jupyterhub.words.names import ServerKey


class UserServer(APIHandler):
    """A server; without a name the default one."""

    metrics_name = "jupyterhub.apihandlers.users.UserServerAPIHandler"
    operations = {
        "get": Operation("Read a server", answers={200: models.Server}),
        "put": Operation(
            "Create a server",
            bodies.ServerOptions,
            description="Without starting it.",
            without_body=Absent.FALSY,
            answers={201: models.Server},
            refusals={
                400: "Named servers are not allowed, or the user has as many as they may.",
                409: "There is one of this name; a default server is always there.",
            },
        ),
        "post": Operation(
            "Start a server",
            bodies.ServerOptions,
            description="Makes it first if need be. Arguments of the query are the spawner's matter.",
            without_body=Absent.FALSY,
            answers={201: None, 202: None},
            refusals={
                400: "It runs already, it is being stopped, or a new one is not allowed.",
                409: "The start was cancelled.",
                429: "Too many servers are starting (`Retry-After` says when to try again), or running.",
                500: "The start has failed.",
                503: "There is maintenance: no server starts (`Retry-After` says when to try again).",
            },
            any_status=True,
        ),
        "patch": Operation(
            "Change a server",
            bodies.ServerChange,
            description="Only while it is stopped.",
            without_body=Absent.REFUSED,
            answers={200: models.Server},
            refusals={400: "It is not stopped, or a new name is not allowed.", 409: "There is one of the new name."},
        ),
        "delete": Operation(
            "Stop a server",
            bodies.StopOptions,
            description="Or remove it. One that starts is stopped too; one that is stopped stays so.",
            without_body=Absent.FALSY,
            answers={204: None, 202: None},
            refusals={400: "The default server cannot be removed, or named servers are not allowed."},
        ),
    }

    @needs_scope("read:servers")
    async def get(self, user_name: str, server_name: str = "") -> None:
        self.answer(await self._model(await self._server(ServerKey(user_name, server_name))))

    @needs_scope("start:servers")
    async def put(self, user_name: str, server_name: str = "") -> None:
        key = ServerKey(user_name, server_name)
        await self.house.users.find(user_name)
        # The name is looked at before the body: a client that creates twice learns that, whatever it sends.
        if not server_name or await self.house.servers.find(key):
            raise AlreadyExists(f"{user_name} already has a server named '{server_name}'")
        options = bodies.read_server_options(self.body())
        server = await self.house.servers.create(
            key,
            display_name=options.label,
            user_options=options.user_options,
            handler=self,
        )
        self.answer(await self._model(server), status=201)

    @needs_scope("start:servers")
    async def post(self, user_name: str, server_name: str = "") -> None:
        user = await self.house.users.find(user_name)
        options = bodies.read_server_options(self.body())
        await self.refresh_before_spawn(user)
        server = await self.house.servers.start(
            ServerKey(user_name, server_name),
            display_name=options.label,
            user_options=options.user_options,
            handler=self,
            requester=self.requester,
            wait_s=self.house.settings.slow_spawn_timeout,
        )
        self._answer_plain(201 if server.is_ready else 202)

    @needs_scope("start:servers")
    async def patch(self, user_name: str, server_name: str = "") -> None:
        key = ServerKey(user_name, server_name)
        await self.house.users.find(user_name)
        if not self.body():
            raise Invalid("Nothing to change: give 'name', 'display_name' or 'user_options'.")
        await self._server(key)
        change = self.read_body(bodies.ServerChange)
        server = await self.house.servers.modify(
            key,
            name=change.name,
            display_name=change.display_name,
            user_options=change.user_options,
            handler=self,
        )
        self.answer(await self._model(server, known_as=key))

    @needs_scope("delete:servers")
    async def delete(self, user_name: str, server_name: str = "") -> None:
        user = await self.house.users.find(user_name)
        options = self.read_lenient_body(bodies.StopOptions)
        if options.remove and not server_name:
            raise Invalid("Cannot delete the default server")
        await self.refresh_before_stop(user)
        done = await self.house.servers.stop(
            ServerKey(user_name, server_name),
            remove=options.remove,
            wait_s=self.house.settings.slow_stop_timeout,
        )
        if done:
            self.answer(status=204)
        else:
            self._answer_plain(202)

    async def _server(self, key: ServerKey) -> Server:
        """Give the server, or raise NotFound; everybody has a default one, whether it ever ran or not."""
        server = await self.house.servers.find(key)
        if server is not None:
            return server
        user = await self.house.users.find(key.user)
        if key.name:
            raise NotFound()
        return Server.never_started(key, user.id)

    def _answer_plain(self, status: int) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "text/plain")
        self.finish()

    async def _model(self, server: Server, *, known_as: ServerKey | None = None) -> models.Server:
        key = known_as or server.key
        scopes = self.asking.scopes
        groups = frozenset[str]()
        if scopes.needs_groups(["admin:server_state"]):
            groups = frozenset((await self.house.users.details(key.user)).groups)
        with_state = scopes.covers("admin:server_state", Target.of_server(key, user_groups=groups))
        return server_model(server, self.house.settings, with_state=with_state)


class SpawnProgress(APIHandler):
    """Server-sent events about a start: one JSON object per frame, nothing after the last one."""

    metrics_name = "jupyterhub.apihandlers.users.SpawnProgressAPIHandler"
    operations = {
        "get": Operation(
            "Follow the start of a server",
            answers={
                200: Raw(
                    "text/event-stream",
                    "Frames `data: {JSON}`, from the first event of the start to the last one, which says `ready` or "
                    "`failed`. An empty frame now and then keeps the connection open.",
                    parts=models.ProgressEvent,
                )
            },
            refusals={400: "It is neither starting nor running."},
        )
    }

    @needs_scope("read:servers")
    async def get(self, user_name: str, server_name: str = "") -> None:
        events = self.house.servers.progress(ServerKey(user_name, server_name))
        try:
            # The first event is awaited before the status goes out: there may be nothing to follow.
            first = await anext(events, None)
            self.set_header("Content-Type", "text/event-stream")
            self.set_header("Cache-Control", "no-cache")
            self.write("\n\n")
            if first is not None:
                await self._send(first)
            async for event in events:
                await self._send(event)
        except StreamClosedError:
            pass  # the watcher has left
        finally:
            await _close(events)

    async def _send(self, event: Mapping[str, Json] | None) -> None:
        self.write("\n\n" if event is None else f"data: {json.dumps(event)}\n\n")
        await self.flush()


async def _close(events: AsyncIterator[Json]) -> None:
    close = getattr(events, "aclose", None)
    if close is not None:
        await close()


_USER = r"/users/(?P<user_name>[^/]+)"

HANDLERS: list[tuple[str, type]] = [
    (_USER + r"/server", UserServer),
    (_USER + r"/servers/(?P<server_name>[^/]*)", UserServer),
    (_USER + r"/server/progress", SpawnProgress),
    (_USER + r"/servers/(?P<server_name>[^/]*)/progress", SpawnProgress),
]
