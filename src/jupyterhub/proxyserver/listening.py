"""Listening sockets: made here, before anything serves, so that they can be given to others: to workers."""

from __future__ import annotations

import os
import socket

from .options import Listen

#: connections that the kernel holds until we take them: after a hub's restart all browsers come at once
BACKLOG = 2048


class CannotListen(Exception):
    """An address cannot be listened on."""


def listen(where: Listen, *, share: bool = False) -> list[socket.socket]:
    """Give listening sockets: one for each address that the name stands for, all with the same port.

    ``share`` lets other sockets of ours listen there too, among which the kernel then spreads new connections.
    Raises ``CannotListen``.
    """
    sockets: list[socket.socket] = []
    try:
        if where.socket_path:
            sockets.append(_listen_unix(where.socket_path))
            return sockets
        port = where.port
        found = socket.getaddrinfo(where.ip or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError:
                continue  # a machine without IPv6 may still resolve to it
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if share:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address[0], port, *address[2:]))
            sock.listen(BACKLOG)
            port = sock.getsockname()[1]
        if not sockets:
            raise OSError(0, "no such address")
    except OSError as error:
        for sock in sockets:
            sock.close()
        reason = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else str(error)
        raise CannotListen(f"cannot listen on {where}: {reason}") from error
    return sockets


def address_of(where: Listen, sockets: list[socket.socket]) -> Listen:
    """Give the address with the port that the kernel has chosen, if it was 0."""
    return where if where.socket_path else Listen(where.ip, sockets[0].getsockname()[1])


def _listen_unix(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            sock.bind(path)
        except OSError:
            if not _is_abandoned(path):
                raise
            os.unlink(path)
            sock.bind(path)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _is_abandoned(path: str) -> bool:
    """Whether a socket lies there that nobody listens on: a proxy that was killed leaves it behind."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
