"""Importing what a single-user server needs, and finding out what the imports have looked at.

A server that is forked from a warm process has values in it that were computed before anyone knew whose server it would
be. Two kinds are found here, by looking, not by knowing the packages:

* *Environment variables that were read while importing.* ``Readings`` notes their names. A server whose own value of
  one of them is another must not be forked.
* *Values made of HOME or USER.* Both are set to names that occur nowhere else while importing; afterwards every object
  is searched for them. ``Traces.mend`` puts the server's own values in their place. A trace in an object that cannot be
  mended means that this interpreter forks no servers.
"""

from __future__ import annotations

import gc
import importlib
import os
import secrets
import site
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from operator import setitem
from typing import Any

#: what every server imports by itself, in this order
BASE = (
    "jupyterhub.singleuser",
    "jupyterhub.client.singleuser.extension",
)
#: imported in the course of a start, from inside functions. Those that are not installed are left out.
#: ``tests/localproc`` tells which ones are missing here.
LATER = (
    "IPython.display",
    "anyio._backends._asyncio",
    "httpcore",
    "httpx",
    "jinja2.ext",
    "jupyter_core.migrate",
    "jupyter_lsp.virtual_documents_shadow",
    "pygments.style",
    "tornado.platform.asyncio",
)

#: state of their own that a fork would copy: random numbers, threads, contexts of libraries
NEVER = ("numpy", "pandas", "torch", "scipy", "ipykernel.kernelapp")

#: modules that copy the whole environment when they are imported, and what for
COPIERS = {
    "wsgiref.handlers": "the environment of CGI programs, which no server runs",
}


class Readings:
    """Notes which environment variables are asked for."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._plain: Callable[..., Any] = os._Environ.__getitem__

    def begin(self) -> None:
        plain, names = self._plain, self.names

        def noted(environ: Any, name: Any) -> Any:
            if _asker() not in COPIERS:
                names.add(os.fsdecode(name))
            return plain(environ, name)

        os._Environ.__getitem__ = noted  # type: ignore[method-assign]

    def end(self) -> None:
        os._Environ.__getitem__ = self._plain  # type: ignore[method-assign]


def _asker() -> str:
    """The module that asks for a variable, behind the functions of the standard library that ask for it."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__") in ("os", "collections.abc", "posixpath"):
        frame = frame.f_back
    return str(frame.f_globals.get("__name__"))


def import_all(on_failure: Callable[[str, Exception], None]) -> None:
    """Import the single-user server and every extension that is installed and enabled for all users."""
    lean = importlib.import_module("jupyterhub.client.singleuser.lean_start")
    lean.stay_lean()
    for name in BASE:
        importlib.import_module(name)
    for name in (*_extensions(), *_handlers(), *LATER):
        try:
            _import_extension(name)
        except ModuleNotFoundError:
            continue
        except Exception as error:
            # it fails in the server too, which says so in its log and goes on
            on_failure(name, error)
    prepare_tls()


def _extensions() -> list[str]:
    """The names of extensions that are enabled in the environment or the system, as jupyter_server finds them."""
    paths = importlib.import_module("jupyter_core.paths")
    manager = importlib.import_module("jupyter_server.extension.config").ExtensionConfigManager(
        read_config_path=[*paths.ENV_CONFIG_PATH, *paths.SYSTEM_CONFIG_PATH]
    )
    return [name for name, enabled in manager.get_jpserver_extensions().items() if enabled]


def prepare_tls() -> None:
    """Read the certificate authorities now: JupyterLab makes an HTTP client when it starts, which wants them.

    The context that is ready is given to the first client only, so no two ever share one, as always.
    """
    try:
        transports: Any = importlib.import_module("httpx._transports.default")
        plain = transports.create_ssl_context
        ready = [plain()]
    except (ImportError, AttributeError, TypeError):
        return  # not installed, or not the httpx that we know

    def create_ssl_context(verify: Any = True, cert: Any = None, trust_env: bool = True) -> Any:
        if ready and verify is True and cert is None:
            return ready.pop()
        return plain(verify=verify, cert=cert, trust_env=trust_env)

    transports.create_ssl_context = create_ssl_context


def _handlers() -> list[str]:
    """The modules in which jupyter_server finds its request handlers when it starts."""
    services = getattr(importlib.import_module("jupyter_server.serverapp"), "JUPYTER_SERVICE_HANDLERS", {})
    return [name for names in services.values() for name in names or ()]


def _import_extension(name: str) -> None:
    module = importlib.import_module(name)
    points = getattr(module, "_jupyter_server_extension_points", None)
    for point in points() if points else ():
        importlib.import_module(point["module"])


