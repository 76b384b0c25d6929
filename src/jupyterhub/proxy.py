"""The contract of proxies: the classes that plugins subclass to lead the public address to the hub and the servers.

A Proxy object tells some proxy program about routes, and starts and stops it if it is ours to start. Which routes there
should be is decided elsewhere (``hub/routes.py``): from ready rows in the database, never from what the proxy has.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shlex
import shutil
import signal
import socket
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from pathlib import Path
from subprocess import Popen
from typing import Any as AnyType
from typing import cast
from urllib.parse import quote, unquote, urlsplit

from tornado.httpclient import HTTPClientError, HTTPRequest, HTTPResponse
from tornado.iostream import StreamClosedError
from tornado.netutil import Resolver
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from traitlets import (
    Any,
    Bool,
    CaselessStrEnum,
    Dict,
    Integer,
    TraitError,
    Unicode,
    default,
    observe,
    validate,
)
from traitlets.config import LoggingConfigurable

from .objects import Server
from .spawners.processes import ProcessId, read_stat
from .traitlets import Command
from .utils import make_ssl_context, new_token, url_escape_path, url_path_join

__all__ = ["ConfigurableHTTPProxy", "Proxy", "ProxyFailed"]

#: how long a proxy that we start may take until it listens and answers
START_TIMEOUT_S = 10.0
#: the default of ConfigurableHTTPProxy.command, and what takes its place where it is not installed
STOOD_IN_FOR = "configurable-http-proxy"
STAND_IN = Path(__file__).parent / "proxyserver" / "stand_in" / STOOD_IN_FOR
#: how long requests to a proxy are repeated that does not answer
RETRY_S = 30.0
#: how long a proxy may take to end after SIGTERM
STOP_TIMEOUT_S = 5.0
#: secrets of the hub that a proxy has no use for
_HUB_SECRETS = ("JPY_COOKIE_SECRET", "JUPYTERHUB_CRYPT_KEY")


class ProxyFailed(RuntimeError):
    """The proxy cannot be started or reached. The message names command or address, what happened, the remedy."""


class Proxy(LoggingConfigurable):
    """Knows how to tell a proxy about routes. Subclasses define ``add_route``, ``delete_route`` and ``get_all_routes``.

    A *routespec* says what is routed: ``/path/``, or ``host/path/`` when ``host_routing`` is on (subdomains); it ends
    with a slash and its path is percent-encoded. A *target* is ``scheme://host:port``. Made once per hub process;
    with several hubs several of them talk to one proxy, and may tell it the same thing at once.
    """

    db_factory = Any()
    app = Any()
    hub = Any()
    public_url = Unicode()
    ssl_key = Unicode()
    ssl_cert = Unicode()
    host_routing = Bool()

    should_start = Bool(
        True,
        help="""Whether the hub starts and stops the proxy. If not, it must run already, and both must know the same
        `ConfigurableHTTPProxy.auth_token`.""",
    ).tag(config=True)
    extra_routes = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        help="""Further routes for the proxy: what is routed (`/path/`, or `host/path/` with subdomains) → the URL of
        the target. Requests arrive there with their full path.""",
    ).tag(config=True)

    #: what gives a proxy that was restarted its routes again; set by the hub
    restore_routes_hook: Callable[[], Awaitable[AnyType]] | None = None

    def __init__(self, **kwargs: AnyType) -> None:
        super().__init__(**kwargs)
        self._check_routes_lock = asyncio.Lock()

    @property
    def db(self) -> AnyType:
        """A database session (deprecated)."""
        self.log.warning("%s uses Proxy.db, which is deprecated", type(self).__name__)
        return self.db_factory() if self.db_factory is not None else None

    @validate("extra_routes")
    def _check_extra_routes(self, proposal: AnyType) -> dict[str, str]:
        routes: dict[str, str] = {}
        for routespec, target in proposal.value.items():
            if self.host_routing == routespec.startswith("/"):
                form = "begin with a host name (subdomain_host is set)" if self.host_routing else "begin with '/'"
                raise TraitError(f"Proxy.extra_routes: {routespec!r} must {form}")
            if urlsplit(target).scheme not in ("http", "https") or not urlsplit(target).netloc:
                raise TraitError(
                    f"Proxy.extra_routes: the target of {routespec!r} must be an http(s) URL, not {target!r}"
                )
            if not routespec.endswith("/"):
                self.log.warning(
                    "Proxy.extra_routes: %s should end with a slash; it is taken as %s/", routespec, routespec
                )
                routespec += "/"
            routes[routespec] = target
        return routes

    def validate_routespec(self, routespec: str) -> str:
        """Give the routespec, with a slash at its end; ValueError if it has a host and should not, or the other way."""
        if routespec == "/":
            return routespec
        if not routespec.endswith("/"):
            routespec += "/"
        has_host = not routespec.startswith("/")
        if has_host and not self.host_routing:
            raise ValueError(f"The routespec {routespec!r} names a host, but the hub uses no subdomains")
        if self.host_routing and not has_host:
            raise ValueError(f"The routespec {routespec!r} names no host, but the hub uses subdomains")
        return routespec

    # -- to be defined by subclasses

    def start(self) -> AnyType:
        """Start the proxy (a coroutine), if ``should_start``. Called once, before the hub listens; raise to end it."""

    def stop(self) -> AnyType:
        """Stop the proxy; may be a coroutine. Called once, when the hub ends and ``cleanup_proxy`` is on."""

    async def add_route(self, routespec: str, target: str, data: dict[str, AnyType]) -> None:
        """Lead ``routespec`` to ``target`` and keep ``data`` (JSON) with it, in place of what was there.

        It is in effect when this returns. Called again for the same route whenever the hub is not sure.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define add_route")

    async def delete_route(self, routespec: str) -> None:
        """Delete a route; fine if there is none."""
        raise NotImplementedError(f"{type(self).__name__} does not define delete_route")

    async def get_all_routes(self) -> dict[str, dict[str, AnyType]]:
        """Give the routes that hubs have added: ``{routespec: {"routespec", "target", "data"}}``.

        ``data`` may have ``last_activity``, an ISO 8601 time, from which the hub takes when a server was last used.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define get_all_routes")

    async def get_route(self, routespec: str) -> dict[str, AnyType] | None:
        """Give one route as in ``get_all_routes``, None if there is none."""
        routespec = self.validate_routespec(routespec)
        return (await self.get_all_routes()).get(routespec)

    # -- routes of the hub's objects, for plugins that call them

    async def add_service(self, service: AnyType, client: AnyType = None) -> None:
        """Add the route of a service."""
        if service.server is None:
            raise RuntimeError(f"The service {service.name!r} has no server, so there is nothing to route to")
        self.log.info("Adding service %s to proxy %s => %s", service.name, service.proxy_spec, service.server.host)
        await self.add_route(service.proxy_spec, service.server.host, {"service": service.name})

    async def delete_service(self, service: AnyType, client: AnyType = None) -> None:
        """Delete the route of a service."""
        self.log.info("Removing service %s from proxy", service.name)
        await self.delete_route(service.proxy_spec)

    async def add_user(self, user: AnyType, server_name: str = "", client: AnyType = None) -> None:
        """Add the route of a user's server; RuntimeError while it stops or is renamed."""
        spawner = user.spawners[server_name]
        self.log.info("Adding user %s to proxy %s => %s", spawner._log_name, spawner.proxy_spec, spawner.server.host)
        if spawner.pending and spawner.pending not in ("spawn", "check"):
            raise RuntimeError(f"The server {spawner._log_name} is pending {spawner.pending}: it gets no route")
        await self.add_route(spawner.proxy_spec, spawner.server.host, {"user": user.name, "server_name": server_name})

    async def delete_user(self, user: AnyType, server_name: str = "") -> None:
        """Delete the route of a user's server."""
        routespec = user.proxy_spec
        if server_name:
            routespec = url_path_join(user.proxy_spec, url_escape_path(server_name), "/")
        self.log.info("Removing user %s from proxy (%s)", user.name, routespec)
        await self.delete_route(routespec)

    async def add_all_services(self, service_dict: Mapping[str, AnyType]) -> None:
        """Add the routes of all services that have a server."""
        await asyncio.gather(*(self.add_service(service) for service in service_dict.values() if service.server))

    async def add_all_users(self, user_dict: AnyType) -> None:
        """Add the routes of all servers that are ready."""
        await asyncio.gather(
            *(
                self.add_user(user, name)
                for user in user_dict.values()
                for name, spawner in user.spawners.items()
                if spawner.ready
            )
        )

    async def add_hub_route(self, hub: AnyType) -> None:
        """Add the route of the hub."""
        self.log.info("Adding route for Hub: %s => %s", hub.routespec, hub.host)
        await self.add_route(hub.routespec, hub.host, {"hub": True})

    async def check_routes(
        self,
        user_dict: AnyType,
        service_dict: Mapping[str, AnyType],
        routes: dict[str, dict[str, AnyType]] | None = None,
    ) -> None:
        """Make the proxy's routes what they should be by these objects; one check at a time.

        For plugins and their tests. The hub itself checks against the rows of the database (``hub/routes.py``).
        """
        async with self._check_routes_lock:
            found = await self.get_all_routes() if routes is None else routes
            wanted: dict[str, tuple[str, dict[str, AnyType]]] = {}
            kept = {self.hub.routespec}
            if self.hub.routespec not in found or found[self.hub.routespec]["target"] != self.hub.host:
                wanted[self.hub.routespec] = (self.hub.host, {"hub": True})
            for user in user_dict.values():
                for name, spawner in user.spawners.items():
                    if spawner.ready:
                        wanted[spawner.proxy_spec] = (spawner.server.host, {"user": user.name, "server_name": name})
                    elif spawner.pending:
                        kept.add(spawner.proxy_spec)
            for service in service_dict.values():
                if service.server is not None:
                    wanted[service.proxy_spec] = (service.server.host, {"service": service.name})
            for routespec, target in self.extra_routes.items():
                wanted[routespec] = (target, {"extra": True})
            changes: list[Awaitable[None]] = []
            for routespec, (target, data) in wanted.items():
                if routespec not in found or found[routespec]["target"] != target:
                    changes.append(self.add_route(routespec, target, data))
            for routespec in found.keys() - wanted.keys() - kept:
                self.log.warning("Deleting stale route %s", routespec)
                changes.append(self.delete_route(routespec))
            await asyncio.gather(*changes)

    async def restore_routes(self) -> None:
        """Give a proxy that has lost them all its routes again."""
        if self.restore_routes_hook is not None:
            await self.restore_routes_hook()
        elif self.app is not None and getattr(self.app, "users", None) is not None:
            await self.add_hub_route(self.app.hub)
            await self.add_all_users(self.app.users)
            await self.add_all_services(self.app._service_map)


