"""The hub's side of the broker: finding it, starting it where there is none, and asking it.

Everything here is for one event loop. ``Unavailable`` means that the broker could not be asked, ``Refused`` that it
does not do it; after either of them nothing runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import importlib.util
import itertools
import logging
import os
import pwd
import resource
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from . import wire
from .cgroups import Limits
from .newborn import GO, Start

log = logging.getLogger("jupyterhub.broker")

#: longer than the broker waits for whomever it asks
ANSWER_LIMIT_S = 40.0
#: how long a broker that a hub has started stays without hubs and servers
LINGER_S = 60
#: for what the broker knows by itself
KNOWN_LIMIT_S = 2.0
#: a process that has not come to its gate within this time hangs in a file system or worse
GATE_LIMIT_S = 20.0

_BROKER = "import sys; sys.path.insert(0, {package!r}); from jupyterhub.localproc.broker import main; main()"
_LANGUAGE = ("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "LC_COLLATE", "LC_NUMERIC", "LC_TIME")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def configured_broker() -> str | None:
    """The address of a broker that was started for this hub (``JUPYTERHUB_BROKER``); None: the hub starts its own."""
    return os.environ.get("JUPYTERHUB_BROKER") or None


class Unavailable(Exception):
    """There is no broker to ask; ``str()`` says why."""


class Refused(Exception):
    """The broker, or the new process itself, says why it will not be."""

    def __init__(self, why: str, *, error_number: int | None = None) -> None:
        super().__init__(why)
        self.error_number = error_number


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmth:
    """How the zygote of an interpreter is."""

    #: ``warm``, ``warming`` or ``cold``
    state: str
    why: str = ""
    #: variables that were read while importing, with the values that they had then
    readings: Mapping[str, str | None]


def known_early(env: Mapping[str, str]) -> dict[str, str]:
    """The variables that a zygote gets: each set of values has a zygote of its own.

    Those that decide about encodings when an interpreter starts, and the proxies of a site, which imports look for.
    """
    return {name: env[name] for name in (*_LANGUAGE, *_PROXIES) if name in env}


class Waiting:
    """A new process that is at its gate. ``let_go`` it, or ``close``: then it ends."""

    def __init__(self, pid: int, line: socket.socket) -> None:
        self.pid, self._line = pid, line

    async def let_go(self) -> None:
        """Let it go on. Returns when it has executed its program; Refused if that cannot be executed."""
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._line, GO)
        try:
            message = await _receive(self._line)
        except wire.Closed:
            return
        raise Refused(str(message.get("failed")), error_number=message.get("errno"))

    def close(self) -> None:
        self._line.close()


class BrokerClient:
    """One hub's connection to a broker, made when it is needed, and again when it was lost."""

    def __init__(self, address: str | None = None) -> None:
        #: of a broker that somebody else starts (systemd); None: one of our own
        self._address = address
        self._sock: socket.socket | None = None
        self._connecting, self._sending = asyncio.Lock(), asyncio.Lock()
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[wire.Message]] = {}
        #: which zygotes were asked for: a broker that is new shall have them too
        self._wanted: list[wire.Message] = []

    async def connect(self) -> None:
        """Have a connection, and a broker, before something is asked for; nothing happens where that cannot be."""
        with contextlib.suppress(Unavailable):
            await self._connected()

    async def warm_up(self, interpreter: str, early: Mapping[str, str], *, switches_users: bool) -> Warmth:
        """Have a zygote made, if there is none; say how it is."""
        request = {"do": "warm_up", **_kind(interpreter, early, switches_users)}
        if request not in self._wanted:
            self._wanted.append(request)
        answer = await self._ask(request, within_s=KNOWN_LIMIT_S)
        return Warmth(state=answer["state"], why=answer.get("why", ""), readings=answer.get("readings", {}))

    async def start(
        self,
        start: Start,
        *,
        user: str | None,
        interpreter: str | None = None,
        switches_users: bool = False,
        listener: socket.socket | None = None,
        within_s: float = ANSWER_LIMIT_S,
    ) -> Waiting:
        """Make a process: warm if an ``interpreter`` is named, else one that executes. It waits at its gate.

        Unavailable if the broker has not made it ``within_s``; one that comes after that ends by itself.
        """
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = start.to_memory_file()
        try:
            with its, open(os.devnull, "rb") as nothing:  # noqa: ASYNC230 (it never waits)
                fds = [request, nothing.fileno(), 1, 2, its.fileno()]
                if listener is not None:
                    fds.append(listener.fileno())
                message: wire.Message = {"do": "start", "how": "cold", "user": user}
                if interpreter is not None:
                    message |= {"how": "warm", **_kind(interpreter, known_early(start.env), switches_users)}
                answer = await self._ask(message, fds, within_s=within_s)
            ours.setblocking(False)
            async with asyncio.timeout(GATE_LIMIT_S):
                said = await _receive(ours)
        except TimeoutError:
            ours.close()
            raise Refused("the new process did not come to its gate in time") from None
        except wire.Closed:
            ours.close()
            raise Refused("the new process ended before it came to its gate") from None
        except BaseException:
            ours.close()
            raise
        finally:
            os.close(request)
        if said.get("at") != "gate":
            ours.close()
            raise Refused(str(said.get("failed", said)))
        return Waiting(int(answer["pid"]), ours)

    async def status(self, pid: int, start_time: int | None) -> int | None:
        """The exit status of a process that the broker started; None while it runs. LookupError: it knows of none."""
        answer = await self._ask({"do": "status", "pid": pid, "start_time": start_time}, within_s=KNOWN_LIMIT_S)
        if not answer["known"]:
            raise LookupError(pid)
        status = answer["status"]
        return int(status) if status is not None else None

    async def forget(self, pid: int, start_time: int | None) -> None:
        """The status has been written down: the broker need not keep it any longer."""
        await self._ask({"do": "forget", "pid": pid, "start_time": start_time}, within_s=KNOWN_LIMIT_S)

    async def send_signal(self, pid: int, start_time: int, signum: int, *, to_group: bool = False) -> bool:
        """Send a signal to a process of a user; False if it is gone."""
        message = {"do": "signal", "pid": pid, "start_time": start_time, "signal": signum, "to_group": to_group}
        return bool((await self._ask(message, within_s=KNOWN_LIMIT_S))["sent"])

    async def limit(self, pid: int, start_time: int, limits: Limits) -> None:
        """Put a process into a control group; Refused if that cannot be done."""
        await self._ask({"do": "limit", "pid": pid, "start_time": start_time, "limits": asdict(limits)})

    async def end_group(self, pid: int, start_time: int) -> tuple[bool, bool]:
        """End what is left of the control group of a process: whether memory was short, whether the group is gone."""
        answer = await self._ask({"do": "end_group", "pid": pid, "start_time": start_time}, within_s=KNOWN_LIMIT_S)
        return bool(answer["short_of_memory"]), bool(answer["gone"])

    # -- asking

    async def _ask(
        self, message: wire.Message, fds: Sequence[int] = (), *, within_s: float = ANSWER_LIMIT_S
    ) -> wire.Message:
        sock = await self._connected()
        number = next(self._numbers)
        answer: asyncio.Future[wire.Message] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            async with asyncio.timeout(within_s):
                await self._send(sock, {"id": number, **message}, fds)
                found = await answer
        except TimeoutError:
            raise Unavailable("the broker does not answer") from None
        finally:
            self._asked.pop(number, None)
        if "refused" in found:
            raise Refused(str(found["refused"]))
        return found

    async def _send(self, sock: socket.socket, message: wire.Message, fds: Sequence[int]) -> None:
        async with self._sending:
            while sock is self._sock:
                try:
                    return wire.send(sock, message, fds)
                except BlockingIOError:
                    await _ready(sock, to_write=True)  # it has much to do
                except (wire.Closed, OSError) as error:
                    self._lose(f"the broker is gone ({error})")

    async def _connected(self) -> socket.socket:
        async with self._connecting:
            if self._sock is None:
                try:
                    if self._address is not None:
                        sock = connect(self._address)
                    else:
                        sock, _ = await asyncio.to_thread(connect_or_start)
                except OSError as error:
                    raise Unavailable(f"no broker: {error}") from error
                sock.setblocking(False)
                self._sock = sock
                asyncio.get_running_loop().add_reader(sock.fileno(), self._hear)
                for request in self._wanted:
                    await self._send(sock, {"id": 0, **request}, ())
            return self._sock

    def _hear(self) -> None:
        assert self._sock is not None
        try:
            message, fds = wire.receive(self._sock)
        except BlockingIOError:
            return
        except (wire.Closed, ValueError, OSError):
            self._lose("the broker has gone away")
            return
        wire.close_all(fds)
        asked = self._asked.get(int(message.get("id") or 0))
        if asked is not None and not asked.done():
            asked.set_result(message)

    def _lose(self, why: str) -> None:
        self.close()
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(Unavailable(why))

    def close(self) -> None:
        """Let the broker go. What runs goes on, and so does the broker for a while."""
        if self._sock is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                asyncio.get_running_loop().remove_reader(self._sock.fileno())
            self._sock.close()
            self._sock = None