def made_of() -> list[str]:
    """Files and directories that change when packages or extensions are installed, removed, enabled or disabled."""
    paths = importlib.import_module("jupyter_core.paths")
    enabled = [
        os.path.join(path, "jupyter_server_config.d") for path in (*paths.ENV_CONFIG_PATH, *paths.SYSTEM_CONFIG_PATH)
    ]
    listed = [os.path.join(path, name) for path in enabled if os.path.isdir(path) for name in sorted(os.listdir(path))]
    ours = [os.path.dirname(sys.modules[name].__file__ or "") for name in BASE]
    candidates = [*sys.path, os.path.join(sys.prefix, "pyvenv.cfg"), *enabled, *listed, *ours]
    return list(dict.fromkeys(path for path in candidates if os.path.isabs(path)))


class Traces:
    """Where values that were computed from HOME or USER ended up."""

    def __init__(self) -> None:
        token = secrets.token_hex(8)
        self.home, self.user = f"/nonexistent/home-of-{token}", f"user-of-{token}"
        self._token = token
        #: the mendable ones: set the value of one place
        self._places: list[tuple[Callable[[Any], None], Any]] = []
        self.unknown: list[str] = []

    def search(self) -> None:
        """Look through every object. Meant for once, before anything is forked."""
        mine = (self.__dict__, os.environ._data)  # type: ignore[attr-defined]
        for owner in _all_objects():
            if any(owner is one for one in mine):
                continue
            if any(self._is_trace(value) for value in gc.get_referents(owner)):
                self._note(owner)

    def _is_trace(self, value: Any) -> bool:
        if type(value) is str:
            return self._token in value
        return type(value) is bytes and self._token.encode() in value

    def _note(self, owner: Any) -> None:
        found = False
        for setter, key, value in _places(owner):
            if self._is_trace(key):
                break
            if self._is_trace(value):
                found = True
                self._places.append((setter, value))
        if not found and not _is_transient(owner):
            self.unknown.append(f"{type(owner).__module__}.{type(owner).__qualname__}: {str(owner)[:200]}")

    def mend(self, env: Mapping[str, str]) -> None:
        """Put the values of the server's own environment in place. For the forked process, before anything runs."""
        home, user = env.get("HOME", ""), env.get("USER", "")
        for setter, value in self._places:
            if isinstance(value, bytes):
                setter(
                    value.replace(os.fsencode(self.home), os.fsencode(home)).replace(self.user.encode(), user.encode())
                )
            else:
                setter(value.replace(self.home, home).replace(self.user, user))


def _all_objects() -> Iterator[Any]:
    """Every object that refers to others."""
    for owner in gc.get_objects():
        yield owner
        # The collector leaves out dictionaries and tuples that hold plain values only.
        hidden = [one for one in gc.get_referents(owner) if type(one) in (dict, tuple) and not gc.is_tracked(one)]
        while hidden:
            yield (one := hidden.pop())
            hidden += [part for part in gc.get_referents(one) if type(part) in (dict, tuple)]


Place = tuple[Callable[[Any], None], Any, Any]


def _places(owner: Any) -> Iterator[Place]:
    """The places of an object that can be set, with key and present value."""
    if isinstance(owner, dict):
        for key, value in list(owner.items()):
            yield partial(setitem, owner, key), key, value
    elif isinstance(owner, list):
        for index, value in enumerate(owner):
            yield partial(setitem, owner, index), index, value
    elif not isinstance(owner, (tuple, frozenset, set)):
        try:
            attributes = vars(owner)
        except TypeError:
            return
        for name, value in list(attributes.items()):
            yield partial(setattr, owner, name), name, value


def _is_transient(owner: Any) -> bool:
    """Frames and the like, which are gone when a server is forked."""
    return type(owner).__name__ in ("frame", "cell", "generator", "coroutine")


def packages_missed(env: Mapping[str, str]) -> str:
    """The directory of packages in a user's home (PEP 370) that a server would find, had it been executed; or ""."""
    if not site.ENABLE_USER_SITE:
        return ""
    base = os.path.join(env.get("HOME", ""), ".local")
    packages = sysconfig.get_path("purelib", f"{os.name}_user", {"userbase": base})
    return packages if os.path.isdir(packages) and packages not in sys.path else ""


def find_user_site() -> None:
    """Have ``site`` name the directories of this user; the interpreter looked for them before it was anybody's."""
    site.USER_BASE = site.USER_SITE = None
    site.getusersitepackages()


def other_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]


def thread_count() -> int:
    """Threads of this process, also those that Python does not know of."""
    return len(os.listdir("/proc/self/task"))


def loaded_though_never() -> list[str]:
    return [name for name in NEVER if name in sys.modules]


def open_descriptors(upto: int) -> set[int]:
    """Descriptors that are open; asked one by one, because a process that may not be looked into cannot list them."""

    def is_open(fd: int) -> bool:
        try:
            os.fstat(fd)
        except OSError:
            return False
        return True

    return {fd for fd in range(upto) if is_open(fd)}
