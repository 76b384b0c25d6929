"""Rows of users' servers: ``spawners`` (theirs), ``jhx_server_states`` and ``jhx_server_events`` (ours).

Requests write what is wanted (``begin_start``, ``want_stopped``); the driver that holds the lease writes what became of
it, and each of its statements proves the lease (invariant I2). Who may drive what is decided in ``hub/replicas``; what
a phase means is in ``hub/servers/states.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Select, Update, and_, bindparam, delete, exists, func, insert, null, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from jupyterhub.words.clock import from_db, to_db
from jupyterhub.words.errors import AlreadyExists, LeaseLost, NotFound
from jupyterhub.words.models import Endpoint, Failure, Json, Lease, Phase, Server, ServerEvent, SpawnLimits, Target
from jupyterhub.words.names import ServerKey

from . import tables as t
from .facts import Facts
from .hot import hot, hot_change
from .inserts import add_missing_from

_states, _spawners, _endpoints, _events = t.server_states, t.spawners, t.servers, t.server_events

_SERVER: Select[Any] = (
    select(
        _spawners.c.id,
        t.users.c.name.label("user_name"),
        _spawners.c.user_id,
        _spawners.c.name,
        _spawners.c.display_name,
        _spawners.c.started,
        _spawners.c.last_activity,
        _spawners.c.user_options,
        _spawners.c.state,
        _spawners.c.oauth_client_id,
        _endpoints.c.proto,
        _endpoints.c.ip,
        _endpoints.c.port,
        _endpoints.c.base_url,
        _states.c.phase,
        _states.c.target,
        _states.c.generation,
        _states.c.hub_id,
        _states.c.failure,
    )
    .select_from(_spawners)
    .join(t.users, t.users.c.id == _spawners.c.user_id)
    .outerjoin(_endpoints, _endpoints.c.id == _spawners.c.server_id)
    .outerjoin(_states, _states.c.spawner_id == _spawners.c.id)
)
_BY_KEY = hot(_SERVER.where(t.users.c.name == bindparam("user_name"), _spawners.c.name == bindparam("server_name")))
_BY_ID = hot(_SERVER.where(_spawners.c.id == bindparam("server_id")))
_OF_USER = hot(_SERVER.where(_spawners.c.user_id == bindparam("owner_id")).order_by(_spawners.c.name))
_OF_USERS = _SERVER.where(_spawners.c.user_id.in_(bindparam("owner_ids", expanding=True))).order_by(_spawners.c.name)

#: In place of a hub: one that ended in good order has left a ready server to the others, who need not check it.
HANDED_OVER = "handed over"

#: states to choose servers by, apart from those that are read with them
_chosen = _states.alias("chosen")

_TOUCH = hot_change(
    update(_spawners)
    .where(
        _spawners.c.id == bindparam("touched"),
        or_(_spawners.c.last_activity.is_(None), _spawners.c.last_activity < bindparam("seen")),
    )
    .values(last_activity=bindparam("seen"))
)

#: Named one by one, so that the index of phases finds the few that are active; "not stopped" would read all rows.
_ACTIVE = [phase.value for phase in Phase if phase is not Phase.STOPPED]

_LEASE = and_(
    _states.c.spawner_id == bindparam("lease_server"),
    _states.c.generation == bindparam("lease_generation"),
    _states.c.hub_id == bindparam("lease_hub"),
)
_PROVE = hot(select(_states.c.spawner_id).where(_LEASE).with_for_update())


def _change(*columns: str) -> Update:
    """A change of some columns of one server's row in ``spawners``."""
    return hot_change(update(_spawners).where(_spawners.c.id == bindparam("row")), *columns)


_BEGAN, _BEGAN_WITH_OPTIONS = _change("started", "last_activity"), _change("started", "last_activity", "user_options")
_STATE, _CLIENT, _ENDPOINT = _change("state"), _change("oauth_client_id"), _change("server_id", "state")
_ENDPOINT_ALONE, _ENDED = _change("server_id"), _change("started", "state")
_ADD = hot_change(insert(_spawners), "user_id", "name", "display_name", "user_options")
_ADD_STATE = hot_change(insert(_states), "spawner_id")
_ADD_ENDPOINT = hot_change(insert(_endpoints), "proto", "ip", "port", "base_url", "cookie_name")
_DELETE_ENDPOINT = hot_change(delete(_endpoints).where(_endpoints.c.id == bindparam("row")))

