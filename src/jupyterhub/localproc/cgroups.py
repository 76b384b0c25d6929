"""Limits for a server and all that it starts: control groups of Linux, version 2 or 1, where we may make them.

A group is named after the process that it was made for, so whoever knows that process finds it again. The kernel's
documentation: ``admin-guide/cgroup-v2`` and ``admin-guide/cgroup-v1``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: our own processes are moved into it, because a group that hands controllers down must not have processes (version 2)
_LEAF = "jupyterhub-itself"
_PERIOD_US = 100_000
#: a limit below it is somebody's slip: no server of any kind could start
LEAST_MEMORY = 64 * 1024**2
#: what the kernel calls one processor's worth, in versions 1 and 2
_SHARES, _WEIGHT = 1024, 100


class Unavailable(Exception):
    """Limits cannot be enforced here; ``str()`` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a server may use, and what it should have where others want it too. None: no limit.

    ``memory`` in bytes, ``processors`` as a number of them.
    """

    memory: int | None = None
    memory_guarantee: int | None = None
    processors: float | None = None
    processors_guarantee: float | None = None

    def __bool__(self) -> bool:
        return any((self.memory, self.memory_guarantee, self.processors, self.processors_guarantee))

    @property
    def controllers(self) -> tuple[str, ...]:
        return (
            *(("memory",) if self.memory or self.memory_guarantee else ()),
            *(("cpu",) if self.processors or self.processors_guarantee else ()),
        )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where groups for a controller are made."""

    folder: Path
    version: int
    controller: str


@dataclass(frozen=True, slots=True)
class Group:
    """The groups of one server: one, or one for each controller (version 1)."""

    places: tuple[tuple[_Place, Path], ...]

    @classmethod
    def of(cls, pid: int, start_time: int | None) -> Group:
        """The group of a process, whether there is one or not."""
        name = f"{pid}-{start_time or 0}"
        places: list[tuple[_Place, Path]] = []
        for controller in ("memory", "cpu"):
            with contextlib.suppress(Unavailable):
                place = _place(controller)
                if all(place.folder != other.folder for other, _ in places):
                    places.append((place, place.folder / name))
        return cls(tuple(places))

    @classmethod
    def make(cls, pid: int, start_time: int | None, limits: Limits) -> Group:
        """Limit a process, and all that it will start. Unavailable if that cannot be done; then nothing is left."""
        if limits.memory and limits.memory < LEAST_MEMORY:
            raise Unavailable(f"{limits.memory} bytes of memory are fewer than any server needs")
        group = cls.of(pid, start_time)
        missing, at = set(limits.controllers), Path()
        try:
            for place, folder in group.places:
                at = folder
                wanted = {"memory", "cpu"} if place.version == 2 else {place.controller}
                if not wanted & missing:
                    continue
                folder.mkdir(exist_ok=True)
                for name, value in {**_settings(place, limits), "cgroup.procs": str(pid)}.items():
                    at = folder / name
                    at.write_text(value)
                missing -= wanted
        except OSError as error:
            group._remove_folders()
            raise Unavailable(f"{at}: {error.strerror}") from error
        if missing:
            group._remove_folders()
            for controller in missing:
                _place(controller)  # says why
        return group

    def was_short_of_memory(self) -> bool:
        """Whether the kernel has killed one of its processes because they used more memory than they may."""
        for place, folder in self.places:
            name = "memory.events" if place.version == 2 else "memory.oom_control"
            with contextlib.suppress(OSError):
                for line in (folder / name).read_text().splitlines():
                    what, _, count = line.partition(" ")
                    if what == "oom_kill" and int(count):
                        return True
        return False

    def end(self) -> bool:
        """End whatever still runs in it, and remove it; False if something has not ended yet: then try again."""
        if self._remove_folders():
            return True
        for pid in self._processes():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        return self._remove_folders()

    def _processes(self) -> Iterator[int]:
        for _, folder in self.places:
            with contextlib.suppress(OSError):
                yield from map(int, (folder / "cgroup.procs").read_text().split())

    def _remove_folders(self) -> bool:
        """Remove what has no process any more; False if something is left."""
        is_gone = True
        for _, folder in self.places:
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                is_gone = False
        return is_gone


