"""System calls that Python has no functions for: capabilities, process attributes, what ``ps`` shows.

ctypes and nothing else. Everything raises OSError when the kernel refuses.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

_SET_DUMPABLE, _SET_KEEPCAPS, _SET_NAME = 4, 8, 15
_CAPBSET_READ, _CAPBSET_DROP = 23, 24
_SET_MM, _SET_MM_MAP, _SET_CHILD_SUBREAPER, _SET_NO_NEW_PRIVS = 35, 14, 36, 38
_CAP_AMBIENT, _AMBIENT_RAISE, _AMBIENT_CLEAR_ALL = 47, 2, 4
_CAPABILITY_VERSION_3 = 0x20080522

CAP_SETGID, CAP_SETUID, CAP_SETPCAP, CAP_NET_BIND_SERVICE = 6, 7, 8, 10


@cache
def _libraries() -> tuple[Any, Any]:
    """ctypes and the C library. Loaded late: most hubs never need them."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.sbrk.restype = ctypes.c_void_p
    libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    return ctypes, libc


def prepare() -> None:
    """Load what is needed. For a process with threads that is going to fork: the child must not import."""
    _libraries()


def _error(what: str) -> OSError:
    number = _libraries()[0].get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")


def _prctl(option: int, first: int = 0, second: int = 0, third: int = 0) -> int:
    result: int = _libraries()[1].prctl(option, first, second, third, 0)
    if result < 0:
        raise _error(f"prctl {option}")
    return result


def set_dumpable(wanted: bool) -> None:
    """Whether processes of the same user may look into this one (debuggers, psutil, /proc)."""
    _prctl(_SET_DUMPABLE, int(wanted))


def keep_capabilities() -> None:
    """Keep what is permitted through the next change of the user."""
    _prctl(_SET_KEEPCAPS, 1)


def gain_nothing() -> None:
    """No program that this process executes gets more rights than it has: no sudo, no su."""
    _prctl(_SET_NO_NEW_PRIVS, 1)


def give_up_gains(*, is_privileged: bool) -> None:
    """No program that is executed from here on has more rights than this process; for good.

    Who is privileged loses what the next user could get back by file capabilities, too.
    """
    if is_privileged:
        empty_bounding_set()
    gain_nothing()


def adopt_orphans() -> None:
    """Become the parent of descendants whose parents end."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def set_name(name: bytes) -> None:
    """Set what ``ps`` and ``top`` show as the name; the kernel keeps 15 bytes."""
    ctypes, _ = _libraries()
    buffer = ctypes.create_string_buffer(name[:15])
    _prctl(_SET_NAME, ctypes.addressof(buffer))


def set_capabilities(*, permitted: Iterable[int], effective: Iterable[int], inheritable: Iterable[int] = ()) -> None:
    """Set the three capability sets of this thread."""

    def halves(capabilities: Iterable[int]) -> tuple[int, int]:
        mask = 0
        for capability in capabilities:
            mask |= 1 << capability
        return mask & 0xFFFFFFFF, mask >> 32

    sets = list(zip(halves(effective), halves(permitted), halves(inheritable), strict=True))
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    data = b"".join(struct.pack("=III", *low_or_high) for low_or_high in sets)
    if _libraries()[1].capset(header, data) != 0:
        raise _error("capset")


def raise_ambient(capabilities: Iterable[int]) -> None:
    for capability in capabilities:
        _prctl(_CAP_AMBIENT, _AMBIENT_RAISE, capability)


def clear_ambient() -> None:
    """Nothing that this process executes inherits capabilities."""
    _prctl(_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)


def empty_bounding_set() -> None:
    """No program that this process executes gets a capability, whatever is written on its file."""
    capability = 0
    while True:
        try:
            if _prctl(_CAPBSET_READ, capability):
                _prctl(_CAPBSET_DROP, capability)
        except OSError as error:
            if capability > 0 and _is_past_the_last(capability):
                return
            raise OSError(error.errno, f"capability {capability} cannot be dropped") from error
        capability += 1


def _is_past_the_last(capability: int) -> bool:
    with open("/proc/sys/kernel/cap_last_cap") as last:
        return capability > int(last.read())


def close_from(lowest: int) -> None:
    """Close all descriptors from ``lowest`` on."""
    os.closerange(lowest, os.sysconf("SC_OPEN_MAX"))


def show_as(argv: Sequence[str], env: Mapping[str, str]) -> None:
    """Have ``/proc/PID/cmdline`` and ``environ`` show what they would if this program had been executed.

    The kernel is given new borders of the two regions (PR_SET_MM_MAP needs no capability); all others stay as they are.
    """
    arguments = b"".join(os.fsencode(word) + b"\0" for word in argv)
    variables = b"".join(os.fsencode(f"{name}={value}") + b"\0" for name, value in env.items())
    size = max(1, len(arguments) + len(variables))
    region = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    region.write(arguments + variables)
    ctypes, libc = _libraries()
    begin = ctypes.addressof(ctypes.c_char.from_buffer(region))
    _kept.append(region)
    with open("/proc/self/stat", "rb") as stat:
        fields = stat.read().rpartition(b")")[2].split()

    def field(number: int) -> int:
        return int(fields[number - 3])  # numbered as in proc(5)

    end = begin + len(arguments)
    values = (
        *(field(number) for number in (26, 27, 45, 46, 47)),  # code, data, start of the heap
        libc.sbrk(0),
        field(28),  # the stack
        *(begin, end, end, end + len(variables)),
        0,  # the auxiliary vector stays
    )
    layout = ctypes.create_string_buffer(struct.pack("=12QIi", *values, 0, -1))
    _prctl(_SET_MM, _SET_MM_MAP, ctypes.addressof(layout), struct.calcsize("=12QIi"))


#: regions that the kernel reads for others
_kept: list[mmap.mmap] = []