class ConfigurableHTTPProxy(Proxy):
    """Drives configurable-http-proxy, or any program with its command line and REST API (proxy-contract.md)."""

    proxy_process = Any()
    semaphore = Any()
    _check_running_callback = Any()

    #: set by the hub: the token when none is configured, the same after each restart of the hub, so that a proxy that
    #: has outlived it still knows it
    derived_auth_token: str = ""

    auth_token = Unicode(
        help="""The secret between the hub and the proxy. Default: the environment variable CONFIGPROXY_AUTH_TOKEN,
        or, if the hub starts the proxy, one that it makes."""
    ).tag(config=True)
    check_running_interval = Integer(
        5, help="How often the hub looks whether the proxy still runs, in seconds, where the system does not tell."
    ).tag(config=True)
    api_url = Unicode(help="The address of the proxy's REST API. Keep it on a loopback address if you can.").tag(
        config=True
    )
    log_level = CaselessStrEnum(["debug", "info", "warn", "error"], "info", help="How much the proxy logs.").tag(
        config=True
    )
    debug = Bool(False, help="Let the proxy log all that it does: log_level = debug.").tag(config=True)
    command = Command(
        "configurable-http-proxy",
        help="The command that starts the proxy, as a list of words; options are put behind it.",
    ).tag(config=True)
    command_umask = Integer(0o007, help="The umask of the proxy, for its sockets and files.").tag(config=True)
    pid_file = Unicode(
        "jupyterhub-proxy.pid",
        help="The file that names the process of the proxy, so that a hub that starts again finds it.",
    ).tag(config=True)
    concurrency = Integer(10, help="The most requests that the hub has open at the proxy's REST API at once.").tag(
        config=True
    )

    _client: AnyType = None
    _client_loop: AnyType = None
    _supervisor: asyncio.Task[None] | None = None
    #: the proxy that runs, whether this hub has started it or adopted it
    _running: ProcessId | None = None

    # -- settings

    @default("api_url")
    def _default_api_url(self) -> str:
        return "https://127.0.0.1:8001" if getattr(self.app, "internal_ssl", False) else "http://127.0.0.1:8001"

    @default("auth_token")
    def _default_auth_token(self) -> str:
        token = os.environ.get("CONFIGPROXY_AUTH_TOKEN", "")
        if token:
            return token
        if not self.should_start:
            raise ProxyFailed(
                f"The hub does not start the proxy ({type(self).__name__}.should_start is off), so its secret must be "
                "known: set the environment variable CONFIGPROXY_AUTH_TOKEN to the same value for both."
            )
        return self.derived_auth_token or new_token()

    @default("semaphore")
    def _default_semaphore(self) -> asyncio.BoundedSemaphore:
        return asyncio.BoundedSemaphore(self.concurrency)

    @observe("concurrency")
    def _resize(self, change: AnyType) -> None:
        self.semaphore = asyncio.BoundedSemaphore(change["new"])
        self._client = None

    @observe("debug")
    def _debug_means_log_level(self, change: AnyType) -> None:
        if change["new"]:
            self.log_level = "debug"

    # -- the process

    def get_command(self) -> list[str]:
        """Give the whole command line of the proxy (proxy-contract.md §1); the secret is in its environment."""
        command = [*self.command]
        if command == [STOOD_IN_FOR] and shutil.which(STOOD_IN_FOR) is None:
            # A configuration that names the proxy of old goes on to work where there is no Node.js.
            command = [sys.executable, str(STAND_IN)]
        for prefix, url in (("", self.public_url), ("api-", self.api_url)):
            server = Server.from_url(url)
            if server.is_unix:
                command += [f"--{prefix}socket", server.socket_path]
            else:
                command += [f"--{prefix}ip", server.ip, f"--{prefix}port", str(server.port)]
        command += ["--error-target", url_path_join(self.hub.url, "error")]
        command += ["--log-level", self.log_level]
        if self.host_routing:
            command.append("--host-routing")
        if self.ssl_key:
            command += ["--ssl-key", self.ssl_key]
        if self.ssl_cert:
            command += ["--ssl-cert", self.ssl_cert]
        for side, (key, cert, ca) in self._internal_files().items():
            if side == "api" and Server.from_url(self.api_url).is_unix:
                continue  # who may use the socket is said by its rights
            flag = f"--{side}-ssl-"
            command += [flag + "key", key, flag + "cert", cert, flag + "ca", ca]
            command += [flag + "request-cert", flag + "reject-unauthorized"]
        return command

    def _internal_files(self) -> dict[str, tuple[str, str, str]]:
        """With ``internal_ssl``: key, certificate and bundle for the REST API and, as a client, for all targets."""
        if not getattr(self.app, "internal_ssl", False):
            return {}
        if self.should_start and self.api_url.startswith("http://"):
            raise ProxyFailed(
                f"ConfigurableHTTPProxy.api_url = {self.api_url!r}, but with internal_ssl the proxy's API speaks TLS: "
                f"set it to {self.api_url.replace('http://', 'https://', 1)!r}."
            )
        files = {}
        for side in ("api", "client"):
            pair = self.app.internal_proxy_certs[f"proxy-{side}"]["files"]
            files[side] = pair["key"], pair["cert"], self.app.internal_trust_bundles[f"proxy-{side}-ca"]
        return files

    def get_env(self) -> dict[str, str]:
        """Give the environment of the proxy: the hub's, with the secret between both and without the hub's others."""
        env = {name: value for name, value in os.environ.items() if name not in _HUB_SECRETS}
        env["CONFIGPROXY_AUTH_TOKEN"] = self.auth_token
        return env

    async def start(self) -> None:
        """Start the proxy and wait until it answers; ProxyFailed. A proxy that was left by a former hub is replaced."""
        await self._end_previous()
        await self._launch()
        self._supervise()

    async def _launch(self) -> None:
        command = self.get_command()
        self.log.info("Starting proxy @ %s", self.public_url)
        self.log.debug("Proxy command: %s", shlex.join(command))
        try:
            # Popen returns when the program is executed: a missing one is noticed here
            self.proxy_process = Popen(  # noqa: ASYNC220 (returns after exec, and is called once)
                command, env=self.get_env(), start_new_session=True, umask=self.command_umask
            )
        except OSError as error:
            raise ProxyFailed(
                f"The proxy cannot be started: {command[0]}: {error.strerror or error}. {self._remedy_for_missing()}"
            ) from error
        self._running = ProcessId.of(self.proxy_process.pid)
        self._write_pid_file(self.proxy_process.pid)
        try:
            await self._wait_until_it_answers(command)
        except BaseException:
            await self._end(self._running)
            self._remove_pid_file()
            raise

    def _remedy_for_missing(self) -> str:
        return "Correct ConfigurableHTTPProxy.command, or leave it out to use the proxy that comes with the hub."

    async def _wait_until_it_answers(self, command: list[str]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        public, api = Server.from_url(self.public_url), Server.from_url(self.api_url)
        waits_for = f"{self.api_url} and {self.public_url}"
        while True:
            self._raise_if_ended(command)
            if await _listens(api) and await _listens(public):
                # Somebody listens; is it ours, or did ours just fail because of them?
                status = await self._knock()
                self._raise_if_ended(command)
                if status == 200:
                    return
                if status == 403:
                    raise ProxyFailed(
                        f"Another proxy, with another secret, listens on {self.api_url}. Stop it, or choose another "
                        "ConfigurableHTTPProxy.api_url."
                    )
            if time.monotonic() >= deadline:
                raise ProxyFailed(
                    f"The proxy ({shlex.join(command)}) does not answer at {waits_for} after {START_TIMEOUT_S:g} s. "
                    "Its output is in the log; start it by hand to see what it waits for."
                )
            await asyncio.sleep(0.03)

    def _raise_if_ended(self, command: list[str]) -> None:
        status = self.proxy_process.poll() if self.proxy_process is not None else None
        if status is not None:
            raise ProxyFailed(
                f"The proxy ({shlex.join(command)}) ended at once with exit status {status}. Its output is in the log. "
                f"Most often another program uses the port of {self.public_url} or of {self.api_url}: stop that, or "
                "change JupyterHub.bind_url or ConfigurableHTTPProxy.api_url."
            )

    async def _knock(self) -> int | None:
        """Ask the API once; its status, None if nobody answers."""
        try:
            return (await self._request_once("", "GET", None, timeout_s=2.0)).code
        except HTTPClientError as error:
            return error.code if error.code != 599 else None
        except OSError:
            return None

    async def leave(self) -> None:
        """Leave the proxy running and watch it no more: for a hub that ends with ``cleanup_proxy`` off."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
            self._supervisor = None

    async def stop(self) -> None:
        """End the proxy, and remove its pid file and sockets."""
        await self.leave()
        if self._running is not None:
            self.log.info("Cleaning up proxy[%i]...", self._running.pid)
            await self._end(self._running)
            self._running = None
        self._remove_pid_file()
        for url in (self.public_url, self.api_url):
            server = Server.from_url(url)
            if server.is_unix:
                Path(server.socket_path).unlink(missing_ok=True)  # noqa: ASYNC240 (one local file)

    async def _end(self, process: ProcessId | None) -> None:
        if process is not None:
            process.send(signal.SIGTERM)
            if not await process.wait_gone(within_s=STOP_TIMEOUT_S):
                self.log.warning("The proxy (process %i) does not end after SIGTERM; killing it", process.pid)
                process.send(signal.SIGKILL)
                await process.wait_gone(within_s=STOP_TIMEOUT_S)
        if self.proxy_process is not None:
            self.proxy_process.poll()

    # -- keeping it alive

    def _supervise(self) -> None:
        if self._supervisor is None:
            self._supervisor = asyncio.create_task(self._keep_running(), name="proxy supervisor")

    async def _keep_running(self) -> None:
        while True:
            interval_s = max(0.1, float(self.check_running_interval))
            if self._running is not None:
                await self._running.wait_gone(within_s=interval_s)
            else:
                await asyncio.sleep(interval_s)
            try:
                await self.check_running()
            except Exception:
                self.log.exception("The proxy could not be started again; trying again in %s s", interval_s)
                await asyncio.sleep(interval_s)

    async def is_running(self) -> bool:
        """Say whether nobody else need care: the proxy runs, or this object is starting it again."""
        return self._supervisor is not None or (self._running is not None and self._running.is_alive())

    async def check_running(self) -> None:
        """Look whether the proxy still runs; if not, start it again on the same address and restore its routes."""
        if self._running is not None and self._running.is_alive():
            return
        status = self.proxy_process.poll() if self.proxy_process is not None else "unknown"
        self.log.error("Proxy stopped with exit code %s; starting it again", status)
        self._running = None
        await self._launch()
        await self.restore_routes()

    # -- the pid file

    def _write_pid_file(self, pid: int) -> None:
        path = Path(self.pid_file)
        self.log.debug("Writing proxy pid file: %s", path)
        # the text is what the original writes and reads: a number
        temporary = path.with_name(path.name + ".new")
        temporary.write_text(str(pid))
        temporary.chmod(0o600)
        temporary.replace(path)

    def _remove_pid_file(self) -> None:
        try:
            Path(self.pid_file).unlink(missing_ok=True)
        except OSError as error:
            self.log.warning("The pid file %s of the proxy cannot be removed: %s", self.pid_file, error)

    def _previous(self) -> ProcessId | None:
        """The proxy that the pid file names, if it still runs; the file is removed if it names none."""
        path = Path(self.pid_file)
        try:
            text = path.read_text().strip()
            written_at = path.stat().st_mtime
        except FileNotFoundError:
            return None
        process = ProcessId.of(int(text)) if text.isdigit() and int(text) > 1 else None
        stat = read_stat(process.pid) if process is not None else None
        if process is None:
            self.log.warning("The pid file %s names no running process (%s); removing it", path, text[:20] or "empty")
        elif stat is not None and stat.started_at > written_at + 2:
            # Killing by pid alone ends, after a reboot, whoever got the number.
            self.log.warning("Process %i began after %s was written: it is not the proxy", process.pid, path)
            process = None
        if process is None:
            self._remove_pid_file()
        return process

    async def _end_previous(self) -> None:
        process = self._previous()
        if process is None:
            return
        self.log.warning("Proxy still running at pid=%i; replacing it", process.pid)
        for signum in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            process.send(signum)
            if await process.wait_gone(within_s=1):
                break
        else:
            raise ProxyFailed(
                f"The former proxy (process {process.pid}) cannot be ended. End it, and remove {self.pid_file}."
            )
        self._remove_pid_file()

    # -- the REST API

    def _routespec_to_chp_path(self, routespec: str) -> str:
        """``host/path/`` or ``/path/`` → ``/host/path`` or ``/path``, as the API has it."""
        path = self.validate_routespec(routespec).rstrip("/")
        return path if path.startswith("/") or not path else "/" + path

    def _routespec_from_chp_path(self, chp_path: str) -> str:
        """The other way round; paths in the answers of the API are not percent-encoded."""
        routespec = quote(chp_path, safe="@/~")
        if self.host_routing:
            routespec = routespec.lstrip("/")
        return routespec if routespec.endswith("/") else routespec + "/"

    async def api_request(
        self, path: str, method: str = "GET", body: AnyType = None, client: AnyType = None
    ) -> HTTPResponse:
        """Send a request to ``/api/routes<path>`` and give the answer; HTTPClientError if it is 4xx.

        While nobody answers, or with 5xx, it is repeated, for up to 30 seconds: then ProxyFailed. All requests are
        such that repeating them does no harm.
        """
        deadline = time.monotonic() + RETRY_S
        bound_s = 0.1
        while True:
            try:
                async with self.semaphore:
                    return await self._request_once(path, method, body, timeout_s=20.0)
            except HTTPClientError as error:
                if error.code < 500:
                    raise
                problem: Exception = error
            except OSError as error:
                problem = error
            left = deadline - time.monotonic()
            if left <= 0:
                raise ProxyFailed(
                    f"The proxy does not answer at {self.api_url} ({problem}). Is it running, and is "
                    "ConfigurableHTTPProxy.api_url its address?"
                ) from problem
            self.log.debug("The proxy's API fails (%s); trying again", problem)
            bound_s = min(5.0, bound_s * 2)
            await asyncio.sleep(min(left, random.uniform(bound_s / 2, bound_s)))

    async def _request_once(self, path: str, method: str, body: AnyType, *, timeout_s: float) -> HTTPResponse:
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        headers = {"Authorization": f"token {self.auth_token}"}
        url = url_path_join(self.api_url, "api/routes", path)
        if url.startswith("http+unix://"):
            # tornado does not know this scheme; what stands in place of the host leads our resolver to the socket
            url, headers["Host"] = "http://" + url.removeprefix("http+unix://"), "localhost"
        request = HTTPRequest(
            url,
            method=method,
            headers=headers,
            body=body,
            ssl_options=self._ssl_context if url.startswith("https://") else None,
            connect_timeout=min(5.0, timeout_s),
            request_timeout=timeout_s,
            allow_nonstandard_methods=True,
        )
        try:
            response: HTTPResponse = await self._http_client().fetch(request)
        except StreamClosedError as error:
            raise ConnectionError(f"the connection to {self.api_url} was closed") from error
        return response

    @cached_property
    def _ssl_context(self) -> ssl.SSLContext | None:
        """The hub's certificate, for a proxy that asks for one; None without ``internal_ssl``."""
        if not getattr(self.app, "internal_ssl", False):
            return None
        return make_ssl_context(self.app.internal_ssl_key, self.app.internal_ssl_cert, self.app.internal_ssl_ca)

    def _http_client(self) -> SimpleAsyncHTTPClient:
        # A client of our own: the shared one of the process would queue these requests behind others.
        loop = asyncio.get_running_loop()
        if self._client is None or self._client_loop is not loop:
            self._client_loop = loop
            resolver = _UnixResolver() if self.api_url.startswith("http+unix://") else None
            self._client = SimpleAsyncHTTPClient(
                force_instance=True, max_clients=self.concurrency + 2, resolver=resolver
            )
        return cast(SimpleAsyncHTTPClient, self._client)

    async def add_route(self, routespec: str, target: str, data: dict[str, AnyType] | None = None) -> None:
        body = {**(data or {}), "target": target, "jupyterhub": True}
        await self.api_request(self._routespec_to_chp_path(routespec), method="POST", body=body)

    async def delete_route(self, routespec: str) -> None:
        try:
            await self.api_request(self._routespec_to_chp_path(routespec), method="DELETE")
        except HTTPClientError as error:
            if error.code != 404:
                raise
            self.log.warning("Route %s already deleted", routespec)

    async def get_all_routes(self, client: AnyType = None) -> dict[str, dict[str, AnyType]]:
        response = await self.api_request("")
        routes: dict[str, dict[str, AnyType]] = {}
        for chp_path, found in json.loads(response.body).items():
            if not found.get("jupyterhub"):
                continue
            routespec = self._routespec_from_chp_path(chp_path)
            target = found.get("target", "")
            data = {name: value for name, value in found.items() if name not in ("target", "jupyterhub")}
            routes[routespec] = {"routespec": routespec, "target": target, "data": data}
        return routes


class _UnixResolver(Resolver):
    """Finds the Unix socket that stands in place of the host in ``http+unix://%2Fpath`` URLs."""

    async def resolve(self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[AnyType]:
        return [(socket.AF_UNIX, unquote(host))]


async def _listens(server: Server) -> bool:
    try:
        async with asyncio.timeout(2):
            if server.is_unix:
                _, writer = await asyncio.open_unix_connection(server.socket_path)
            else:
                host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.ip, server.ip)
                _, writer = await asyncio.open_connection(host, server.port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
