"""Rows of services."""

from __future__ import annotations

import builtins
from dataclasses import asdict
from typing import Any

from sqlalchemy import bindparam, delete, insert, null, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from jupyterhub.rbac.scope_set import EVERYTHING, ListFilter
from jupyterhub.words.models import Endpoint, Service

from . import tables as t
from .hot import hot
from .inserts import put
from .lists import named

_services, _endpoints = t.services, t.servers
_SERVICE = (
    select(
        _services,
        _endpoints.c.proto,
        _endpoints.c.ip,
        _endpoints.c.port,
        _endpoints.c.base_url,
    )
    .select_from(_services)
    .outerjoin(_endpoints, _endpoints.c.id == _services.c._server_id)
)
_BY_NAME = hot(_SERVICE.where(_services.c.name == bindparam("service_name")))
_BY_ID = hot(_SERVICE.where(_services.c.id == bindparam("service_id")))


def _service(row: Any) -> Service:
    endpoint = None
    if row.port is not None:
        endpoint = Endpoint(proto=row.proto, ip=row.ip or "", port=row.port, base_url=row.base_url or "/")
    return Service(
        id=row.id,
        name=row.name,
        admin=bool(row.admin),
        url=row.url,
        oauth_client_allowed_scopes=row.oauth_client_allowed_scopes or [],
        info=row.info,
        display=row.display,
        oauth_no_confirm=row.oauth_no_confirm,
        command=row.command or [],
        cwd=row.cwd,
        environment=row.environment or {},
        user=row.user,
        timeout_s=row.timeout,
        from_config=bool(row.from_config),
        pid=row.pid,
        oauth_client_id=row.oauth_client_id,
        endpoint=endpoint,
    )


class Services:
    """Services within one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._db = connection

    async def find(self, name: str) -> Service | None:
        row = (await self._db.execute(_BY_NAME, {"service_name": name})).first()
        return _service(row) if row else None

    async def find_by_id(self, service_id: int) -> Service | None:
        row = (await self._db.execute(_BY_ID, {"service_id": service_id})).first()
        return _service(row) if row else None

    async def list(self, listed: ListFilter = EVERYTHING) -> builtins.list[Service]:
        chosen = _SERVICE.where(named(_services.c.name, listed.everything, listed.services)).order_by(_services.c.id)
        return [_service(row) for row in await self._db.execute(chosen)]

    async def save(self, name: str, **columns: Any) -> Service:
        """Add a service, or change the one of this name; ``columns`` are those of its table."""
        found = await self.find(name)
        if found is None:
            await put(self._db, _services, "name", {"name": name, **columns})
        elif columns:
            values = {column: null() if value is None else value for column, value in columns.items()}
            await self._db.execute(update(_services).where(_services.c.id == found.id).values(**values))
        saved = await self.find(name)
        assert saved is not None
        return saved

    async def delete(self, service_id: int) -> None:
        await self._db.execute(delete(_services).where(_services.c.id == service_id))

    async def set_endpoint(self, service_id: int, endpoint: Endpoint | None) -> None:
        """Note where a service listens; None for nowhere."""
        current = select(_services.c._server_id).where(_services.c.id == service_id)
        endpoint_id = (await self._db.execute(current)).scalar_one_or_none()
        this = update(_services).where(_services.c.id == service_id)
        if endpoint_id is not None:
            await self._db.execute(this.values(_server_id=null()))
            await self._db.execute(delete(_endpoints).where(_endpoints.c.id == endpoint_id))
        if endpoint is not None:
            result = await self._db.execute(insert(_endpoints).values(**asdict(endpoint), cookie_name="cookie"))
            assert result.inserted_primary_key is not None
            await self._db.execute(this.values(_server_id=result.inserted_primary_key[0]))

    async def set_pid(self, service_id: int, pid: int) -> None:
        await self._db.execute(update(_services).where(_services.c.id == service_id).values(pid=pid))

    async def forget_pid(self, service_id: int, pid: int) -> None:
        """Note that this process has ended, unless another one has taken its place."""
        ended = update(_services).where(_services.c.id == service_id, _services.c.pid == pid)
        await self._db.execute(ended.values(pid=null()))