def _settings(place: _Place, limits: Limits) -> dict[str, str]:
    """Files of a group, and what is written into them."""
    settings: dict[str, str] = {}
    if place.version == 2:
        if limits.memory:
            settings["memory.max"] = str(limits.memory)
        if limits.memory_guarantee:
            settings["memory.low"] = str(limits.memory_guarantee)
        if limits.processors:
            settings["cpu.max"] = f"{_quota_us(limits.processors)} {_PERIOD_US}"
        if limits.processors_guarantee:
            settings["cpu.weight"] = str(min(10_000, max(1, round(_WEIGHT * limits.processors_guarantee))))
    elif place.controller == "memory":
        if limits.memory:
            settings["memory.limit_in_bytes"] = str(limits.memory)
        if limits.memory_guarantee:
            settings["memory.soft_limit_in_bytes"] = str(limits.memory_guarantee)
    else:
        if limits.processors:
            settings["cpu.cfs_period_us"] = str(_PERIOD_US)
            settings["cpu.cfs_quota_us"] = str(_quota_us(limits.processors))
        if limits.processors_guarantee:
            settings["cpu.shares"] = str(max(2, round(_SHARES * limits.processors_guarantee)))
    return settings


def _quota_us(processors: float) -> int:
    return max(1000, round(processors * _PERIOD_US))


# -- finding a place


@cache
def _place(controller: str) -> _Place:
    """Where groups with a controller are made: below the group of this process. Unavailable, with the reason."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
        own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except OSError as error:
        raise Unavailable("this system has no control groups") from error
    for _, mount, kind, options, *_ in mounts:
        path = next((path for _, controllers, path in own if controller in controllers.split(",")), None)
        if kind == "cgroup" and controller in options.split(",") and path is not None:
            return _Place(_made(_below(Path(mount), path)), 1, controller)
    for _, mount, kind, *_ in mounts:
        path = next((path for number, _, path in own if number == "0"), None)
        if kind == "cgroup2" and path is not None:
            return _place_of_version_2(Path(mount), path, controller)
    raise Unavailable(f"there is no control group for {controller} that this process could see")


def _below(mount: Path, path: str) -> Path:
    """The folder of a group; in a container its path may be that of another view, and then the mount is the group."""
    folder = mount / path.lstrip("/")
    return folder if folder.is_dir() else mount


def _made(folder: Path) -> Path:
    """The folder for our groups in one; Unavailable if this process may not make it."""
    ours = folder / f"jupyterhub-{os.geteuid()}"
    try:
        ours.mkdir(exist_ok=True)
    except OSError as error:
        raise Unavailable(f"{ours} cannot be made: {error.strerror}") from error
    return ours


def _place_of_version_2(mount: Path, path: str, controller: str) -> _Place:
    folder = _below(mount, path)
    if folder.name == _LEAF:
        folder = folder.parent
    try:
        offered = (folder / "cgroup.controllers").read_text().split()
    except OSError as error:
        raise Unavailable(f"{folder} is no control group: {error.strerror}") from error
    if controller not in offered:
        raise Unavailable(f"the controller {controller} has not been delegated to {folder}")
    ours = _made(folder)
    for giving in (folder, ours):
        for name in sorted({"memory", "cpu"} & set(offered)):
            _hand_down(giving, name)
    return _Place(ours, 2, controller)


def _hand_down(folder: Path, controller: str) -> None:
    """Have the groups below one use a controller."""
    switch = folder / "cgroup.subtree_control"
    try:
        if controller in switch.read_text().split():
            return
        try:
            switch.write_text(f"+{controller}")
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            # it has processes itself: ours, if it was delegated to us
            leaf = folder / _LEAF
            leaf.mkdir(exist_ok=True)
            for pid in (folder / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    (leaf / "cgroup.procs").write_text(pid)
            switch.write_text(f"+{controller}")
    except OSError as error:
        raise Unavailable(f"{controller} cannot be handed down in {folder}: {error.strerror}") from error
