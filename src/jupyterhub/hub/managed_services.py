"""Managed services: processes that the hub starts, watches and ends (reference: services.md §3).

Their rows are made by ``hub/services.py`` before. Of several hubs the one that leads (``hub/replicas/leader.py``) has
them; ``cli/build.py`` calls ``start_all``, ``run`` and ``stop_all``. What a hub that was killed has left is ended
before its successor starts the service: two of one kind would do everything twice.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pwd
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.hub import addresses
from jupyterhub.hub.services import Probes, Services, ServiceSpec, service_host
from jupyterhub.hub.settings import HubSettings
from jupyterhub.hub.store.store import Store
from jupyterhub.spawners.processes import ProcessId, heed_interrupts
from jupyterhub.words.errors import ConfigurationError
from jupyterhub.words.models import Endpoint, Service

log = logging.getLogger("jupyterhub.services")

#: how often we look whether one has ended
POLL_INTERVAL_S = 1.0
#: one that ends soon after its start is started again later and later, but within the 30 s of the original
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
#: after so long the next end counts as the first one again
STEADY_AFTER_S = 60.0
#: how long a service has to end after each signal
STOP_STEPS: Sequence[tuple[signal.Signals, float]] = (
    (signal.SIGINT, 10.0),
    (signal.SIGTERM, 5.0),
    (signal.SIGKILL, 5.0),
)
#: what services inherit of the hub's environment
ENV_KEEP = (
    "PATH",
    "PYTHONPATH",
    "CONDA_ROOT",
    "CONDA_DEFAULT_ENV",
    "VIRTUAL_ENV",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "JUPYTERHUB_SINGLEUSER_APP",
)


class _Running:
    """One managed service and its process."""

    def __init__(self, spec: ServiceSpec, service: Service) -> None:
        self.spec, self.service = spec, service
        self.process: asyncio.subprocess.Process | None = None
        #: when it was started, on the monotonic clock
        self.started = 0.0
        #: how long to wait before it is started again, and until when that is
        self.pause_s = 0.0
        self.paused_until: float | None = None

    def pause(self, now: float) -> None:
        """Note that it has ended: it is started again at once if it had run for a while, else later each time."""
        if now - self.started >= STEADY_AFTER_S:
            self.pause_s = 0.0
        self.paused_until = now + self.pause_s
        self.pause_s = min(max(2 * self.pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)

    @property
    def has_ended(self) -> bool:
        return self.process is None or self.process.returncode is not None

    async def is_running(self) -> bool:
        return not self.has_ended


class ManagedServices:
    def __init__(
        self,
        *,
        store: Store,
        settings: HubSettings,
        services: Services,
        prober: Probes,
        is_ours: Callable[[], Awaitable[bool]],
    ) -> None:
        """``is_ours`` says whether this hub leads still: asked before anything is started again."""
        self._store, self._settings, self._is_ours = store, settings, is_ours
        self._services, self._prober = services, prober
        self._running: dict[str, _Running] = {}

    # -- start and end

    async def start_all(self, specs: Sequence[ServiceSpec]) -> None:
        """Start the managed services, one after the other, and wait for those with a URL, and for external ones.

        ConfigurationError if a managed one does not come up: the hub shall not run without it.
        """
        for spec in specs:
            async with self._store.read() as tx:
                service = await tx.services.find(spec.name)
            if service is None:
                continue
            if spec.is_managed:
                running = self._running[spec.name] = _Running(spec, service)
                await self._launch(running)
                if service.endpoint is not None:
                    await self._wait_up(running, service.endpoint)
            elif service.endpoint is not None:
                await self._services.wait_for(service, within_s=spec.timeout_s)

    async def _wait_up(self, running: _Running, endpoint: Endpoint) -> None:
        spec = running.spec
        try:
            await self._prober.wait_up(endpoint, within_s=spec.timeout_s, still_running=running.is_running)
        except (OSError, TimeoutError) as error:
            raise ConfigurationError(
                f"Managed service {spec.name!r} did not come up at {spec.url} within {spec.timeout_s} s ({error}). "
                "See its own output above; its 'command' is in c.JupyterHub.services."
            ) from error

    async def stop_all(self) -> None:
        """End all managed services: politely at first, then not."""
        running = [each for each in self._running.values() if not each.has_ended]
        self._running.clear()
        await asyncio.gather(*(self._end(each) for each in running))

    async def _launch(self, running: _Running) -> None:
        spec = running.spec
        await self._end_left_over(running)
        running.started = time.monotonic()
        log.info("Starting service %r: %s", spec.name, list(spec.command))
        options: dict[str, Any] = {"cwd": spec.cwd, "start_new_session": True}
        account = None
        if spec.user:
            try:
                account = pwd.getpwnam(spec.user)
            except KeyError as error:
                raise ConfigurationError(f"Service {spec.name!r}: there is no system user {spec.user!r}.") from error
        env = self.environment(spec, self._certificate_for(spec, account))
        if account is not None:
            env.update(USER=spec.user, HOME=account.pw_dir, SHELL=account.pw_shell)
            env.update({key: str(value) for key, value in spec.environment.items()})
            if account.pw_uid != os.getuid():
                groups = os.getgrouplist(spec.user, account.pw_gid)
                options |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}
        try:
            running.process = await asyncio.create_subprocess_exec(
                *spec.command, env=env, preexec_fn=heed_interrupts, **options
            )
        except OSError as error:
            raise ConfigurationError(f"Service {spec.name!r} cannot be started: {error}") from error
        async with self._store.begin() as tx:
            await tx.services.set_pid(running.service.id, running.process.pid)

    async def _end_left_over(self, running: _Running) -> None:
        """End the process of this service that a hub which was killed, or leads no longer, has left on this machine."""
        async with self._store.read() as tx:
            service = await tx.services.find_by_id(running.service.id)
        left = ProcessId.of(service.pid) if service is not None and service.pid else None
        if left is None or not self._is_this_service(left.pid, running.spec.name):
            return
        log.warning("service %s runs still, as process %i of a former hub; ending it", running.spec.name, left.pid)
        for number, patience_s in STOP_STEPS:
            left.send_to_group(number)
            if await left.wait_gone(within_s=patience_s):
                return
        log.error("process %i of service %s cannot be ended", left.pid, running.spec.name)

    def _is_this_service(self, pid: int, name: str) -> bool:
        """Whether a process is this service of this hub: its number alone may be anybody's by now."""
        try:
            environment = (Path("/proc") / str(pid) / "environ").read_bytes().split(b"\0")
        except OSError:
            return False
        wanted = {"JUPYTERHUB_SERVICE_NAME": name, "JUPYTERHUB_API_URL": self._settings.hub_api_url}
        return all(f"{key}={value}".encode() in environment for key, value in wanted.items())

    async def _end(self, running: _Running) -> None:
        process = running.process
        assert process is not None
        for number, patience_s in STOP_STEPS:
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                break
            try:
                async with asyncio.timeout(patience_s):
                    await process.wait()
                break
            except TimeoutError:
                log.warning("service %s does not end on %s", running.spec.name, number.name)
        async with self._store.begin() as tx:
            await tx.services.forget_pid(running.service.id, process.pid)

    # -- while it runs

    async def run(self) -> None:
        """Start again what has ended, and warn of what does not answer; returns when cancelled."""
        interval_s = self._settings.service_check_interval
        next_check = time.monotonic() + interval_s
        while True:
            await asyncio.sleep(POLL_INTERVAL_S)
            for running in list(self._running.values()):
                if running.has_ended:
                    await self._restart_when_due(running)
            if interval_s and time.monotonic() >= next_check:
                next_check = time.monotonic() + interval_s
                await self._check_answers()

    async def _restart_when_due(self, running: _Running) -> None:
        now = time.monotonic()
        if running.paused_until is None:
            running.pause(now)
            assert running.paused_until is not None
            status = running.process.returncode if running.process else None
            wait_s = running.paused_until - now
            log.error(
                "service %s ended with status %s; it is started again %s",
                running.spec.name,
                status,
                f"in {wait_s:.0f} s" if wait_s > 0 else "now",
            )
        if now < running.paused_until or not await self._is_ours():
            return
        running.paused_until = None
        try:
            await self._launch(running)
        except ConfigurationError as error:
            log.error("%s It is tried again.", error)

    async def _check_answers(self) -> None:
        """Warn of services with a URL that do not answer."""
        async with self._store.read() as tx:
            services = await tx.services.list()
        with_url = [service for service in services if service.endpoint is not None]
        await asyncio.gather(*(self._services.wait_for(service, within_s=5.0) for service in with_url))

    # -- what a service is told

    def environment(self, spec: ServiceSpec, certificate: Mapping[str, str] | None = None) -> dict[str, str]:
        """Give the environment of a managed service; nothing of the hub's own but what ``ENV_KEEP`` names."""
        settings = self._settings
        prefix = addresses.service_prefix(settings, spec.name)
        env = {key: os.environ[key] for key in ENV_KEEP if key in os.environ}
        env["JUPYTERHUB_API_TOKEN"] = env["JPY_API_TOKEN"] = spec.api_token or ""
        env["JUPYTERHUB_CLIENT_ID"] = spec.oauth_client_id
        if settings.cookie_options:
            env["JUPYTERHUB_COOKIE_OPTIONS"] = json.dumps(settings.cookie_options)
        env["JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED"] = str(int(settings.cookie_host_prefix_enabled))
        env["JUPYTERHUB_HOST"] = settings.public_host if settings.subdomain_host else ""
        access = ["access:services", f"access:services!service={spec.name}"]
        env["JUPYTERHUB_OAUTH_SCOPES"] = env["JUPYTERHUB_OAUTH_ACCESS_SCOPES"] = json.dumps(access)
        allowed = sorted(spec.oauth_client_allowed_scopes)
        env["JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES"] = json.dumps(allowed)
        env["JUPYTERHUB_USER"] = spec.user
        env["JUPYTERHUB_SERVER_NAME"] = ""
        env["JUPYTERHUB_API_URL"] = settings.hub_api_url
        env["JUPYTERHUB_BASE_URL"] = settings.base_url
        env["JUPYTERHUB_SERVICE_NAME"] = spec.name
        env["JUPYTERHUB_PUBLIC_HUB_URL"] = settings.public_hub_url
        env["JUPYTERHUB_PUBLIC_URL"] = ""
        if spec.url:
            env["JUPYTERHUB_SERVICE_URL"] = spec.url
            env["JUPYTERHUB_SERVICE_PREFIX"] = prefix
            env["JUPYTERHUB_OAUTH_CALLBACK_URL"] = f"{service_host(settings, spec.name)}{prefix}oauth_callback"
            host = service_host(settings, spec.name) or addresses.public_origin(settings)
            env["JUPYTERHUB_PUBLIC_URL"] = host + prefix if host else ""
        elif spec.oauth_redirect_uri:
            env["JUPYTERHUB_OAUTH_CALLBACK_URL"] = spec.oauth_redirect_uri
        env |= certificate or {}
        return env | {key: str(value) for key, value in spec.environment.items()}

    def _certificate_for(self, spec: ServiceSpec, account: pwd.struct_passwd | None) -> dict[str, str]:
        """With ``internal_ssl`` make the service its certificate; give the variables that say where it is."""
        settings = self._settings
        if not settings.internal_ssl:
            return {}
        from jupyterhub import certificates  # cryptography takes long to import, and only internal_ssl needs it

        host = urlsplit(spec.url).hostname
        alt_names = [*certificates.LOCAL_NAMES, *([certificates.host_name(host)] if host else [])]
        name = certificates.name_of("service", spec.name)
        keyfile, certfile = certificates.issue(settings.internal_certs_location, name, alt_names=alt_names)
        if account is not None and os.geteuid() == 0:
            os.chown(keyfile, account.pw_uid, account.pw_gid)
        return {
            "JUPYTERHUB_SSL_KEYFILE": keyfile,
            "JUPYTERHUB_SSL_CERTFILE": certfile,
            "JUPYTERHUB_SSL_CLIENT_CA": settings.internal_trust_bundles[certificates.SERVERS_AUTHORITY],
        }
