"""Pages around the start of a server: the options form, following the start, and what went wrong (pages.md §3, §4)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from tornado.web import HTTPError

from jupyterhub.hub import addresses
from jupyterhub.hub.plugin_views import server_view
from jupyterhub.hub.servers import named
from jupyterhub.hub.servers.failures import judge
from jupyterhub.hub.web.entry import needs_scope
from jupyterhub.hub.web.errors import status_of
from jupyterhub.hub.web.handler import HubHandler
from jupyterhub.words.clock import utcnow
from jupyterhub.words.errors import HubError, NotFound, SpawnFailed
from jupyterhub.words.models import Failure, Json, Phase, Server, User
from jupyterhub.words.names import ServerKey, escape_user
from jupyterhub.words.urls import server_progress_path

#: how long the page waits for a start to fail at once, before it leads on to the pending page
FIRST_WAIT_S = 1.0
#: arguments that belong to the page, not to the spawner
_OWN_ARGUMENTS = frozenset({"next", "display_name", "_xsrf"})
_OPTION = "opt-"


class _ServerPage(HubHandler):
    """What the pages of one server share: whose server, which one, where it is."""

    async def whose(self, user_name: str) -> User:
        if not user_name or self.requester_is(user_name):
            return self.user
        async with self.house.store.read() as tx:
            found = await tx.users.find(user_name)
        if found is None:
            raise NotFound(f"No such user: {user_name}")
        return found

    def spawn_url(self, key: ServerKey) -> str:
        return self.house.settings.hub_prefix + "spawn/" + _tail(key)

    def pending_url(self, key: ServerKey) -> str:
        return self.house.settings.hub_prefix + "spawn-pending/" + _tail(key)

    def ready_url(self, key: ServerKey) -> str:
        """Where to go once the server is ready: ``next`` if it is ours, else the server."""
        user_url = addresses.server_url(self.house.settings, key)
        return self.get_next_url(default=user_url)


class SpawnHandler(_ServerPage):
    """``GET, POST hub/spawn[/{user}[/{server}]]``: the options form, or a start at once where there is none."""

    metrics_name = "jupyterhub.handlers.pages.SpawnHandler"

    @needs_scope("servers")
    async def get(self, user_name: str = "", server_name: str = "") -> None:
        user = await self.whose(user_name)
        key = ServerKey(user.name, server_name)
        server = await self._existing(key)
        if server is not None and server.is_ready:
            self.redirect(self.ready_url(key))
            return
        if server is not None and server.is_active:
            self.redirect(self._with_arguments(self.pending_url(key)))
            return
        await self._check_name(key, server)
        try:
            options = await self._options_of_query(key)
        except HTTPError as error:
            await self._show_form(user, key, error)
            return
        except Exception as error:
            self.log.exception("%s: the options in the address were refused", key)
            await self._show_form(user, key, error)
            return
        if options is not None or not await self._has_form(user, key):
            await self._start(user, key, options)

    @needs_scope("servers")
    async def post(self, user_name: str = "", server_name: str = "") -> None:
        user = await self.whose(user_name)
        key = ServerKey(user.name, server_name)
        server = await self._existing(key)
        if server is not None and server.is_active:
            raise HTTPError(400, f"{key} is already running or about to" if server.is_ready else f"{key} is pending")
        await self._check_name(key, server)
        form: dict[str, list[Any]] = {
            name: [value.decode("utf8", "replace") for value in values]
            for name, values in self.request.body_arguments.items()
            if name != "_xsrf"
        }
        for name, files in self.request.files.items():
            form[f"{name}_file"] = list(files)
        try:
            options = await self.house.servers.options_from_form(key, form, handler=self)
        except Exception as error:
            self.log.warning("%s: the form was refused: %s", key, error)
            # a plain exception is the spawner's way to say that a field is wrong: the form comes back as it is
            self.set_status(getattr(error, "status_code", 200))
            await self._render_form(user, key, error, form_data=form)
            return
        await self._start(user, key, options, form_data=form)

    async def _existing(self, key: ServerKey) -> Server | None:
        server = await self.house.servers.find(key)
        if server is not None and server.is_ready:
            return await self.house.servers.check(key)
        return server

    async def _check_name(self, key: ServerKey, server: Server | None) -> None:
        if not key.name:
            return
        named.check_allowed(self.house.settings.allow_named_servers)
        if server is None:
            named.check_new_name(key.name)
            named.check_display_name(self.get_argument("display_name", None))

    async def _options_of_query(self, key: ServerKey) -> dict[str, Json] | None:
        """The options in the address, None if there are none."""
        chosen = self._query_options()
        if "" in chosen:
            raise HTTPError(422, "An option needs a name: opt-NAME=value")
        return await self.house.servers.options_from_query(key, chosen, handler=self) if chosen else None

    def _query_options(self) -> dict[str, list[str]]:
        """Read them as they are written; once one has the prefix ``opt-``, only those count."""
        query: dict[str, list[str]] = {
            name: [value.decode("utf8", "replace") for value in values]
            for name, values in self.request.query_arguments.items()
            if name not in _OWN_ARGUMENTS
        }
        prefixed = {name[len(_OPTION) :]: values for name, values in query.items() if name.startswith(_OPTION)}
        return prefixed or query

    async def _has_form(self, user: User, key: ServerKey) -> bool:
        """Show the options form if this spawner has one."""
        form = await self.house.servers.options_form(key, handler=self)
        if form:
            await self._render_form(user, key, form=form)
        return bool(form)

    async def _show_form(self, user: User, key: ServerKey, error: Exception) -> None:
        form = await self.house.servers.options_form(key, handler=self)
        self.set_status(getattr(error, "status_code", 500))
        if form:
            await self._render_form(user, key, error, form=form)
        else:
            raise error

    async def _render_form(
        self,
        user: User,
        key: ServerKey,
        error: BaseException | None = None,
        *,
        form: str | None = None,
        form_data: dict[str, list[Any]] | None = None,
    ) -> None:
        """Show the form. After an error it has again what was typed: ``form_data``, or the options of the address.

        Errors with ``jupyterhub_fields``, a dict of field to text, are shown beside these fields too.
        """
        if form is None:
            form = await self.house.servers.options_form(key, handler=self)
        action = self._with_arguments(self.spawn_url(key), own=True, xsrf=self.xsrf_token_text)
        await self.render_page(
            "spawn.html",
            for_user=self.house.views.user(user),
            spawner=await self.house.servers.describe(key),
            spawner_options_form=form,
            error_message="" if error is None else _shown(error),
            html_error_message=str(getattr(error, "jupyterhub_html_message", "") or ""),
            field_errors=_field_errors(error),
            submitted=None if error is None else _typed(form_data if form_data is not None else self._query_options()),
            url=action,
            auth_state=await self.auth_state(),
        )

    async def _start(
        self,
        user: User,
        key: ServerKey,
        options: dict[str, Json] | None,
        *,
        form_data: dict[str, list[Any]] | None = None,
    ) -> None:
        """Start, wait a moment for it to fail at once, and lead on to the pending page."""
        try:
            await self.refresh_before_spawn(user)
            await self.house.servers.start(
                key,
                display_name=self.get_argument("display_name", None),
                user_options=options,
                handler=self,
                requester=self.requester,
                wait_s=FIRST_WAIT_S,
            )
        except (HubError, HTTPError) as error:
            if form_data is None:
                raise
            self.set_status(status_of(error).status)
            await self._render_form(user, key, error, form_data=form_data)
            return
        self.redirect(self._with_arguments(self.pending_url(key)))

    def _with_arguments(self, url: str, *, own: bool = False, xsrf: str = "") -> str:
        """Append this request's query arguments: ``next`` always, the page's own only for its form."""
        dropped = {"_xsrf"} if own else {"_xsrf", "display_name"}
        pairs = [
            (name, value.decode("utf8", "replace"))
            for name, values in self.request.query_arguments.items()
            if name not in dropped
            for value in values
        ]
        if xsrf:
            pairs.append(("_xsrf", xsrf))
        return f"{url}?{urlencode(pairs)}" if pairs else url


class SpawnPendingHandler(_ServerPage):
    """``GET hub/spawn-pending/{user}[/{server}]``: follows a start; never begins one."""

    metrics_name = "jupyterhub.handlers.pages.SpawnPendingHandler"

    @needs_scope("servers")
    async def get(self, user_name: str, server_name: str = "") -> None:
        user = await self.whose(user_name)
        key = ServerKey(user.name, server_name)
        server = await self.house.servers.find(key)
        if server is None and key.name:
            raise NotFound(f"{user.name} has no server '{server_name}'")
        if server is not None and server.is_ready:
            self.redirect(self.ready_url(key))
            return
        if server is None or server.is_stopped:
            await self._show_stopped(user, key, server.failure if server is not None else None)
            return
        common: dict[str, Any] = {
            "spawner": server_view(server, addresses.server_url(self.house.settings, key)),
            "auth_state": await self.auth_state(),
        }
        if server.phase is Phase.STOPPING:
            await self.render_page("stop_pending.html", **common)
            return
        progress = server_progress_path(self.house.settings.hub_prefix, key)
        await self.render_page(
            "spawn_pending.html",
            progress_url=f"{progress}?{urlencode({'_xsrf': self.xsrf_token_text})}",
            elapsed_s=max(0, round((utcnow() - server.started).total_seconds())) if server.started else 0,
            spawner_stop_url=progress.removeprefix(self.house.settings.hub_prefix + "api/").removesuffix("/progress"),
            spawn_url=self._spawn_url_with_next(key),
            **common,
        )

    async def _show_stopped(self, user: User, key: ServerKey, failure: Failure | None) -> None:
        if failure is not None:
            self.set_status(failure.status)
            for name, value in failure.headers.items():
                self.set_header(name, value)
        await self.render_page(
            "not_running.html",
            for_user=self.house.views.user(user),
            server_name=key.name,
            spawn_url=self._spawn_url_with_next(key),
            auth_state=await self.auth_state(),
            implicit_spawn_seconds=self.house.settings.implicit_spawn_seconds,
            failed=failure is not None,
            failed_message=failure.public_message if failure else "",
            failed_html_message=failure.html_message if failure else "",
            exception=None,
        )

    def _spawn_url_with_next(self, key: ServerKey) -> str:
        follow = self.get_argument("next", "")
        url = self.spawn_url(key)
        return f"{url}?{urlencode({'next': follow})}" if follow else url


def _tail(key: ServerKey) -> str:
    return f"{escape_user(key.user)}/{escape_user(key.name)}" if key.name else escape_user(key.user)


def _shown(error: BaseException) -> str:
    """What of an error the person who filled in the form is shown."""
    if isinstance(error, HubError):
        return (error.public_message or str(error)) if isinstance(error, SpawnFailed) else str(error)
    failure = judge(error).failure
    return failure.public_message or failure.message


def _typed(form_data: dict[str, list[Any]]) -> dict[str, list[str]]:
    """What can be put back into the form: all but files, which a page cannot choose."""
    texts = {name: [value for value in values if isinstance(value, str)] for name, values in form_data.items()}
    return {name: values for name, values in texts.items() if values}


def _field_errors(error: BaseException | None) -> dict[str, str]:
    fields = getattr(error, "jupyterhub_fields", None)
    return {str(name): str(text) for name, text in fields.items()} if isinstance(fields, dict) else {}
