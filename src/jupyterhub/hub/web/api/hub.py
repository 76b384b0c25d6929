"""The hub itself: its version, details, health, metrics and end."""

from __future__ import annotations

from datetime import datetime

from jupyterhub.hub import bulletin, metrics
from jupyterhub.hub.activity import parsed_time
from jupyterhub.hub.info import hub_info
from jupyterhub.hub.web import bodies, models
from jupyterhub.hub.web.answers import notices_model, status_model
from jupyterhub.hub.web.api.base import Absent, APIHandler, Operation, Raw
from jupyterhub.hub.web.entry import needs_scope
from jupyterhub.hub.web.handler import HubHandler
from jupyterhub.rbac.scope_set import Target
from jupyterhub.words.clock import utcnow
from jupyterhub.words.errors import Denied
from jupyterhub.words.names import ServerKey
from jupyterhub.words.unset import Unset
from jupyterhub.words.version import __version__


class Root(APIHandler):
    """Tells anybody, from any site, which version runs here."""

    metrics_name = "jupyterhub.apihandlers.hub.RootAPIHandler"
    operations = {"get": Operation("Read the version", answers={200: models.Version})}
    identifies = False

    def set_default_headers(self) -> None:
        self.set_header("Access-Control-Allow-Origin", "*")
        super().set_default_headers()  # a deployment may have another rule

    def get(self) -> None:
        self.answer({"version": __version__})


class Info(APIHandler):
    metrics_name = "jupyterhub.apihandlers.hub.InfoAPIHandler"
    operations = {"get": Operation("Read what runs here", answers={200: models.Info})}

    @needs_scope("read:hub")
    async def get(self) -> None:
        settings = self.house.settings
        self.answer(
            hub_info(
                authenticator_class=type(self.house.authenticator),
                spawner_class=settings.spawner_class,
            )
        )


class Status(APIHandler):
    metrics_name = "jupyterhub.apihandlers.hub.StatusAPIHandler"
    operations = {
        "get": Operation(
            "Look how the hubs are doing",
            description="Failed starts are shown to those who may read these servers (`read:servers`).",
            answers={200: models.Status},
        )
    }

    @needs_scope("read:hub")
    async def get(self) -> None:
        overview = await self.house.status.overview()
        failures = [failed for failed in overview.failures if await self._may_read(failed.key)]
        self.answer(status_model(overview, failures))

    async def _may_read(self, key: ServerKey) -> bool:
        scopes, groups = self.asking.scopes, frozenset[str]()
        if scopes.needs_groups(["read:servers"]):
            async with self.house.store.read() as tx:
                groups = (await tx.groups.groups_of_names([key.user])).get(key.user, groups)
        return scopes.covers("read:servers", Target.of_server(key, user_groups=groups))


class Notices(APIHandler):
    """An announcement on all pages, and maintenance, in which no server starts."""

    metrics_name = "jupyterhub.apihandlers.hub.NoticesAPIHandler"
    operations = {
        "get": Operation("Read what is announced", answers={200: models.Notices}),
        "patch": Operation(
            "Announce something, or begin or end maintenance",
            bodies.NoticesChange,
            description="Counts at once, on all hubs, and outlives restarts. Who may end the hub may close it.",
            without_body=Absent.REFUSED,
            answers={200: models.Notices},
            refusals={400: "An end is in the past, or a user or a group does not exist."},
        ),
    }

    @needs_scope("read:hub")
    async def get(self) -> None:
        self.answer(notices_model(await self.house.bulletin.now()))

    @needs_scope("shutdown")
    async def patch(self) -> None:
        change, now, by = self.read_body(bodies.NoticesChange), utcnow(), self.asking.name
        posted = await self.house.bulletin.change(
            announcement=_announcement(change.announcement, now, by),
            maintenance=_maintenance(change.maintenance, now, by),
        )
        self.answer(notices_model(posted))


def _announcement(
    asked: bodies.NewAnnouncement | Unset | None, now: datetime, by: str
) -> bulletin.Announcement | Unset | None:
    if not isinstance(asked, bodies.NewAnnouncement):
        return asked
    return bulletin.Announcement(text=asked.text, kind=asked.kind, until=_time(asked.until), since=now, by=by)


def _maintenance(
    asked: bodies.NewMaintenance | Unset | None, now: datetime, by: str
) -> bulletin.Maintenance | Unset | None:
    if not isinstance(asked, bodies.NewMaintenance):
        return asked
    return bulletin.Maintenance(
        text=asked.text, users=asked.users, groups=asked.groups, until=_time(asked.until), since=now, by=by
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else parsed_time(text, utcnow() + bulletin.FURTHEST)


class Shutdown(APIHandler):
    metrics_name = "jupyterhub.apihandlers.hub.ShutdownAPIHandler"
    operations = {
        "post": Operation(
            "Shut the hub down", bodies.Shutdown, without_body=Absent.FALSY, answers={202: models.Message}
        )
    }

    @needs_scope("shutdown")
    async def post(self) -> None:
        body = self.read_lenient_body(bodies.Shutdown)
        self.answer({"message": "Shutting down Hub"}, status=202)
        self.house.shutdown(
            proxy=None if body.proxy is None else bool(body.proxy),
            servers=None if body.servers is None else bool(body.servers),
        )


class Health(HubHandler):
    """Says that the hub answers, and nothing else."""

    metrics_name = "jupyterhub.handlers.pages.HealthCheckHandler"
    operations = {
        "get": Operation("Say that the hub answers", answers={200: None}),
        "head": Operation("Say that the hub answers, in fewer words", answers={200: None}),
    }
    identifies = False

    def get(self) -> None:
        self.set_header("Content-Type", "text/html")
        self.finish()

    head = get


class Metrics(HubHandler):
    """All metrics, for Prometheus. A page as far as its errors go, though machines read it."""

    metrics_name = "jupyterhub.handlers.metrics.MetricsHandler"
    operations = {
        "get": Operation(
            "Read the metrics",
            answers={200: Raw("text/plain", "The text format of Prometheus")},
            scopes=("read:metrics",),
            access="Open to anybody with `c.JupyterHub.authenticate_prometheus = False`.",
        )
    }
    accepts_token = True

    async def get(self) -> None:
        # Metrics are about the whole hub: a filter would limit nothing, so any form of the scope will do.
        may = self.requester is not None and self.requester.scopes.has_any("read:metrics")
        if self.house.settings.authenticate_prometheus and not may:
            raise Denied("Reading the metrics requires the scope read:metrics.")
        text, content_type = metrics.exposition()
        self.set_header("Content-Type", content_type)
        self.finish(text)


HANDLERS: list[tuple[str, type]] = [
    (r"", Root),
    (r"/", Root),
    (r"/info", Info),
    (r"/status", Status),
    (r"/notices", Notices),
    (r"/shutdown", Shutdown),
    (r"/health", Health),
    (r"/metrics", Metrics),
]

#: the same below ``hub``, without ``api``
PAGE_HANDLERS: list[tuple[str, type]] = [(r"/health", Health), (r"/metrics", Metrics)]
