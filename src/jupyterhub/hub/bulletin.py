"""What an admin tells everybody: an announcement, and that no server may start for a while (maintenance).

Both are one fact in the database, so that all hubs show the same and it outlives restarts. Pages show them
(``templates/notices.html``), starts ask here whether they may (``servers/servers.py``). Not to be mixed up with
``store/notices.py``, by which hubs wake each other up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

from jupyterhub.hub.requester import Requester
from jupyterhub.hub.store.store import Store
from jupyterhub.words.clock import isoformat, utcnow
from jupyterhub.words.errors import Invalid, Unavailable
from jupyterhub.words.models import Json, User
from jupyterhub.words.unset import UNSET, Unset

#: the fact
NOTICES = "notices"
LONGEST_TEXT = 2000
#: when to try again, if it is not known when the maintenance ends
RETRY_AFTER_S = 300
#: nobody plans further ahead; beyond it there are dates that calendars cannot write
FURTHEST = timedelta(days=3650)

Kind = Literal["info", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A line on all pages."""

    #: plain text
    text: str
    kind: Kind = "info"
    #: when it goes by itself; None: when somebody takes it down
    until: datetime | None = None
    since: datetime
    #: who has put it up
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """No server starts, but those of admins, of these users, and of members of these groups."""

    text: str
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    until: datetime | None = None
    since: datetime
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """What holds at a moment."""

    announcement: Announcement | None = None
    maintenance: Maintenance | None = None


Notice = TypeVar("Notice", Announcement, Maintenance)


class Bulletin:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept = store.kept(most=1)
        #: what was read last, for error pages, which cannot wait
        self.last = Posted()

    async def now(self) -> Posted:
        """Give what holds now."""
        kept = self._kept.now()
        if NOTICES not in kept:
            async with self._store.read() as tx:
                kept[NOTICES] = await tx.facts.peek(NOTICES)
        self.last = _posted(kept[NOTICES])
        return self.last

    async def change(
        self,
        *,
        announcement: Announcement | Unset | None = UNSET,
        maintenance: Maintenance | Unset | None = UNSET,
    ) -> Posted:
        """Put notices up or, with None, take them down; what is left out stays. Invalid if one cannot be right."""
        for notice in (announcement, maintenance):
            if isinstance(notice, Announcement | Maintenance):
                _check(notice)
        async with self._store.begin() as tx:
            posted = _posted(await tx.facts.get(NOTICES))
            if not isinstance(announcement, Unset):
                posted = replace(posted, announcement=announcement)
            if not isinstance(maintenance, Unset):
                await _check_known(tx, maintenance)
                posted = replace(posted, maintenance=maintenance)
            await tx.facts.set(NOTICES, _written(posted))
        return await self.now()

    async def check_may_start(self, owner: User, requester: Requester | None = None) -> None:
        """Refuse (Unavailable) the start of a server of ``owner`` during maintenance.

        Admins pass, and may start other people's servers, to see whether all is well again.
        """
        maintenance = (await self.now()).maintenance
        if maintenance is None or owner.admin or (requester is not None and requester.admin):
            return
        if owner.name in maintenance.users:
            return
        if maintenance.groups:
            async with self._store.read() as tx:
                if not set(maintenance.groups).isdisjoint(await tx.groups.groups_of(owner.id)):
                    return
        wait_s = RETRY_AFTER_S
        if maintenance.until is not None:
            wait_s = max(1, int((maintenance.until - utcnow()).total_seconds()) + 1)
        text = maintenance.text or "The hub is under maintenance."
        raise Unavailable(f"No servers can be started at the moment. {text}", retry_after_s=wait_s)


def _check(notice: Announcement | Maintenance) -> None:
    if isinstance(notice, Announcement) and not notice.text.strip():
        raise Invalid("Say what is to be announced: 'text' is empty. To take the announcement down, send null.")
    if len(notice.text) > LONGEST_TEXT:
        raise Invalid(f"A notice has at most {LONGEST_TEXT} characters.")
    if notice.until is not None and notice.until <= notice.since:
        raise Invalid("'until' is in the past.")


async def _check_known(tx: Any, maintenance: Maintenance | None) -> None:
    """Refuse names that nobody has: a slip would keep out whoever was meant."""
    if maintenance is None:
        return
    found = await tx.users.find_many(maintenance.users)
    unknown = [name for name in maintenance.users if name not in found]
    unknown += [name for name in maintenance.groups if await tx.groups.find(name) is None]
    if unknown:
        raise Invalid(f"There is nobody called {', '.join(map(repr, unknown))}.")


def _posted(value: Json) -> Posted:
    found: Mapping[str, Any] = value if isinstance(value, dict) else {}
    return Posted(
        announcement=_read(Announcement, found.get("announcement")),
        maintenance=_read(Maintenance, found.get("maintenance")),
    )


def _read(kind: type[Notice], value: Mapping[str, Any] | None) -> Notice | None:
    """Give a notice as it was written, None if there is none, or its time is over."""
    if value is None:
        return None
    times = {name: value[name] and datetime.fromisoformat(value[name]) for name in ("since", "until")}
    lists = {name: tuple(value[name]) for name in ("users", "groups") if name in value}
    notice = kind(**{**value, **times, **lists})
    return None if notice.until is not None and notice.until <= utcnow() else notice


def _written(posted: Posted) -> Json:
    return {
        name: None
        if notice is None
        else {**asdict(notice), "since": isoformat(notice.since), "until": isoformat(notice.until)}
        for name, notice in (("announcement", posted.announcement), ("maintenance", posted.maintenance))
    }
