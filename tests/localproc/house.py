"""A hub with real local servers, and what can be seen of them from outside and from inside."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.support.hubs import PASSWORD, Hub
from tests.support.waiting import wait_until

#: A user's own configuration, which the server executes: it writes down what the process sees of itself.
LOOK_INSIDE = """
import gc, json, locale, os, random, resource, secrets, signal, site, sys, tempfile, threading, time, uuid
from pathlib import Path

def plain(value):
    return value if isinstance(value, (str, int, float, type(None))) else repr(value)

seen = {
    "environ": dict(os.environ),
    "argv": sys.argv,
    "orig_argv": sys.orig_argv,
    "path": sys.path,
    "flags": repr(sys.flags),
    "main": sorted(name for name in vars(sys.modules["__main__"]) if name not in ("sys", "main", "re")),
    "main_file": getattr(sys.modules["__main__"], "__file__", None),
    "umask": (lambda mask: (os.umask(mask), mask)[1])(os.umask(0)),
    "limits": {
        name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")
    },
    "signals": {
        number: repr(signal.getsignal(number)).partition(" at 0x")[0]
        for number in range(1, signal.NSIG)
        if number not in (9, 19, 32, 33)
    },
    "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "ids": [os.getresuid(), os.getresgid(), sorted(os.getgroups())],
    "session": os.getsid(0) == os.getpid(),
    "cwd": os.getcwd(),
    "temporary": tempfile.gettempdir(),
    "site": [site.USER_BASE, site.USER_SITE, site.ENABLE_USER_SITE],
    "locale": [locale.getlocale(), locale.getpreferredencoding(), sys.getfilesystemencoding()],
    "streams": [
        (stream.name, stream.mode, stream.encoding, stream.errors, stream.line_buffering)
        for stream in (sys.stdin, sys.stdout, sys.stderr)
    ],
    "zone": [time.tzname, time.timezone],
    "threads": sorted(thread.name for thread in threading.enumerate()),
    "priority": os.getpriority(os.PRIO_PROCESS, 0),
    "collector": gc.isenabled(),
    "home": str(Path.home()),
}
values = [
    random.random(), secrets.token_hex(8), str(uuid.uuid4()), next(tempfile._get_candidate_names()), os.urandom(8).hex()
]
Path.home().joinpath("seen.json").write_text(json.dumps({"seen": seen, "random": values}, default=plain))
"""


def command_line(process: psutil.Process) -> str:
    """Of a process that may end, or have ended, meanwhile."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


