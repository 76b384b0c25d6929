"""The broker: a small process that starts servers, becomes their users, and keeps how they ended.

It outlives hubs, has one thread, waits in one place, and imports nothing but the standard library (and ``pamela``, in
processes that it forks to ask PAM). It never does anything that may take long itself: looking up a user and asking PAM
happen in forked workers, warm starts in zygotes. Whoever may connect (``SO_PEERCRED``) is root, the broker's own user,
or a user named on the command line, whom ``Rules`` keep from becoming root or a system user, and from touching any
process of theirs.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import itertools
import json
import logging
import os
import pwd
import re
import selectors
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import cgroups, kernel_calls, newborn, wire
from .identity import Identity

log = logging.getLogger("jupyterhub.broker")

#: how many exit statuses are kept that nobody has asked for
MOST_STATUSES = 10_000
#: answers that a hub may leave lying
MOST_UNSENT = 10_000
#: requests to a zygote that may be on their way at once; more wait here
MOST_ASKED = 8
#: a zygote that has not forked within this time will not do it in time
FORK_LIMIT_S = 5.0
#: a zygote that ended early is started again after so many seconds; the last one counts for all further times
PAUSES_S = (1.0, 2.0, 4.0, 15.0, 60.0)
#: an account that is looked up longer than this is not found
WORKER_LIMIT_S = 30.0
#: zygotes at once; one that nobody has used for a while makes room
MOST_ZYGOTES = 8
UNUSED_S = 300.0
#: below it are the users of the system (Debian policy 9.2.2)
LEAST_UID = 1000

_ZYGOTE = "from jupyterhub.localproc.zygote import main; main()"
_NOBODY = 65534
#: what zygotes find: nothing that a user could write to
_SAFE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CAPABILITIES = (kernel_calls.CAP_SETUID, kernel_calls.CAP_SETGID, kernel_calls.CAP_SETPCAP)


class Refused(Exception):
    """The broker does not do it; ``str()`` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What hubs that are not root may ask for."""

    #: users below this are the system's
    least_uid: int

    def check(self, identity: Identity, peer_uid: int) -> None:
        """Raise Refused if a hub with this uid must not start processes as that user."""
        if peer_uid == 0 or identity.uid == peer_uid == os.geteuid():
            return
        self.check_uid(identity.uid, peer_uid)
        if 0 in identity.groups or identity.gid == 0:
            raise Refused(f"{identity.name!r} is in the group root: no servers run as this user")

    def check_uid(self, uid: int, peer_uid: int) -> None:
        """The same for a process that there is already."""
        if peer_uid == 0 or uid == peer_uid == os.geteuid():
            return
        if uid < self.least_uid or uid == _NOBODY:
            raise Refused(f"uid {uid} is a user of the system: it has no servers")
        if uid == peer_uid:
            raise Refused(f"uid {uid} is the user that the hub runs as: a server could read its secrets")


@dataclass(slots=True, kw_only=True)
class Kept:
    """A process that was started here: running, or how it ended."""

    pid: int
    start_time: int | None
    uid: int
    status: int | None = None


#: what a zygote is made for: interpreter, variables that it has from the beginning, whether it changes users
Kind = tuple[str, tuple[tuple[str, str], ...], bool]


@dataclass(slots=True, kw_only=True, eq=False)
class WarmProcess:
    """A zygote, seen from here."""

    kind: Kind
    process: subprocess.Popen[bytes]
    sock: socket.socket
    #: what it said when it was warm
    facts: dict[str, Any] | None = None
    #: why it never will be
    cold: str = ""
    began: float = field(default_factory=time.monotonic)
    #: when it was last wanted
    wanted: float = field(default_factory=time.monotonic)
    #: files that it was made of → what they were like
    stamps: dict[str, object] = field(default_factory=dict)
    #: what has been asked of it: number → what to do with the answer, and until when
    asked: dict[int, tuple[Callable[[wire.Message], None], float]] = field(default_factory=dict)
    #: what is to be asked next: the request, its descriptors, what to do with the answer
    waiting: deque[tuple[wire.Message, list[int], Callable[[wire.Message], None]]] = field(default_factory=deque)


@dataclass(slots=True, kw_only=True, eq=False)
class Peer:
    """A hub that is connected."""

    sock: socket.socket
    uid: int
    #: answers that it has not taken yet
    unsent: deque[wire.Message] = field(default_factory=deque)


class Broker:
    """The loop and everything it knows."""

    def __init__(
        self,
        listener: socket.socket,
        *,
        allowed_uids: Sequence[int],
        rules: Rules,
        linger_s: float,
        packages: str | None = None,
    ) -> None:
        self.listener, self.rules, self.linger_s = listener, rules, linger_s
        #: where ``pamela`` is
        self._packages = packages
        self.allowed_uids = {0, os.geteuid(), *allowed_uids}
        self._selector = selectors.DefaultSelector()
        self._peers: set[Peer] = set()
        self._zygotes: dict[Kind, WarmProcess] = {}
        self._failures: dict[Kind, tuple[int, float, str]] = {}
        #: what zygotes the hubs that are connected have asked for
        self._wanted: set[Kind] = set()
        self._kept: OrderedDict[int, Kept] = OrderedDict()
        self._numbers = itertools.count(1)
        #: pid of a worker → when it is too late, and what to do with its answer
        self._workers: dict[socket.socket, tuple[int, float, Callable[[wire.Message], None]]] = {}
        self._deserted_since: float | None = time.monotonic()
        self._ending = False

    # -- the loop

    def run(self) -> None:
        """Serve until nobody needs it."""
        kernel_calls.adopt_orphans()
        children_r, children_w = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        for end in (children_r, children_w, self.listener):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._end)
        signal.set_wakeup_fd(children_w.fileno(), warn_on_full_buffer=False)
        self._selector.register(self.listener, selectors.EVENT_READ, self._accept)
        self._selector.register(children_r, selectors.EVENT_READ, lambda: self._drain(children_r))
        while not self._ending and not self._is_needless():
            for key, _ in self._selector.select(self._pause_s()):
                with self._nothing_ends_it():
                    key.data()
            with self._nothing_ends_it():
                self._reap()
                self._give_up_on_late_ones()
                self._warm_up_again()

    @contextlib.contextmanager
    def _nothing_ends_it(self) -> Any:
        """One peer's strange message must not cost all others their broker."""
        try:
            yield
        except Exception:
            log.exception("an error of the broker's own")

    def _end(self, *_: object) -> None:
        self._ending = True

    def _is_needless(self) -> bool:
        if self._peers or self._deserted_since is None:
            return False
        if time.monotonic() < self._deserted_since + self.linger_s:
            return False
        for kind in list(self._zygotes):
            self._let_go(kind)
        return not any(kept.status is None for kept in self._kept.values())

    def _pause_s(self) -> float:
        is_late_soon = self._workers or any(zygote.asked for zygote in self._zygotes.values())
        return 0.5 if is_late_soon or not self._wanted <= self._zygotes.keys() else 5.0

    def _drain(self, sock: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while sock.recv(4096):
                pass

    # -- hubs

    def _accept(self) -> None:
        try:
            sock, _ = self.listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        if uid not in self.allowed_uids:
            log.warning("a process of uid %i is not allowed to connect", uid)
            sock.close()
            return
        peer = Peer(sock=sock, uid=uid)
        self._peers.add(peer)
        self._deserted_since = None
        self._selector.register(sock, selectors.EVENT_READ, lambda: self._attend(peer))

    def _attend(self, peer: Peer) -> None:
        if peer.unsent:
            self._send(peer)
        if peer in self._peers:
            self._hear(peer)

    def _send(self, peer: Peer) -> None:
        """Send what waits to be sent. A hub that is busy takes it later; one that never does is let go."""
        if peer not in self._peers:
            return
        waited = len(peer.unsent) > 1
        try:
            while peer.unsent:
                wire.send(peer.sock, peer.unsent[0])
                peer.unsent.popleft()
        except BlockingIOError:
            if len(peer.unsent) > MOST_UNSENT:
                self._leave(peer)
                return
        except (wire.Closed, OSError):
            self._leave(peer)
            return
        if waited or peer.unsent:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.unsent else 0)
            self._selector.modify(peer.sock, events, lambda: self._attend(peer))

    def _hear(self, peer: Peer) -> None:
        try:
            message, fds = wire.receive(peer.sock)
        except BlockingIOError:
            return
        except (wire.Closed, ValueError, OSError):
            self._leave(peer)
            return
        number = message.get("id")

        def answer(content: wire.Message) -> None:
            peer.unsent.append({"id": number, **content})
            self._send(peer)

        doers: dict[str, Callable[..., None]] = {
            "hello": self._hello,
            "warm_up": self._warm_up,
            "start": self._start,
            "status": self._status,
            "forget": self._forget,
            "signal": self._signal,
            "limit": self._limit,
            "end_group": self._end_group,
            "pam": self._pam,
        }
        doer = doers.get(str(message.get("do")))
        try:
            if doer is None:
                raise Refused(f"unknown request {message.get('do')!r}")
            doer(peer, message, fds, answer)
        except Refused as error:
            wire.close_all(fds)
            answer({"refused": str(error)})
        except (KeyError, TypeError, ValueError, IndexError) as error:
            wire.close_all(fds)
            answer({"refused": f"the request makes no sense: {error!r}"})

    def _leave(self, peer: Peer) -> None:
        if peer not in self._peers:
            return
        self._peers.discard(peer)
        self._selector.unregister(peer.sock)
        peer.sock.close()
        if not self._peers:
            self._wanted.clear()
            self._deserted_since = time.monotonic()

    def _hello(self, peer: Peer, message: wire.Message, fds: list[int], answer: Callable[..., None]) -> None:
        wire.close_all(fds)
        answer({"protocol": wire.PROTOCOL, "pid": os.getpid(), "uid": os.geteuid()})

    # -- zygotes

    def _warm_up(self, peer: Peer, message: wire.Message, fds: list[int], answer: Callable[..., None]) -> None:
        """Have a zygote for an interpreter, and say how it is."""
        wire.close_all(fds)
        kind = _kind(message, peer)
        self._wanted.add(kind)
        zygote = self._zygote(kind)
        if zygote is None:
            answer({"state": "cold", "why": self._failures[kind][2]})
        elif zygote.facts is None:
            answer({"state": "warming"})
        else:
            answer({"state": "warm", "pid": zygote.process.pid, **zygote.facts})

    def _zygote(self, kind: Kind) -> WarmProcess | None:
        """The zygote of that kind, made now if there is none; None if there can be none at the moment."""
        zygote = self._zygotes.get(kind)
        if zygote is not None and zygote.facts is not None and zygote.stamps != _stamps(zygote.facts["made_of"]):
            log.info("zygote %i: what it was made of has changed; starting another", zygote.process.pid)
            self._let_go(kind)
            zygote = None
        if zygote is None:
            count, at, _ = self._failures.get(kind, (0, 0.0, ""))
            if count and time.monotonic() < at + PAUSES_S[min(count, len(PAUSES_S)) - 1]:
                return None
            if not self._has_room():
                self._failures[kind] = (0, 0.0, f"{MOST_ZYGOTES} warm processes of other kinds are in use")
                return None
            zygote = self._make_zygote(kind)
        if zygote is not None:
            zygote.wanted = time.monotonic()
        return zygote

    def _has_room(self) -> bool:
        """Whether there may be one more zygote; ends one that is not used any more, if that helps."""
        if len(self._zygotes) >= MOST_ZYGOTES:
            eldest = min(self._zygotes.values(), key=lambda zygote: zygote.wanted)
            if time.monotonic() > eldest.wanted + UNUSED_S:
                self._wanted.discard(eldest.kind)
                self._let_go(eldest.kind)
        return len(self._zygotes) < MOST_ZYGOTES

    def _warm_up_again(self) -> None:
        """Replace zygotes that have ended, after a pause; who is waiting for a server should not have to."""
        for kind in list(self._wanted):
            if kind not in self._zygotes:
                self._zygote(kind)

    def _make_zygote(self, kind: Kind) -> WarmProcess | None:
        interpreter, early, switches_users = kind
        if switches_users and (writable := _first_writable(_looked_at_first(interpreter))):
            self._note_failure(kind, f"{writable} can be written by others than root", for_ever=True)
            return None
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        env = {"PATH": _SAFE_PATH, **dict(early)}
        options = json.dumps({"switches_users": switches_users, "env": env})
        try:
            with its:
                process = subprocess.Popen(
                    [interpreter, "-c", _ZYGOTE, str(its.fileno()), options],
                    env=env,
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[its.fileno()],
                    start_new_session=True,
                    preexec_fn=_keep_rights_only if switches_users else None,
                )
        except (OSError, subprocess.SubprocessError) as error:
            ours.close()
            self._note_failure(kind, f"{interpreter} cannot be executed: {error}")
            return None
        ours.setblocking(False)
        zygote = WarmProcess(kind=kind, process=process, sock=ours)
        self._zygotes[kind] = zygote
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._hear_zygote(zygote))
        log.info("zygote %i of %s is getting warm", process.pid, interpreter)
        return zygote

    def _hear_zygote(self, zygote: WarmProcess) -> None:
        try:
            message, fds = wire.receive(zygote.sock)
        except BlockingIOError:
            return
        except (wire.Closed, ValueError, OSError):
            self._lose(zygote, zygote.cold or "it ended")
            return
        wire.close_all(fds)
        if "finds" in message or "warm" in message:
            # What it is going to import, and then what it has imported.
            made_of = message["finds"] if "finds" in message else message["warm"]["made_of"]
            if zygote.kind[2] and (writable := _first_writable(made_of)):
                self._give_up(zygote, f"{writable} can be written by others than root")
                return
        if "finds" in message:
            with contextlib.suppress(wire.Closed, OSError):  # that it is gone is heard next
                wire.send(zygote.sock, {"go": True})
        elif "warm" in message:
            zygote.facts, zygote.stamps = message["warm"], _stamps(made_of)
            log.info("zygote %i is warm after %.2f s", zygote.process.pid, time.monotonic() - zygote.began)
        elif "cold" in message:
            zygote.cold = str(message["cold"])
        elif "ended" in message:
            self._note_end(int(message["ended"]), int(message["status"]))
        else:
            todo = zygote.asked.pop(int(message["id"]), None)
            if todo is not None:
                self._failures.pop(zygote.kind, None)
                todo[0](message)
            self._ask_next(zygote)
            self._end_if_let_go(zygote)

    def _lose(self, zygote: WarmProcess, why: str) -> None:
        self._selector.unregister(zygote.sock)
        zygote.sock.close()
        if self._zygotes.get(zygote.kind) is zygote:
            del self._zygotes[zygote.kind]
            log.warning("zygote %i: %s", zygote.process.pid, why)
            self._note_failure(zygote.kind, why)
        left = [*(todo for todo, _ in zygote.asked.values()), *(todo for _, _, todo in zygote.waiting)]
        zygote.asked.clear()
        zygote.waiting.clear()
        for todo in left:
            todo({"refused": "the warm process ended"})

    def _let_go(self, kind: Kind) -> None:
        """End a zygote once it has answered what it was asked; its servers go on, as children of ours."""
        self._end_if_let_go(self._zygotes.pop(kind))

    def _end_if_let_go(self, zygote: WarmProcess) -> None:
        if self._zygotes.get(zygote.kind) is not zygote and not zygote.asked and not zygote.waiting:
            with contextlib.suppress(OSError):
                zygote.sock.shutdown(socket.SHUT_WR)

    def _give_up(self, zygote: WarmProcess, why: str) -> None:
        log.warning("zygote %i is not used: %s", zygote.process.pid, why)
        self._let_go(zygote.kind)
        self._note_failure(zygote.kind, why, for_ever=True)

    def _note_failure(self, kind: Kind, why: str, *, for_ever: bool = False) -> None:
        count = self._failures.get(kind, (0, 0.0, ""))[0] + 1
        self._failures[kind] = (len(PAUSES_S) if for_ever else count, time.monotonic(), why)

    # -- starting

    def _start(self, peer: Peer, message: wire.Message, fds: list[int], answer: Callable[..., None]) -> None:
        """Make a process; the answer has its pid. It waits at its gate for the hub, on a line of their own."""
        if not newborn.LISTENER <= len(fds) <= newborn.LISTENER + 1:
            raise Refused(f"{len(fds)} descriptors came with the request")
        warm = message["how"] == "warm"
        kind = _kind(message, peer) if warm else None

        def go_on(identity: Identity | None) -> None:
            if kind is not None:
                self._fork_warm(kind, identity, fds, done)
            else:
                self._fork_cold(identity, fds, done)

        def done(result: wire.Message) -> None:
            wire.close_all(fds)
            if "pid" in result:
                kept = self._keep(int(result["pid"]), uid=owner[0])
                answer({"pid": kept.pid, "start_time": kept.start_time})
            else:
                answer(result)

        owner = [os.geteuid()]
        user = message.get("user")
        if user is None:
            if peer.uid != os.geteuid():
                raise Refused("only as the user that the broker runs as can be started without a name")
            go_on(None)
            return

        def found(result: wire.Message) -> None:
            try:
                if "identity" not in result:
                    raise Refused(str(result.get("refused")))
                identity = Identity.from_message(result["identity"])
                self.rules.check(identity, peer.uid)
                owner[0] = identity.uid
                go_on(identity)
            except Refused as error:
                done({"refused": str(error)})

        self._work(lambda: {"identity": Identity.look_up(str(user)).to_message()}, found)

    def _fork_warm(
        self, kind: Kind, identity: Identity | None, fds: list[int], done: Callable[[wire.Message], None]
    ) -> None:
        zygote = self._zygote(kind)
        if zygote is None:
            raise Refused(self._failures[kind][2])
        if zygote.facts is None:
            raise Refused("the warm process is not warm yet")
        request = {"id": next(self._numbers), "identity": identity.to_message() if identity else None}
        zygote.waiting.append((request, fds, done))
        self._ask_next(zygote)

    def _ask_next(self, zygote: WarmProcess) -> None:
        while zygote.waiting and len(zygote.asked) < MOST_ASKED:
            request, fds, done = zygote.waiting.popleft()
            try:
                wire.send(zygote.sock, request, fds)
            except (wire.Closed, OSError) as error:
                done({"refused": f"the warm process does not answer ({error})"})
            else:
                zygote.asked[request["id"]] = (done, time.monotonic() + FORK_LIMIT_S)

    def _fork_cold(self, identity: Identity | None, fds: list[int], done: Callable[[wire.Message], None]) -> None:
        pid = os.fork()
        if pid == 0:
            self._become_cold(identity, fds)
        done({"pid": pid})

    def _become_cold(self, identity: Identity | None, fds: list[int]) -> None:
        """In the new process: execute what was asked for. Never returns."""
        try:
            _forget_signals()
            gate = newborn.settle(fds, identity)
            if gate.listener is not None:
                os.close(gate.listener)
            gate.wait()
            try:
                os.execvpe(gate.start.argv[0], gate.start.argv, gate.start.env)
            except OSError as error:
                wire.send(gate.line, {"failed": str(error), "errno": error.errno})
        finally:
            os._exit(newborn.EXIT_FAILED)

    # -- how they end

    def _keep(self, pid: int, *, uid: int) -> Kept:
        kept = Kept(pid=pid, start_time=_start_time(pid), uid=uid)
        self._kept[pid] = kept
        self._kept.move_to_end(pid)
        if len(self._kept) > MOST_STATUSES:
            for old in [one.pid for one in self._kept.values() if one.status is not None][: MOST_STATUSES // 10]:
                del self._kept[old]
        return kept

    def _note_end(self, pid: int, status: int) -> None:
        kept = self._kept.get(pid)
        if kept is not None and kept.status is None:
            kept.status = status
            self._end_kernels_of(pid)

    def _end_kernels_of(self, server: int) -> None:
        """End the kernels that a server has left behind: old ones wait for process 1 to become their parent."""
        sign = b"JPY_PARENT_PID=%i" % server
        with contextlib.suppress(OSError), open(f"/proc/self/task/{os.getpid()}/children") as children:
            for pid in map(int, children.read().split()):
                with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as environment:
                    if pid not in self._kept and sign in environment.read().split(b"\0"):
                        os.kill(pid, signal.SIGTERM)

    def _reap(self) -> None:
        """Take the statuses of our children: cold starts, workers, zygotes, and servers whose zygote is gone."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._note_end(pid, os.waitstatus_to_exitcode(status))
            for zygote in self._zygotes.values():
                if zygote.process.pid == pid:
                    zygote.process.returncode = os.waitstatus_to_exitcode(status)

    def _status(self, peer: Peer, message: wire.Message, fds: list[int], answer: Callable[..., None]) -> None:
        wire.close_all(fds)
        self._reap()
        kept = self._find(message)
        answer({"known": False} if kept is None else {"known": True, "status": kept.status})

    def _forget(self, peer: Peer, message: wire.Message, fds: list[int], answer: Callable[..., None]) -> None:
        wire.close_all(fds)
        kept = self._find(message)
        if kept is not None and kept.status is not None:
            del self._kept[kept.pid]
        answer({})

    def _find(self, message: wire.Message) -> Kept | None:
        kept = self._kept.get(int(message["pid"]))
        return kept if kept is not None and kept.start_time == message.get("start_time") else None

    # -- for hubs that may not do it themselves

    def _process_of(self, peer: Peer, message: wire.Message) -> tuple[int, int]:
        """The process that a request is about, if it may be: pid and start time. LookupError if it has ended."""
        pid, start_time = int(message["pid"]), int(message["start_time"])
        try:
            uid = os.stat(f"/proc/{pid}").st_uid
        except FileNotFoundError:
            raise LookupError(pid) from None
        if _start_time(pid) != start_time:
            raise LookupError(pid)
        self.rules.check_uid(uid, peer.uid)
        return pid, start_time

    def _signal(self, peer: Peer, message: wire.Message, fds: list[int], answer: Callable[..., None]) -> None:
        """Send a signal to a process, or to all of its group; for all of a group it must lead one."""
        wire.close_all(fds)
        number, to_group = int(message["signal"]), bool(message["to_group"])
        try:
            end = os.pidfd_open(int(message["pid"]))
            with wire.closing([end]):
                # compared while it is held: its number cannot become another process's meanwhile
                pid, _ = self._process_of(peer, message)
                if to_group and os.getpgid(pid) == pid:
                    os.killpg(pid, number)
                else:
                    signal.pidfd_send_signal(end, number)
        except (LookupError, ProcessLookupError):
            answer({"sent": False})
        else:
            answer({"sent": True})

    def _limit(self, peer: Peer, message: wire.Message, fds: list[int], answer: Callable[..., None]) -> None:
        wire.close_all(fds)
        try:
            pid, start_time = self._process_of(peer, message)
            cgroups.Group.make(pid, start_time, cgroups.Limits(**message["limits"]))
        except LookupError:
            raise Refused("the process has ended") from None
        except cgroups.Unavailable as error:
            raise Refused(str(error)) from error
        answer({})

    def _end_group(self, peer: Peer, message: wire.Message, fds: list[int], answer: Callable[..., None]) -> None:
        wire.close_all(fds)
        # only what was made here: another process's group has another name
        group = cgroups.Group.of(int(message["pid"]), int(message["start_time"]))
        is_short = group.was_short_of_memory()
        answer({"short_of_memory": is_short, "gone": group.end()})

    def _pam(self, peer: Peer, message: wire.Message, fds: list[int], answer: Callable[..., None]) -> None:
        """Ask PAM, in a worker: it alone reads the password, which comes in a memory file."""
        if self._packages is None:
            raise Refused("this broker was not told where pamela is (--packages)")
        if writable := _writable_by_others(os.path.join(self._packages, "pamela.py")) if os.geteuid() == 0 else "":
            raise Refused(f"{writable} can be written by others than root")
        if not 1 <= len(fds) <= 1:
            raise Refused("the question to PAM comes in one memory file")

        def done(result: wire.Message) -> None:
            wire.close_all(fds)
            answer(result)

        packages = self._packages
        self._work(lambda: _ask_pam(packages, wire.from_memory_file(fds[0])), done)

    # -- workers

    def _work(self, work: Callable[[], wire.Message], then: Callable[[wire.Message], None]) -> None:
        """Do something that may take long, or leave something behind, in a process of its own."""
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            try:
                _forget_signals()
                try:
                    result = work()
                except KeyError as error:
                    result = {"refused": str(error.args[0]) if error.args else "no such user"}
                except Exception as error:
                    result = {"refused": f"{type(error).__name__}: {error}"}
                wire.send(its, result)
            finally:
                os._exit(0)
        its.close()
        ours.setblocking(False)

        def heard() -> None:
            try:
                result, fds = wire.receive(ours)
            except BlockingIOError:
                return
            except (wire.Closed, ValueError):
                result, fds = {"refused": "the worker ended without an answer"}, []
            wire.close_all(fds)
            self._end_work(ours, result)

        self._workers[ours] = (pid, time.monotonic() + WORKER_LIMIT_S, then)
        self._selector.register(ours, selectors.EVENT_READ, heard)

    def _end_work(self, sock: socket.socket, result: wire.Message) -> None:
        _, _, then = self._workers.pop(sock)
        self._selector.unregister(sock)
        sock.close()
        then(result)

    def _give_up_on_late_ones(self) -> None:
        now = time.monotonic()
        for sock, (pid, limit, _) in list(self._workers.items()):
            if now > limit:
                os.kill(pid, signal.SIGKILL)
                self._end_work(sock, {"refused": f"no answer within {WORKER_LIMIT_S:g} s"})
        for zygote in list(self._zygotes.values()):
            for number, (todo, limit) in list(zygote.asked.items()):
                if now > limit:
                    # if it forks after all, the new process finds nobody at its gate and ends
                    del zygote.asked[number]
                    self._ask_next(zygote)
                    todo({"refused": f"the warm process has not forked within {FORK_LIMIT_S:g} s"})


#: what may be asked of PAM
_PAM_FUNCTIONS = ("authenticate", "check_account", "open_session", "close_session")
_PAM_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def _ask_pam(packages: str, question: wire.Message) -> wire.Message:
    """In a worker: ask, and say what PAM has said."""
    sys.path.append(packages)
    import pamela

    function, service = str(question["function"]), str(question["service"])
    if function not in _PAM_FUNCTIONS or not _PAM_SERVICE.fullmatch(service):
        raise Refused(f"{function!r} is not asked of the PAM service {service!r}")
    arguments = question["arguments"]
    try:
        getattr(pamela, function)(
            *(tuple(one) if isinstance(one, list) else one for one in arguments),
            **question["options"],
            service=service,
            encoding=str(question["encoding"]),
        )
    except pamela.PAMError as error:
        return {"pam": error.message if isinstance(error.message, str) else str(error), "errno": error.errno}
    return {}


def _kind(message: wire.Message, peer: Peer) -> Kind:
    """The zygote that a hub asks for. One that does not change users is executed as the broker's own user."""
    if not message["switches_users"] and peer.uid != os.geteuid():
        raise Refused("only a hub of the broker's own user gets servers of that user")
    early = tuple(sorted((str(name), str(value)) for name, value in message["early"].items()))
    return str(message["interpreter"]), early, bool(message["switches_users"])


def _forget_signals() -> None:
    """For a new process: what the broker does on signals is not what others expect."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)


def _keep_rights_only() -> None:
    """For a zygote that changes users, before it is executed: nobody, who may change users and nothing else."""
    kernel_calls.keep_capabilities()
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    kernel_calls.set_capabilities(permitted=_CAPABILITIES, effective=_CAPABILITIES, inheritable=_CAPABILITIES)
    kernel_calls.raise_ambient(_CAPABILITIES)


def _looked_at_first(interpreter: str) -> Iterator[str]:
    """What an interpreter reads before any of our code runs in it: its own installation, and the environment's."""
    for program in (os.path.abspath(interpreter), os.path.realpath(interpreter)):
        prefix = os.path.dirname(os.path.dirname(program))
        yield program
        yield from glob.glob(os.path.join(glob.escape(prefix), "lib*", "python3*"))
        yield from glob.glob(os.path.join(glob.escape(prefix), "lib*", "python3*", "*-packages"))
        yield from glob.glob(os.path.join(glob.escape(prefix), "pyvenv.cfg"))


def _first_writable(paths: Iterable[str]) -> str:
    """The first of these that somebody else than root can write to; empty if there is none."""
    return next(filter(None, map(_writable_by_others, paths)), "")


def _writable_by_others(path: str) -> str:
    """The first of a file, where it leads, and the directories above that somebody else than root can write; or ""."""
    for one in (os.path.abspath(path), os.path.realpath(path)):
        is_missing = False
        while True:
            try:
                found = os.lstat(one)
            except FileNotFoundError:
                is_missing = True  # whoever may write to the directory above could make it
            except OSError:
                return one
            else:
                is_open = found.st_mode & 0o022 and not stat.S_ISLNK(found.st_mode)
                # in a sticky directory others can make files, but not replace root's
                if found.st_uid != 0 or (is_open and (is_missing or not found.st_mode & stat.S_ISVTX)):
                    return one
                is_missing = False
            if one == "/":
                break
            one = os.path.dirname(one)
    return ""


def _stamps(paths: Sequence[str]) -> dict[str, object]:
    """What files and directories are like now; another stamp means that something was installed or configured."""
    stamps: dict[str, object] = {}
    for path in paths:
        try:
            found = os.stat(path)
        except OSError:
            stamps[path] = None
        else:
            stamps[path] = (found.st_mtime_ns, found.st_ino)
    return stamps


def _start_time(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None


def main(argv: Sequence[str] | None = None) -> None:
    """Serve on a socket: given by number, by systemd, or made at a path."""
    parser = argparse.ArgumentParser(
        prog="jupyterhub-broker", description=__doc__.partition("\n")[0] if __doc__ else ""
    )
    parser.add_argument("--fd", type=int, help="the number of a listening socket; systemd's is found by itself")
    parser.add_argument("--socket", help="the path to listen at")
    parser.add_argument(
        "--allow-user", action="append", default=[], help="a user, or uid, whose hub may connect (besides root's)"
    )
    parser.add_argument("--least-uid", type=int, default=LEAST_UID, help="users below it get no servers")
    parser.add_argument("--linger", type=float, default=float("inf"), help="seconds to stay without hubs and servers")
    parser.add_argument("--packages", default=_packages(), help="the directory that pamela is in")
    options = parser.parse_args(argv)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
    try:
        users = [pwd.getpwuid(int(one)) if one.isdigit() else pwd.getpwnam(one) for one in options.allow_user]
        listener = _listener(options.fd, options.socket, users)
    except (OSError, KeyError) as error:
        sys.exit(f"jupyterhub-broker: {error}")
    address = listener.getsockname()
    broker = Broker(
        listener,
        allowed_uids=[user.pw_uid for user in users],
        rules=Rules(least_uid=options.least_uid),
        linger_s=options.linger,
        packages=options.packages,
    )
    inode = os.stat(address).st_ino
    try:
        broker.run()
    finally:
        with contextlib.suppress(OSError):
            if os.stat(address).st_ino == inode:
                os.unlink(address)


def _packages() -> str | None:
    """Where ``pamela`` is, if it is beside whatever this program was started from."""
    for folder in sys.path:
        if os.path.isfile(os.path.join(folder, "pamela.py")):
            return folder
    return None


def _listener(fd: int | None, path: str | None, users: Sequence[pwd.struct_passwd]) -> socket.socket:
    """The socket to serve on. OSError if there is none, or somebody serves on it already."""
    if fd is None and os.environ.get("LISTEN_PID") == str(os.getpid()):
        fd = 3  # sd_listen_fds(3)
    if fd is not None:
        listener = socket.socket(fileno=fd)
        if (listener.family, listener.type) != (socket.AF_UNIX, socket.SOCK_SEQPACKET):
            raise OSError("the listening socket must be a Unix socket of type SOCK_SEQPACKET (ListenSequentialPacket)")
        return listener
    if path is None:
        raise OSError("say where to listen: --socket PATH")
    if len(users) > 1:
        raise OSError("a socket at a path belongs to one user: give --allow-user once, or use a socket of systemd")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        try:
            probe.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            pass
        else:
            raise OSError(f"another broker serves at {path}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    for user in users:
        os.chown(path, user.pw_uid, -1)
    listener.listen(64)
    return listener


if __name__ == "__main__":
    main()
