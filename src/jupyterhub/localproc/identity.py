"""Becoming a user: what the account says, and the change itself, which fails closed.

``look_up`` asks the system's directories, which may take long and open sockets: never call it between fork and exec of
a process with threads. ``take`` is for the new process, and asks nobody.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import kernel_calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a process is to become."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str

    @classmethod
    def look_up(cls, name: str) -> Identity:
        """Ask the system; KeyError if there is no such user."""
        entry = pwd.getpwnam(name)
        groups = os.getgrouplist(name, entry.pw_gid)
        return cls(name=name, uid=entry.pw_uid, gid=entry.pw_gid, groups=tuple(groups), home=entry.pw_dir)

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Identity:
        return cls(
            name=str(message["name"]),
            uid=int(message["uid"]),
            gid=int(message["gid"]),
            groups=tuple(int(group) for group in message["groups"]),
            home=str(message["home"]),
        )

    def to_message(self) -> dict[str, Any]:
        return {"name": self.name, "uid": self.uid, "gid": self.gid, "groups": list(self.groups), "home": self.home}

    @property
    def is_mine(self) -> bool:
        """Whether this unprivileged process is that user already, so that there is nothing to become."""
        return os.geteuid() != 0 and self.uid == os.getuid() == os.geteuid()

    def take(self) -> None:
        """Become this user for ever, and verify it; OSError if anything is not as it should be."""
        os.setgroups(self.groups)
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)
        if self.uid != 0 and sys.platform.startswith("linux"):
            # From root the kernel has done it. A process that changes users by single capabilities keeps them.
            kernel_calls.clear_ambient()
            kernel_calls.set_capabilities(permitted=(), effective=())
        verify(self.uid, self.gid, self.groups)


def verify(uid: int, gid: int, groups: Sequence[int]) -> None:
    """Ask the kernel who this process is; PermissionError if it is not who it should be, or holds capabilities."""
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (gid, gid, gid):
        raise PermissionError(f"user and group are {os.getresuid()} and {os.getresgid()} instead of {uid} and {gid}")
    if set(os.getgroups()) - {gid} != set(groups) - {gid}:
        raise PermissionError(f"supplementary groups are {os.getgroups()} instead of {groups}")
    if uid == 0 or not sys.platform.startswith("linux"):
        return
    with open("/proc/self/status", "rb") as status:
        for line in status:
            name, _, value = line.partition(b":")
            if name in (b"CapPrm", b"CapEff", b"CapInh", b"CapAmb") and int(value, 16):
                raise PermissionError(f"capabilities are left: {line.decode().strip()}")


def enter(directory: str) -> None:
    """Change into a directory, or into the nearest one above it that can be entered."""
    path = os.path.abspath(directory)
    while True:
        try:
            os.chdir(path)
        except OSError:
            parent = os.path.dirname(path)
            if parent == path:
                raise
            path = parent
        else:
            return
