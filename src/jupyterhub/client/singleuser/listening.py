"""The socket on which this server listens, if whoever started it made one.

A port that is chosen, closed and bound again later may be somebody else's by then. A socket that is passed on is ours
from the beginning, and clients that connect early wait in its queue instead of being refused.
"""

from __future__ import annotations

import os
import socket
from typing import Any

_inherited: list[socket.socket] = []


def inherit(fd: int) -> None:
    """Have the server that is started next in this process listen on a socket that listens already."""
    _inherited[:] = [socket.socket(fileno=fd)]


def listen_on_inherited(serverapp: Any) -> None:
    """Give a ``ServerApp`` that has not bound its port yet the inherited socket, if there is one for that port."""
    if not _inherited:
        return
    plain_find, plain_bind = serverapp._find_http_port, serverapp._bind_http_server_tcp

    def is_meant() -> bool:
        # the command line may have moved the server to another address
        return bool(_inherited) and (serverapp.ip, serverapp.port) == _inherited[0].getsockname()[:2]

    def find_http_port() -> None:
        if not is_meant():
            plain_find()

    def bind_http_server_tcp() -> bool:
        if not is_meant():
            return bool(plain_bind())
        inherited = _inherited.pop()
        inherited.setblocking(False)
        os.set_inheritable(inherited.fileno(), False)
        serverapp.http_server.add_sockets([inherited])
        return True

    serverapp._find_http_port = find_http_port
    serverapp._bind_http_server_tcp = bind_http_server_tcp
