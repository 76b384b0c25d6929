"""When users, servers and tokens were last active: noted cheaply, often, and never moved back.

Two sources. The hub sees who asks (``saw``): that is collected in memory and written now and then, because nobody
waits for it; a hub that dies loses seconds of it, and reads on this hub see it at once (``of_user``, ``of_token``).
Servers and services report (``record``): what was acknowledged is in the database, so the answer waits for the commit;
reports that arrive while one is being written are written together in the next transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from jupyterhub.hub.requester import Requester
from jupyterhub.hub.store.store import Store
from jupyterhub.words.clock import utcnow
from jupyterhub.words.errors import Invalid, NotFound
from jupyterhub.words.models import Token, User

#: clocks of servers may be wrong by a time zone or by summer time, but not by more than this
MAX_AHEAD = timedelta(minutes=59)
#: no way to write a time is longer
MAX_TIME_LENGTH = 64


@dataclass(slots=True)
class _Batch:
    """Latest times by row id."""

    users: dict[int, datetime] = field(default_factory=dict)
    servers: dict[int, datetime] = field(default_factory=dict)
    tokens: dict[int, datetime] = field(default_factory=dict)
    is_written: bool = False

    def __bool__(self) -> bool:
        return bool(self.users or self.servers or self.tokens)

    def take_in(self, other: _Batch) -> None:
        for mine, theirs in ((self.users, other.users), (self.servers, other.servers), (self.tokens, other.tokens)):
            for row_id, when in theirs.items():
                _note(mine, row_id, when)


class Activity:
    """The activity that this hub has heard of."""

    def __init__(self, *, store: Store, resolution_s: float) -> None:
        self._store = store
        self._resolution = timedelta(seconds=resolution_s)
        #: seen by us, not yet written
        self._seen = _Batch()
        #: reported and awaited by somebody, not yet being written
        self._reported = _Batch()
        self._writing = asyncio.Lock()

    # -- what the hub sees itself

    def saw(self, requester: Requester) -> None:
        """Note that somebody asked for something just now. Costs nothing if that is known to the resolution."""
        now = utcnow()
        token = requester.token
        if token is not None:
            self._see(self._seen.tokens, token.id, token.last_activity, now)
            if token.is_a_servers_own:
                return
        if requester.user is not None:
            self._see(self._seen.users, requester.user.id, requester.user.last_activity, now)

    def saw_token(self, token: Token) -> None:
        """Note that a token was used, whatever the resolution."""
        now = utcnow()
        _note(self._seen.tokens, token.id, now)
        if token.owner_kind == "user":
            _note(self._seen.users, token.owner_id, now)

    def _see(self, seen: dict[int, datetime], row_id: int, stored: datetime | None, now: datetime) -> None:
        known = seen.get(row_id, stored)
        if known is None or now - known >= self._resolution:
            seen[row_id] = now

    def of_user(self, user: User) -> User:
        """Give the user with the latest activity known here, which may be younger than the row's."""
        when = self._seen.users.get(user.id)
        if when is None or (user.last_activity is not None and user.last_activity >= when):
            return user
        return replace(user, last_activity=when)

    def of_token(self, token: Token) -> Token:
        when = self._seen.tokens.get(token.id)
        if when is None or (token.last_activity is not None and token.last_activity >= when):
            return token
        return replace(token, last_activity=when)

    def forget_user(self, user_id: int) -> None:
        self._seen.users.pop(user_id, None)

    # -- what is reported

    async def record(self, user_name: str, *, last_activity: str | None, servers: Mapping[str, str]) -> None:
        """Take in a report about a user and their servers; returns when it is in the database.

        Times are text in any form that dateutil reads. Invalid if any of it cannot be right: then nothing is stored.
        """
        report = _Batch()
        async with self._store.read() as tx:
            user = await tx.users.find(user_name)
            if user is None:
                raise NotFound()
            if last_activity is None and not servers:
                raise Invalid("A report of activity needs 'last_activity' or 'servers'.")
            latest = utcnow() + MAX_AHEAD
            user_time = None if last_activity is None else parsed_time(last_activity, latest)
            server_times = {name: parsed_time(text, latest) for name, text in servers.items()}
            if server_times:
                known = {server.key.name: server for server in await tx.servers.list_of_user(user.id)}
                for name, when in server_times.items():
                    server = known.get(name)
                    if server is None:
                        raise Invalid(f"User {user_name} has no server {name!r}.")
                    if server.last_activity is None or server.last_activity < when:
                        report.servers[server.id] = when
        if user_time is not None and (user.last_activity is None or user.last_activity < user_time):
            report.users[user.id] = user_time
        if report:
            await self._written(report)

    async def _written(self, report: _Batch) -> None:
        """Return when the report is committed.

        The first to hold the lock writes for all who joined its batch until then; they find it written when their turn
        comes. If it failed or was cancelled, the next one tries again.
        """
        batch = self._reported
        batch.take_in(report)
        async with self._writing:
            # once round the event loop: requests that are there already join
            await asyncio.sleep(0)
            if batch is self._reported:
                self._reported = _Batch()
            if not batch.is_written:
                await self._write(batch)
                batch.is_written = True

    # -- writing

    async def flush(self) -> None:
        """Write what the hub has seen so far; called every few seconds and at the end."""
        seen, self._seen = self._seen, _Batch()
        if seen:
            try:
                async with self._writing:
                    await self._write(seen)
            except BaseException:
                seen.take_in(self._seen)
                self._seen = seen
                raise

    async def _write(self, batch: _Batch) -> None:
        async with self._store.begin() as tx:
            if batch.users:
                await tx.users.touch_many(sorted(batch.users.items()))
            if batch.servers:
                await tx.servers.touch_many(sorted(batch.servers.items()))
            if batch.tokens:
                await tx.tokens.touch_many(sorted(batch.tokens.items()))


def _note(times: dict[int, datetime], row_id: int, when: datetime) -> None:
    known = times.get(row_id)
    if known is None or known < when:
        times[row_id] = when


def parsed_time(text: str, latest: datetime) -> datetime:
    """Read a reported time, in UTC if it names no zone; Invalid if it is none, or later than ``latest``."""
    try:
        when = _read_time(text)
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Invalid(f"{text[:64]!r} is not a time. Write it as in 2026-11-23T02:30:00Z.") from error
    if when > latest:
        raise Invalid(f"{text[:64]!r} is in the future. Is the clock right, and its time zone?")
    return when


def _read_time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        if len(text) > MAX_TIME_LENGTH:
            raise
    # Everybody sends ISO 8601; the rest of what dateutil reads is rare enough to load it late.
    from dateutil.parser import parse

    when: datetime = parse(text)
    return when