_of_one = _states.c.spawner_id == bindparam("row")
_ENDPOINT_ID = hot(select(_spawners.c.server_id).where(_spawners.c.id == bindparam("row")))
_ATTEMPTS = hot(select(_states.c.attempts).where(_of_one))
_GENERATION = hot(select(_states.c.generation).where(_of_one))
_BEGIN = hot_change(
    update(_states)
    .where(_of_one, _states.c.phase == Phase.STOPPED)
    .values(
        phase=Phase.STARTING,
        target=Target.RUNNING,
        generation=_states.c.generation + 1,
        failure=null(),
        attempts=1,
        # asked for in an earlier life, too late
        remove_when_stopped=False,
    ),
    *("hub_id", "phase_since"),
)
_stoppable = or_(*(_states.c.phase == phase for phase in (Phase.STARTING, Phase.READY, Phase.CHECKING)))
_stopping = {"phase": Phase.STOPPING, "target": Target.STOPPED}
_WANT_STOPPED = hot_change(update(_states).where(_of_one, _stoppable).values(**_stopping), "phase_since")
_WANT_REMOVED = hot_change(
    update(_states).where(_of_one, _stoppable).values(**_stopping, remove_when_stopped=True), "phase_since"
)
_READY = hot_change(
    update(_states)
    .where(_LEASE, _states.c.phase == bindparam("was"))
    .values(phase=Phase.READY, attempts=0, failure=null()),
    "phase_since",
)
_STOPPING = hot_change(update(_states).where(_LEASE).values(**_stopping), "phase_since")
_FAILED = hot_change(update(_states).where(_LEASE).values(**_stopping), "phase_since", "failure")
_STOPPED = hot_change(
    update(_states).where(_LEASE).values(phase=Phase.STOPPED, target=Target.STOPPED, hub_id=null(), attempts=0),
    "phase_since",
)

_of_start = (_events.c.spawner_id == bindparam("server"), _events.c.generation == bindparam("start"))
_NEXT_EVENT = hot(select((func.coalesce(func.max(_events.c.seq), -1) + 1).label("seq")).where(*_of_start))
_ADD_EVENT = hot_change(insert(_events), "spawner_id", "generation", "seq", "at", "data")
_EVENTS_FROM = hot(
    select(_events.c.seq, _events.c.data).where(*_of_start, _events.c.seq >= bindparam("first")).order_by(_events.c.seq)
)
_DELETE_EVENTS = hot_change(delete(_events).where(_events.c.spawner_id == bindparam("server")))
_OWNER = hot(select(t.users.c.name).where(t.users.c.id == bindparam("owner")).with_for_update(key_share=True))


def _server(row: Any) -> Server:
    endpoint = None
    if row.port is not None:
        endpoint = Endpoint(proto=row.proto, ip=row.ip or "", port=row.port, base_url=row.base_url or "/")
    return Server(
        id=row.id,
        key=ServerKey(row.user_name, row.name or ""),
        user_id=row.user_id,
        display_name=row.display_name,
        started=from_db(row.started),
        last_activity=from_db(row.last_activity),
        user_options=row.user_options,
        state=row.state,
        oauth_client_id=row.oauth_client_id,
        endpoint=endpoint,
        phase=Phase(row.phase or Phase.STOPPED),
        target=Target(row.target or Target.STOPPED),
        generation=row.generation or 0,
        hub_id=row.hub_id,
        failure=Failure(**row.failure) if row.failure else None,
    )


def _number_in(phases: Sequence[str]) -> Any:
    """How many servers are in these phases, for a condition of an UPDATE of the same table.

    Counted inside of a table of its own: MySQL refuses a subquery about the table that is being changed, but not this.
    """
    other = _states.alias("other")
    counted = select(func.count().label("number")).select_from(other).where(other.c.phase.in_(phases)).subquery()
    return select(counted.c.number).scalar_subquery()


def _phase_of_unknown(phase: Phase) -> Phase:
    """The phase of a server that nobody has watched for a while."""
    return Phase.CHECKING if phase is Phase.READY else phase