def _kind(interpreter: str, early: Mapping[str, str], switches_users: bool) -> wire.Message:
    return {"interpreter": interpreter, "early": dict(early), "switches_users": switches_users}


async def _receive(sock: socket.socket) -> wire.Message:
    """The next message of a line; wire.Closed at its end."""
    while True:
        try:
            message, fds = wire.receive(sock)
        except BlockingIOError:
            await _ready(sock)
        else:
            wire.close_all(fds)
            return message


async def _ready(sock: socket.socket, *, to_write: bool = False) -> None:
    """Wait until the socket can be read from, or written to."""
    loop = asyncio.get_running_loop()
    add, remove = (loop.add_writer, loop.remove_writer) if to_write else (loop.add_reader, loop.remove_reader)
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    add(sock.fileno(), wake)
    try:
        await ready
    finally:
        remove(sock.fileno())


def ask_pam(address: str, question: wire.Message) -> wire.Message:
    """Ask PAM by way of a broker; blocks until it has answered, so call it in a thread.

    The answer is empty if PAM agrees, else it has ``pam``, what it said, and ``errno``. Unavailable; Refused.
    """
    try:
        with connect(address) as sock:
            sock.settimeout(ANSWER_LIMIT_S)
            asked = wire.to_memory_file(question)
            with wire.closing([asked]):
                wire.send(sock, {"id": 1, "do": "pam"}, [asked])
            answer, fds = wire.receive(sock)
            wire.close_all(fds)
    except (OSError, wire.Closed) as error:
        raise Unavailable(f"no broker at {address}: {error}") from error
    if "refused" in answer:
        raise Refused(str(answer["refused"]))
    return answer