class House:
    """One hub, and its broker's processes."""

    def __init__(self, hub: Hub, brokers: Callable[[], list[psutil.Process]]) -> None:
        self.hub, self._brokers = hub, brokers

    def home(self, user: str) -> Path:
        return self.hub.folder / f"home-{user}"

    def look_inside(self, user: str) -> None:
        """Have the user's next server write down what it sees."""
        configuration = self.home(user) / ".jupyter"
        configuration.mkdir(parents=True, exist_ok=True)
        (configuration / "jupyter_server_config.py").write_text(LOOK_INSIDE)

    def seen_inside(self, user: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.home(user) / "seen.json").read_text())
        return found

    def start(self, user: str, within_s: float = 60) -> dict[str, Any]:
        """Start a user's server and give its state, with ``pid``."""
        self.hub.api("POST", f"users/{user}")
        answer = self.hub.api("POST", f"users/{user}/server")
        assert answer.status_code in (201, 202), answer.text
        return self.wait_for(user, within_s)

    def wait_for(self, user: str, within_s: float = 60) -> dict[str, Any]:
        """Wait until a server is ready; give its state."""
        wait_until(
            lambda: (self.hub.server(user) or {}).get("ready"),
            within_s=within_s,
            what=f"the server of {user}\n{self.hub.log[-3000:]}",
        )
        state = (self.hub.server(user) or {})["state"]
        assert isinstance(state, dict)
        return state

    def start_warm(self, user: str) -> dict[str, Any]:
        """Start a server from a warm process, which is there before."""
        self.make_warm()
        state = self.start(user)
        assert state["started_by"] == "fork", state
        return state

    def stop(self, user: str) -> None:
        assert self.hub.api("DELETE", f"users/{user}/server").status_code in (202, 204)
        wait_until(lambda: self.hub.server(user) is None, what=f"the end of {user}'s server")

    def get(self, user: str, path: str) -> httpx.Response:
        """Ask a server itself, as its user."""
        token = self.hub.api("POST", f"users/{user}/tokens", json={"note": "look"}).json()["token"]
        return httpx.get(f"{self.hub.url}user/{user}/{path}", headers={"Authorization": f"token {token}"}, timeout=30)

    def log_in(self, user: str, password: str, then: str = "hub/home") -> str:
        """Log in by the form, as a browser does, and give the page that is seen then."""
        with httpx.Client(base_url=self.hub.url, follow_redirects=True, timeout=30) as browser:
            browser.get("hub/login")
            form = {"username": user, "password": password, "_xsrf": browser.cookies.get("_xsrf", path="/hub/")}
            page = browser.post("hub/login?next=%2Fhub%2Fhome", data=form)
            return page.text if then == "hub/home" else browser.get(then).text

    def page(self, user: str, path: str) -> str:
        """A page as that person sees it in a browser."""
        return self.log_in(user, PASSWORD, path)

    # -- the processes that make servers

    def broker(self) -> psutil.Process:
        [broker] = self._brokers()
        return broker

    def zygotes(self) -> list[psutil.Process]:
        """Warm processes, also those that are still getting warm."""
        try:
            return [process for process in self.broker().children() if "localproc.zygote" in command_line(process)]
        except (psutil.NoSuchProcess, ValueError):
            return []

    def make_warm(self) -> None:
        """Have a warm process, also where the broker has been killed: the next start makes another one."""
        if not self._brokers():
            self.start("whoever")
            self.stop("whoever")
        self.wait_until_warm()

    def wait_until_warm(self) -> psutil.Process:
        """The one warm process, once servers can be forked from it."""

        def warm() -> psutil.Process | None:
            zygotes = self.zygotes()
            if not zygotes:
                return None
            said = Path(os.readlink(f"/proc/{self.broker().pid}/fd/2")).read_text()
            return zygotes[0] if f"zygote {zygotes[0].pid} is warm" in said else None

        found = wait_until(warm, within_s=60, what="a warm process")
        assert found is not None
        return found


def seen_outside(pid: int) -> dict[str, Any]:
    """What the system tells about a process, without what is another in each."""
    folder = Path("/proc") / str(pid)
    status = {}
    for line in (folder / "status").read_text().splitlines():
        name, _, value = line.partition(":")
        # not: memory, the numbers of the process itself, processors, how often it waited
        if not re.match(r"Vm|Rss|Hugetlb|NS|Pid|PPid|Tgid|Ngid|State|Cpus|Mems|.*ctxt|Threads|FDSize", name):
            status[name] = value.strip()
    return {
        "status": status,
        "arguments": (folder / "cmdline").read_bytes(),
        "environment": sorted((folder / "environ").read_bytes().split(b"\0")),
        "limits": (folder / "limits").read_text(),
        "cgroup": (folder / "cgroup").read_text(),
        "oom": [(folder / name).read_text() for name in ("oom_score_adj",)],
        "program": os.readlink(folder / "exe"),
        "directory": os.readlink(folder / "cwd"),
        "root": os.readlink(folder / "root"),
        "dumped": (folder / "coredump_filter").read_text(),
        "owner": folder.stat().st_uid,
        "standard": [os.readlink(folder / "fd" / str(number)) for number in range(3)],
        # every descriptor that is not one of the event loop's own
        "descriptors": sorted(
            re.sub(r"\[?\d+\]?$", "", os.readlink(folder / "fd" / name)) for name in os.listdir(folder / "fd")
        ),
    }


def in_memory(pid: int, *needles: bytes) -> list[bytes]:
    """Those of some byte strings that are anywhere in a process's memory. PermissionError where that is forbidden."""
    found: set[bytes] = set()
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            span, rights, *_ = line.split()
            if not rights.startswith("r") or line.rstrip().endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                continue
            start, end = (int(border, 16) for border in span.split("-"))
            rest = b""
            while start < end:
                try:
                    memory.seek(start)
                    part = memory.read(min(1 << 20, end - start))
                except OSError:
                    break
                if not part:
                    break
                start += len(part)
                found.update(needle for needle in needles if needle in rest + part)
                rest = part[-200:]
    return sorted(found)