def _proof(lease: Lease) -> dict[str, Any]:
    return {"lease_server": lease.server_id, "lease_generation": lease.generation, "lease_hub": lease.hub_id}


class Servers:
    """Servers within one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._db = connection

    # -- reading

    async def find(self, key: ServerKey) -> Server | None:
        row = (await self._db.execute(_BY_KEY, {"user_name": key.user, "server_name": key.name})).first()
        return _server(row) if row else None

    async def find_by_id(self, server_id: int) -> Server | None:
        row = (await self._db.execute(_BY_ID, {"server_id": server_id})).first()
        return _server(row) if row else None

    async def list_of_user(self, user_id: int) -> list[Server]:
        return [_server(row) for row in await self._db.execute(_OF_USER, {"owner_id": user_id})]

    async def list_of_users(self, user_ids: Collection[int]) -> dict[int, list[Server]]:
        """Give the servers of each of these users, by user id; users without servers are not in it."""
        found: dict[int, list[Server]] = {}
        if len(user_ids) == 1:
            [user_id] = user_ids
            servers = await self.list_of_user(user_id)
            return {user_id: servers} if servers else {}
        if user_ids:
            for row in await self._db.execute(_OF_USERS, {"owner_ids": list(user_ids)}):
                found.setdefault(row.user_id, []).append(_server(row))
        return found

    async def list_in(self, phases: Collection[Phase]) -> list[Server]:
        """Give all servers in one of these phases."""
        return await self._list_whose(_chosen.c.phase.in_([str(phase) for phase in phases]))

    async def held_ids(self, hub_id: str) -> list[int]:
        """Give the numbers of the servers that one hub drives, or should."""
        wanted = select(_states.c.spawner_id).where(_states.c.hub_id == hub_id, _states.c.phase.in_(_ACTIVE))
        return list((await self._db.execute(wanted)).scalars())

    async def list_orphans(self) -> list[Server]:
        """Give the servers that want a driver and have none: their hub is gone from ``jhx_replicas``, or never was."""
        has_hub = exists().where(t.replicas.c.id == _chosen.c.hub_id)
        return await self._list_whose(_chosen.c.phase.in_(_ACTIVE), ~has_hub)

    async def _list_whose(self, *conditions: Any) -> list[Server]:
        # The few are chosen first. Joined and sorted in one, SQLite reads all servers, because they are in order.
        ids = select(_chosen.c.spawner_id).where(*conditions)
        wanted = _SERVER.where(_spawners.c.id.in_(ids)).order_by(_spawners.c.id)
        return [_server(row) for row in await self._db.execute(wanted)]

    async def count(self, *phases: Phase) -> int:
        """Count the servers in these phases; without any, all that are not stopped."""
        chosen = _states.c.phase.in_([str(p) for p in phases] or _ACTIVE)
        return (await self._db.execute(select(func.count()).select_from(_states).where(chosen))).scalar_one()

    async def count_by_phase(self) -> dict[Phase, int]:
        """Count the servers that are not stopped, by phase; phases without any are left out."""
        counted = select(_states.c.phase, func.count()).where(_states.c.phase.in_(_ACTIVE)).group_by(_states.c.phase)
        return {Phase(row[0]): row[1] for row in await self._db.execute(counted)}

    async def count_named(self, user_id: int) -> int:
        named = select(func.count()).where(_spawners.c.user_id == user_id, _spawners.c.name != "")
        return (await self._db.execute(named)).scalar_one()

    # -- rows come and go

    async def create(
        self,
        user_id: int,
        name: str,
        *,
        display_name: str | None = None,
        user_options: Mapping[str, Json] | None = None,
    ) -> Server:
        """Add a stopped server; AlreadyExists if the user has one of this name, NotFound if there is no such user."""
        owner = await self.hold_names_of(user_id)
        key = ServerKey(owner, name)
        if await self.find(key):
            raise AlreadyExists(f"{owner} has a server '{name}' already.")
        values = {"user_id": user_id, "name": name, "display_name": display_name, "user_options": user_options}
        try:
            result = await self._db.execute(_ADD, values)
        except IntegrityError as error:
            raise AlreadyExists(f"{owner} has a server '{name}' already.") from error
        assert result.inserted_primary_key is not None
        await self._db.execute(_ADD_STATE, {"spawner_id": result.inserted_primary_key[0]})
        created = await self.find(key)
        assert created is not None
        return created

    async def delete(self, server_id: int) -> None:
        """Remove a server's row, and with it its state, events, shares and share codes."""
        await self._drop_endpoint(server_id)
        await self._db.execute(delete(_spawners).where(_spawners.c.id == server_id))

    async def delete_stopped(self, server_id: int) -> bool:
        """Remove the row of a server if it is stopped; False, and nothing happens, if it is not or there is none."""
        stopped = select(_states.c.spawner_id).where(
            _states.c.spawner_id == server_id, _states.c.phase == Phase.STOPPED
        )
        if (await self._db.execute(stopped.with_for_update())).first() is None:
            return False
        await self.delete(server_id)
        return True

    async def rename(self, server_id: int, name: str) -> None:
        """Give a server another name; AlreadyExists if its owner has another one of this name."""
        wanted = select(_spawners.c.user_id).where(_spawners.c.id == server_id)
        user_id = (await self._db.execute(wanted)).scalar_one_or_none()
        if user_id is not None:
            owner = await self.hold_names_of(user_id)
            taken = await self.find(ServerKey(owner, name))
            if taken is not None and taken.id != server_id:
                raise AlreadyExists(f"{owner} has a server '{name}' already.")
        await self._db.execute(update(_spawners).where(_spawners.c.id == server_id).values(name=name))

    async def set_display_name(self, server_id: int, display_name: str) -> None:
        await self._db.execute(update(_spawners).where(_spawners.c.id == server_id).values(display_name=display_name))

    async def set_user_options(self, server_id: int, user_options: Mapping[str, Json] | None) -> None:
        options = null() if user_options is None else user_options
        await self._db.execute(update(_spawners).where(_spawners.c.id == server_id).values(user_options=options))

    async def touch(self, server_id: int, when: datetime) -> None:
        """Note activity; an older time than the stored one changes nothing."""
        await self._db.execute(_TOUCH, {"touched": server_id, "seen": to_db(when)})

    async def touch_many(self, times: Sequence[tuple[int, datetime]]) -> None:
        """Note the activity of several servers, by row id; as with ``touch``, no time moves back."""
        if times:
            # in one order on all hubs: see Users.touch_many
            rows = [{"touched": row_id, "seen": to_db(when)} for row_id, when in sorted(times)]
            await self._db.execute(_TOUCH, rows)

    async def meet_rows_of_the_original(self) -> None:
        """Bring our states in line with rows that another program wrote since our last look.

        The original knows nothing of ours: a server that it created has no state row; one that it started has an
        endpoint while our state says stopped; one that it stopped has none while ours says ready.
        """
        has_state = exists().where(_states.c.spawner_id == _spawners.c.id)
        missing = select(_spawners.c.id).where(~has_state).order_by(_spawners.c.id)
        await add_missing_from(self._db, _states, ["spawner_id"], missing)
        has_endpoint = exists().where(_spawners.c.id == _states.c.spawner_id, _spawners.c.server_id.is_not(None))
        await self._db.execute(
            update(_states)
            .where(_states.c.phase == Phase.STOPPED, has_endpoint)
            .values(phase=Phase.READY, target=Target.RUNNING, hub_id=None)
        )
        await self._db.execute(
            update(_states)
            .where(_states.c.phase.in_([Phase.READY, Phase.CHECKING]), ~has_endpoint)
            .values(phase=Phase.STOPPED, target=Target.STOPPED, hub_id=None)
        )

    # -- what is wanted

    async def begin_start(
        self,
        server_id: int,
        *,
        hub_id: str,
        limits: SpawnLimits,
        now: datetime,
        user_options: Mapping[str, Json] | None,
    ) -> Lease | None:
        """Turn a stopped server into a starting one that ``hub_id`` drives, if state and limits allow; else None.

        One conditional statement decides: of two that ask at once, one gets the lease. ``user_options`` None keeps
        the options of last time.
        """
        await self._serialise_limits(limits)
        allowed = []
        if limits.concurrent:
            allowed.append(_number_in([Phase.STARTING.value]) < limits.concurrent)
        if limits.active:
            allowed.append(_number_in(_ACTIVE) < limits.active)
        begin = _BEGIN.where(*allowed) if allowed else _BEGIN
        result = await self._db.execute(begin, {"row": server_id, "hub_id": hub_id, "phase_since": to_db(now)})
        if result.rowcount != 1:
            return None
        started: dict[str, Any] = {"row": server_id, "started": to_db(now), "last_activity": to_db(now)}
        if user_options is None:
            await self._db.execute(_BEGAN, started)
        else:
            await self._db.execute(_BEGAN_WITH_OPTIONS, {**started, "user_options": user_options})
        await self._db.execute(_DELETE_EVENTS, {"server": server_id})
        generation = (await self._db.execute(_GENERATION, {"row": server_id})).scalar()
        return Lease(server_id, generation or 0, hub_id)

    async def want_stopped(self, server_id: int, *, now: datetime, remove: bool = False) -> bool:
        """Ask for the stop of a server that is starting, ready or being checked; False if there is nothing to stop.

        ``remove``: its row goes as soon as it has stopped.
        """
        stop = _WANT_REMOVED if remove else _WANT_STOPPED
        result = await self._db.execute(stop, {"row": server_id, "phase_since": to_db(now)})
        return bool(result.rowcount == 1)

    async def want_removed(self, server_id: int) -> None:
        """Ask for the row of a server that is stopping to go when it has stopped."""
        await self._db.execute(
            update(_states).where(_states.c.spawner_id == server_id).values(remove_when_stopped=True)
        )

    async def is_to_be_removed(self, server_id: int) -> bool:
        wanted = select(_states.c.remove_when_stopped).where(_states.c.spawner_id == server_id)
        return bool((await self._db.execute(wanted)).scalar_one_or_none())

    # -- leases

    async def take_over(self, server: Server, *, hub_id: str) -> Lease | None:
        """Take a server whose hub is gone, by compare-and-set; None if another hub was faster.

        A ready server becomes one that is being checked, unless its hub has handed it over in good order; an unfinished
        start or stop stays what it is.
        """
        held = _states.c.hub_id.is_(None) if server.hub_id is None else _states.c.hub_id == server.hub_id
        result = await self._db.execute(
            update(_states)
            .where(
                _states.c.spawner_id == server.id,
                _states.c.generation == server.generation,
                _states.c.phase == server.phase,
                held,
            )
            .values(
                hub_id=hub_id,
                phase=server.phase if server.hub_id == HANDED_OVER else _phase_of_unknown(server.phase),
                attempts=_states.c.attempts + (1 if server.phase is Phase.STARTING else 0),
            )
        )
        return Lease(server.id, server.generation, hub_id) if result.rowcount == 1 else None

    async def hand_over(self, hub_id: str) -> int:
        """Leave the ready servers of a hub that ends to the others; say how many they are."""
        ready = (_states.c.hub_id == hub_id, _states.c.phase == Phase.READY)
        return (await self._db.execute(update(_states).where(*ready).values(hub_id=HANDED_OVER))).rowcount

    async def doubt_handed_over(self) -> None:
        """Let what was handed over, and not taken since, be checked after all: nobody knows how long ago that was."""
        await self._db.execute(update(_states).where(_states.c.hub_id == HANDED_OVER).values(hub_id=null()))

    async def attempts(self, server_id: int) -> int:
        """How often the current start was begun: 1, or more after hubs died in the middle of it."""
        return (await self._db.execute(_ATTEMPTS, {"row": server_id})).scalar() or 0

    # -- what the driver writes

    async def save_state(self, lease: Lease, state: Mapping[str, Json]) -> None:
        """Keep what the spawner needs to find its server again."""
        await self._prove(lease)
        await self._db.execute(_STATE, {"row": lease.server_id, "state": dict(state)})

    async def set_oauth_client(self, lease: Lease, client_id: str | None) -> None:
        await self._prove(lease)
        await self._db.execute(_CLIENT, {"row": lease.server_id, "oauth_client_id": client_id})

    async def set_endpoint(self, lease: Lease, endpoint: Endpoint, state: Mapping[str, Json]) -> None:
        """Note the address that ``Spawner.start`` gave, together with the spawner's state."""
        await self._prove(lease)
        await self._drop_endpoint(lease.server_id)
        result = await self._db.execute(_ADD_ENDPOINT, {**asdict(endpoint), "cookie_name": "cookie"})
        assert result.inserted_primary_key is not None
        endpoint_id = result.inserted_primary_key[0]
        await self._db.execute(_ENDPOINT, {"row": lease.server_id, "server_id": endpoint_id, "state": dict(state)})

    async def mark_ready(self, lease: Lease, *, now: datetime, was: Phase) -> None:
        """Mark a server that answers as ready; LeaseLost also if somebody wants it stopped meanwhile."""
        await self._write_state(_READY, lease, phase_since=to_db(now), was=was)

    async def mark_stopping(self, lease: Lease, *, now: datetime, failure: Failure | None = None) -> None:
        if failure is None:
            await self._write_state(_STOPPING, lease, phase_since=to_db(now))
        else:
            await self._write_state(_FAILED, lease, phase_since=to_db(now), failure=asdict(failure))

    async def mark_stopped(self, lease: Lease, *, state: Mapping[str, Json] | None, now: datetime) -> None:
        """End the lease: no endpoint, no hub; ``state`` is what the spawner keeps while stopped."""
        await self._write_state(_STOPPED, lease, phase_since=to_db(now))
        await self._drop_endpoint(lease.server_id)
        kept = None if state is None else dict(state)
        await self._db.execute(_ENDED, {"row": lease.server_id, "started": None, "state": kept})

    # -- events of the current start

    async def add_event(self, lease: Lease, data: Mapping[str, Json], *, now: datetime) -> None:
        await self._prove(lease)
        start = {"server": lease.server_id, "start": lease.generation}
        seq = (await self._db.execute(_NEXT_EVENT, start)).scalar()
        event = {"spawner_id": lease.server_id, "generation": lease.generation, "seq": seq}
        await self._db.execute(_ADD_EVENT, {**event, "at": to_db(now), "data": dict(data)})

    async def events_from(self, server_id: int, generation: int, seq: int) -> Sequence[ServerEvent]:
        """Give the events of one start from number ``seq`` on, in order."""
        wanted = {"server": server_id, "start": generation, "first": seq}
        return [ServerEvent(seq=row.seq, data=row.data) for row in await self._db.execute(_EVENTS_FROM, wanted)]

    # --

    async def hold_names_of(self, user_id: int) -> str:
        """Let nobody else give names to the servers of this user until the end of the transaction; give its name.

        ``spawners`` has no unique index over (user, name) in the original's schema. The row of the owner is locked
        instead, but not against rows that only refer to it, such as new tokens. NotFound if there is no such user.
        """
        owner = (await self._db.execute(_OWNER, {"owner": user_id})).scalar()
        if owner is None:
            raise NotFound()
        return str(owner)

    async def _prove(self, lease: Lease) -> None:
        """Hold the state row for the rest of the transaction, if the lease is still good; else LeaseLost."""
        if (await self._db.execute(_PROVE, _proof(lease))).first() is None:
            raise LeaseLost(f"lease on server {lease.server_id} is gone")

    async def _write_state(self, change: Update, lease: Lease, **values: Any) -> None:
        result = await self._db.execute(change, {**_proof(lease), **values})
        if result.rowcount != 1:
            raise LeaseLost(f"lease on server {lease.server_id} is gone")

    async def _drop_endpoint(self, server_id: int) -> None:
        endpoint_id = (await self._db.execute(_ENDPOINT_ID, {"row": server_id})).scalar()
        if endpoint_id is not None:
            await self._db.execute(_ENDPOINT_ALONE, {"row": server_id, "server_id": None})
            await self._db.execute(_DELETE_ENDPOINT, {"row": endpoint_id})

    async def _serialise_limits(self, limits: SpawnLimits) -> None:
        """Let starts count one after the other where the database would let them count side by side.

        SQLite has one writer anyway. Elsewhere an UPDATE sees only committed rows of others, so two starts could both
        find the last free place; the lock lives until the end of this short transaction.
        """
        if not (limits.concurrent or limits.active):
            return
        match self._db.dialect.name:
            case "postgresql":
                await self._db.execute(select(func.pg_advisory_xact_lock(_LIMITS_LOCK)))
            case "mysql" | "mariadb":
                await Facts(self._db).get("limits")  # there is no such lock: the row of this fact stands for it


#: number of the advisory lock around limits; any constant that nobody else uses in this database
_LIMITS_LOCK = 0x6A68_7831