# -- finding a broker


def present_limits() -> dict[int, tuple[int, int]]:
    """The resource limits of this process, which its servers shall have too."""
    numbers = {getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}
    return {number: resource.getrlimit(number) for number in numbers}


def present_umask() -> int:
    """The umask of this process; reading it without a moment of another one needs ``/proc``."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    except OSError:
        pass
    return 0o022


@cache
def code_digest() -> str:
    """Names this version of the code: hubs of another version, or of another installation, have a broker of theirs."""
    digest = hashlib.sha256(f"{wire.PROTOCOL} {sys.executable}".encode())
    here = Path(__file__).parent
    for path in sorted(here.glob("*.py")):
        digest.update(bytes(path) + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def runtime_directory() -> Path:
    """A directory for sockets that nobody else can write to; made if it is missing. OSError if that cannot be."""
    uid = os.geteuid()
    if configured := os.environ.get("JUPYTERHUB_RUNTIME_DIR"):
        path = Path(configured)
    elif uid == 0 and os.access("/run", os.W_OK):
        path = Path("/run/jupyterhub")
    elif os.environ.get("XDG_RUNTIME_DIR"):
        path = Path(os.environ["XDG_RUNTIME_DIR"]) / "jupyterhub"
    else:
        path = Path(tempfile.gettempdir()) / f"jupyterhub-{uid}"
    # others may pass through root's, to sockets that are theirs
    path.mkdir(mode=0o711 if uid == 0 else 0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o022:
        raise PermissionError(f"{path} is not ours alone")
    return path


def connect(address: str) -> socket.socket:
    """Connect to the broker at an address; OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def connect_or_start(for_user: pwd.struct_passwd | None = None) -> tuple[socket.socket, str]:
    """Connect to the broker of this installation; start it if there is none. Blocks for a moment. OSError.

    Gives the connection and its address. ``for_user``: a broker whose hub will be that user.
    """
    name = code_digest() if for_user is None else f"{code_digest()}-{for_user.pw_uid}"
    path = runtime_directory() / f"{name}.sock"
    with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
        return connect(str(path)), str(path)
    with _locked(path.with_suffix(".lock")):
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            return connect(str(path)), str(path)  # another hub was faster
        _start_broker(path, for_user)
        return connect(str(path)), str(path)


def _start_broker(path: Path, for_user: pwd.struct_passwd | None) -> None:
    options = ["--linger", str(LINGER_S)]
    if for_user is not None:
        options += ["--allow-user", str(for_user.pw_uid)]
        if (pamela := importlib.util.find_spec("pamela")) is not None and pamela.origin is not None:
            options += ["--packages", os.path.dirname(pamela.origin)]
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        if for_user is not None:
            os.chown(path, for_user.pw_uid, -1)
        listener.listen(64)
        with path.with_suffix(".log").open("ab") as output:
            subprocess.Popen(
                [
                    sys.executable,
                    # nothing but the standard library, and no environment variable that changes it
                    "-IS",
                    "-c",
                    _BROKER.format(package=str(Path(__file__).parents[2])),
                    "--fd",
                    str(listener.fileno()),
                    *options,
                ],
                env={"PATH": os.defpath, **{name: os.environ[name] for name in _LANGUAGE if name in os.environ}},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[listener.fileno()],
                start_new_session=True,
            )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
