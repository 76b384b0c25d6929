"""Listening sockets: made here, before anything serves, so that they can be given to others: to workers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence

from .options import Listen
from .succession import Estate

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


class Doors:
    """All addresses that the program listens on, by their purpose. Closed when the stack is unwound.

    Who serves gets copies of the sockets: the originals stay open for workers and successors, and so do their queues.
    """

    def __init__(self, cleanup: contextlib.AsyncExitStack, left: Mapping[str, Sequence[int]]) -> None:
        """``left`` are sockets that a predecessor listened on; what is configured otherwise now is closed."""
        self._cleanup = cleanup
        self._left = {purpose: [socket.socket(fileno=fd) for fd in fds] for purpose, fds in left.items()}
        self._sockets: dict[str, list[socket.socket]] = {}
        self._servers: list[tuple[str, asyncio.Server]] = []
        cleanup.callback(self.close)

    def listen_shared(self, where: Listen, shares: int) -> list[list[socket.socket]]:
        """Listen on the public address, with a group of sockets for each that will serve there."""
        is_unix = bool(where.socket_path)
        groups = [self._listen("public", where, share=shares > 1 and not is_unix)]
        for number in range(1, shares):
            again = address_of(where, groups[0])
            groups.append(groups[0] if is_unix else self._listen(f"public {number}", again, share=True))
        return groups

    async def open(
        self,
        purpose: str,
        where: Listen,
        protocol: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None = None,
    ) -> Listen:
        """Listen and serve. Gives the address with the port that the kernel has chosen, if it was 0."""
        sockets = self._listen(purpose, where)
        await self.open_sockets(sockets, protocol, tls, purpose)
        return address_of(where, sockets)

    async def open_sockets(
        self,
        sockets: Sequence[socket.socket],
        protocol: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None = None,
        purpose: str = "public",
    ) -> None:
        loop = asyncio.get_running_loop()
        for sock in sockets:
            if sock.family == socket.AF_UNIX:
                server = await loop.create_unix_server(protocol, sock=sock.dup(), ssl=tls, backlog=BACKLOG)
            else:
                server = await loop.create_server(protocol, sock=sock.dup(), ssl=tls, backlog=BACKLOG)
            self._servers.append((purpose, server))

    def close(self, purpose: str = "") -> None:
        """Take nobody in any more. With a purpose the sockets close too, and who still waits there is sent away."""
        for name, server in self._servers:
            if purpose in ("", name):
                server.close()
        if purpose:
            for name, sockets in self._sockets.items():
                if name.split()[0] == purpose:
                    for sock in sockets:
                        sock.close()

    def bequeath(self, estate: Estate) -> list[int]:
        """Enter the sockets in the estate, and give their numbers."""
        estate.listeners = {purpose: [sock.fileno() for sock in found] for purpose, found in self._sockets.items()}
        return [fd for fds in estate.listeners.values() for fd in fds]

    def _listen(self, purpose: str, where: Listen, *, share: bool = False) -> list[socket.socket]:
        left = self._left.pop(purpose, [])
        if left and (where.socket_path or where.port in (0, left[0].getsockname()[1])):
            sockets = left
        else:
            for sock in left:
                sock.close()
            sockets = listen(where, share=share)
        self._sockets[purpose] = sockets
        if where.socket_path:
            self._cleanup.callback(_remove, where.socket_path)
        return sockets


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


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
