"""The sockets on which the hub answers, opened before anything else is started.

A port that is taken then ends the start before a proxy or a service has been started for nothing.
"""

from __future__ import annotations

import errno
import os
import socket

from tornado.netutil import bind_sockets, bind_unix_socket

from jupyterhub.hub.settings import HubSettings
from jupyterhub.words.errors import ConfigurationError


def open_sockets(settings: HubSettings) -> list[socket.socket]:
    """Open what ``hub_bind_url`` (or ``hub_ip`` and ``hub_port``) says; ConfigurationError if that is not possible."""
    if settings.hub_bind_socket:
        path = settings.hub_bind_socket
        try:
            return [bind_unix_socket(path, mode=settings.hub_socket_mode)]
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"The hub cannot listen on the socket {path}: {error}. "
                "Change JupyterHub.hub_bind_url, or make the directory writable for the hub."
            ) from error
    ip, port = settings.hub_bind_ip, settings.hub_bind_port
    try:
        return bind_sockets(port, ip)
    except OSError as error:
        where = f"port {port} of {ip or 'all addresses'}"
        match error.errno:
            case errno.EADDRINUSE:
                why = "another process uses it, maybe a hub that still runs"
                remedy = (
                    f"Stop that process (`ss -ltnp sport = :{port}` names it) or choose another JupyterHub.hub_port."
                )
            case errno.EACCES:
                why = "ports below 1024 need special rights"
                remedy = "Choose another JupyterHub.hub_port; only the proxy needs a well-known one."
            case _:
                why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
                remedy = (
                    "Set JupyterHub.hub_ip to an address of this machine; others connect to JupyterHub.hub_connect_ip."
                )
        raise ConfigurationError(f"The hub cannot listen on {where}: {why}. {remedy}") from error
