"""Which servers can be forked from a warm process, and starting one so.

A server that is forked must be the same as one that is executed. So everything that could make a difference is looked
at first: the command, the settings, the environment. The first thing that does not fit is the reason for an ordinary
start; it is told in the log, to the person who waits, and in the server's state. What a warm process is, and who makes
it, is ``localproc``'s.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from jupyterhub.localproc.client import (
    BrokerClient,
    Refused,
    Unavailable,
    Waiting,
    known_early,
    present_limits,
    present_umask,
)
from jupyterhub.localproc.newborn import Start

from .processes import ProcessId

_STATUS_LOOKS, _STATUS_PAUSE_S = 100, 0.01

#: modules that can be run from warm processes
MODULES = ("jupyterhub.singleuser",)
#: a console script of one of them
_SCRIPT = re.compile(rb"^from jupyterhub\.singleuser import main$", re.MULTILINE)
_LONGEST_SCRIPT = 4096
_PYTHON = re.compile(r"python(3(\.\d+)?)?")

#: read by the interpreter or by libraries below it, before any of ours could note it
EARLY_PREFIXES = ("PYTHON", "LD_", "MALLOC_", "GLIBC_", "OPENSSL_", "SSL_CERT_")
#: these change which server runs, or what its imports find
OTHER_SERVERS = ("JUPYTERHUB_SINGLEUSER_APP", "JUPYTERHUB_SINGLEUSER_EXTENSION", "JUPYTERHUB_DISABLE_USER_CONFIG")


class DoesNotFit(Exception):
    """This server must be executed; ``str()`` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A command that a warm process can become."""

    interpreter: str
    #: what the kernel would show, had it executed the command
    argv: tuple[str, ...]
    comm: str
    arguments: tuple[str, ...]
    script: str | None = None
    module: str | None = None

    def to_message(self) -> dict[str, Any]:
        what = {"script": self.script} if self.script is not None else {"module": self.module}
        return {**what, "arguments": list(self.arguments), "comm": self.comm}


def find_program(command: Sequence[str], path: str) -> Program:
    """Read a command as the system would that executes it; DoesNotFit if it is not a single-user server's."""
    name, *rest = command
    found = name if "/" in name else shutil.which(name, path=path)
    if found is None or not os.path.isabs(found):
        raise DoesNotFit(f"{name} is not found in the server's PATH")
    if _PYTHON.fullmatch(os.path.basename(found)):
        if len(rest) < 2 or rest[0] != "-m" or rest[1] not in MODULES:
            raise DoesNotFit("the command is not jupyterhub-singleuser")
        return Program(
            interpreter=found,
            argv=tuple(command),
            comm=os.path.basename(found),
            arguments=tuple(rest[2:]),
            module=rest[1],
        )
    try:
        with open(found, "rb") as script:
            text = script.read(_LONGEST_SCRIPT)
    except OSError as error:
        raise DoesNotFit(f"{found} cannot be read: {error}") from error
    first = text.partition(b"\n")[0]
    if not first.startswith(b"#!/") or not _SCRIPT.search(text):
        raise DoesNotFit("the command is not jupyterhub-singleuser")
    words = os.fsdecode(first[2:]).split()
    if len(words) != 1 or not _PYTHON.fullmatch(os.path.basename(words[0])):
        raise DoesNotFit(f"{found} is not run by a Python without options")
    return Program(
        interpreter=words[0],
        argv=(words[0], found, *rest),
        comm=os.path.basename(found),
        arguments=tuple(rest),
        script=found,
    )


def check_environment(env: Mapping[str, str]) -> None:
    """Raise DoesNotFit if a variable reaches where no warm process can follow."""
    for name in sorted(env):
        if name.startswith(EARLY_PREFIXES):
            raise DoesNotFit(f"the server's environment has {name}, which an interpreter reads when it begins")
    for name in OTHER_SERVERS:
        if env.get(name):
            raise DoesNotFit(f"the server's environment has {name}")


def check_readings(env: Mapping[str, str], readings: Mapping[str, str | None]) -> None:
    """Raise DoesNotFit if a variable has another value than the one that imports have seen."""
    for name, seen in readings.items():
        if env.get(name) != seen:
            raise DoesNotFit(
                f"the server's environment has another {name} than the warm process, whose imports read it"
            )


def listening_socket(ip: str, port: int) -> socket.socket | None:
    """Listen on an address for a server to come; None where that is the server's to decide (names, all interfaces)."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return None
    sock = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.version == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((ip, port))
        sock.listen(128)
    except OSError as error:
        sock.close()
        raise DoesNotFit(f"{ip}:{port} cannot be listened on: {error}") from error
    return sock


#: the brokers of this process, one connection per event loop and address
_brokers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str | None, BrokerClient]] = WeakKeyDictionary()


def broker_at(address: str | None) -> BrokerClient:
    """The connection of this hub to a broker; None: to the one of this installation."""
    clients = _brokers.setdefault(asyncio.get_running_loop(), {})
    if address not in clients:
        clients[address] = BrokerClient(address)
    return clients[address]


async def exit_status(broker: BrokerClient, process: ProcessId) -> int | None:
    """How a dead process of the broker's has ended; None if nobody knows (any more)."""
    try:
        for _ in range(_STATUS_LOOKS):
            status = await broker.status(process.pid, process.start_time)
            if status is not None:
                await broker.forget(process.pid, process.start_time)
                return status
            await asyncio.sleep(_STATUS_PAUSE_S)  # the end is seen here before its parent has heard of it
    except (LookupError, Refused, Unavailable):
        return None
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class FastStart:
    """Starts servers from warm processes of one broker."""

    broker: BrokerClient
    #: whether servers run as users of their own
    switches_users: bool

    async def warm_up(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        """Have a warm process made in advance, if servers like this one can be forked from it."""
        try:
            program = find_program(command, env.get("PATH", os.defpath))
            check_environment(env)
            await self.broker.warm_up(program.interpreter, known_early(env), switches_users=self.switches_users)
        except (DoesNotFit, Refused, Unavailable):
            return

    async def start(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        user: str | None,
        directory: str | None,
        ip: str,
        port: int,
        may_gain_rights: bool,
    ) -> Waiting:
        """Fork a server, which waits at its gate. DoesNotFit if it must be executed, for whatever reason."""
        program = find_program(command, env.get("PATH", os.defpath))
        check_environment(env)
        try:
            warmth = await self.broker.warm_up(
                program.interpreter, known_early(env), switches_users=self.switches_users
            )
            if warmth.state != "warm":
                raise DoesNotFit(warmth.why or "the warm process is not warm yet")
            check_readings(env, warmth.readings)
            start = Start(
                argv=program.argv,
                env=env,
                directory=directory,
                umask=present_umask(),
                limits=present_limits(),
                may_gain_rights=may_gain_rights,
                program=program.to_message(),
            )
            listener = listening_socket(ip, port)
            try:
                return await self.broker.start(
                    start,
                    user=user,
                    interpreter=program.interpreter,
                    switches_users=self.switches_users,
                    listener=listener,
                )
            finally:
                if listener is not None:
                    listener.close()
        except (Refused, Unavailable) as error:
            raise DoesNotFit(str(error)) from error
