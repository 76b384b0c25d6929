"""One line for each answer, for people and log collectors. Never a query, a Referer or a cookie: they carry tokens."""

from __future__ import annotations

import logging

from .protocol.exchange import Exchange

log = logging.getLogger("jupyterhub.proxyserver.access")


class AccessLog:
    """``--access-log``: address, method, path, status, bytes, seconds, path of the route, id of the request."""

    def write(self, ip: bytes, exchange: Exchange, status: int, sent_bytes: int, seconds: float) -> None:
        head = exchange.head
        log.info(
            "%s %s %s %d %d %.3f %s %s",
            ip.decode(),
            head.method.decode(),
            head.path_raw.decode(),
            status,
            sent_bytes,
            seconds,
            exchange.route.path if exchange.route is not None else "-",
            head.block.marks.get(b"x-request-id", b"-").decode("latin-1"),
        )
