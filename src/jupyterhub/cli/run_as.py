"""Leaving root behind: a hub that is started as root starts a broker that keeps the rights, and becomes somebody else.

From then on nothing that the network reaches is root: not the hub, not the proxy, not managed services. What takes
rights (becoming users, asking PAM, limits) is asked of the broker, which does that and nothing else.
"""

from __future__ import annotations

import os
import pwd
import socket

from jupyterhub.localproc import kernel_calls
from jupyterhub.localproc.client import connect, connect_or_start
from jupyterhub.words.errors import ConfigurationError

#: the connection that keeps the broker from ending as long as this hub, or one of its workers, lives
_kept: list[socket.socket] = []


def leave_root(name: str) -> None:
    """Become the user ``name`` for ever. ConfigurationError if that cannot be; nothing has changed then."""
    if os.geteuid() != 0:
        if pwd.getpwuid(os.geteuid()).pw_name != name:
            raise ConfigurationError(f"JupyterHub.run_as is {name!r}: only root, or that user, can start this hub")
        return
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise ConfigurationError(
            f"JupyterHub.run_as: there is no user {name!r} on this machine; `useradd --system {name}` makes one"
        ) from None
    if user.pw_uid == 0:
        raise ConfigurationError("JupyterHub.run_as: this is root itself; name a user without rights")
    try:
        # not kept: whoever holds a connection that root has made may ask for what root may
        sock, address = connect_or_start(for_user=user)
        sock.close()
    except OSError as error:
        raise ConfigurationError(f"JupyterHub.run_as: no broker could be started: {error}") from error
    os.environ.update(JUPYTERHUB_BROKER=address, HOME=user.pw_dir, USER=name, LOGNAME=name)
    kernel_calls.keep_capabilities()
    os.setgroups(os.getgrouplist(name, user.pw_gid))
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    # of all that root may do only this is left: the proxy may be meant to listen on 80 or 443
    ports = (kernel_calls.CAP_NET_BIND_SERVICE,)
    kernel_calls.set_capabilities(permitted=ports, effective=ports, inheritable=ports)
    kernel_calls.raise_ambient(ports)
    if os.getresuid() != (user.pw_uid,) * 3:
        raise SystemExit("JupyterHub.run_as: the system did not let go of root")
    _kept.append(connect(address))


def check_files(paths: list[str]) -> None:
    """ConfigurationError, with what to do, for a file that the hub must write and this user cannot."""
    for path in paths:
        target = path if os.path.exists(path) else os.path.dirname(os.path.abspath(path))
        if not os.access(target, os.W_OK):
            name = pwd.getpwuid(os.geteuid()).pw_name
            raise ConfigurationError(
                f"{os.path.abspath(target)} cannot be written by {name}, as which the hub runs: `chown {name} "
                f"{os.path.abspath(target)}`, or let the hub keep its files in a folder of that user's"
            )
