"""Services: what one may be, and adding and removing them while the hub runs (reference: services.md, rest-api.md §8).

``parse_service`` reads what the configuration or a request says of a service; ``Services`` keeps it as a row, with its
OAuth client, token and address. The processes of managed services are in ``hub/managed_services.py``.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from urllib.parse import urlsplit

from jupyterhub.hub import addresses
from jupyterhub.hub.requester import Requester
from jupyterhub.hub.settings import HubSettings
from jupyterhub.hub.store.at_start import AtStart
from jupyterhub.hub.store.store import Store, Transaction
from jupyterhub.rbac.expand import Owner, expand
from jupyterhub.rbac.roles import ADMIN_ROLE, TOKEN_ROLE
from jupyterhub.rbac.scope_set import EVERYTHING, ListFilter, ScopeSet
from jupyterhub.rbac.scopes import ScopeRegistry, check_scopes_exist
from jupyterhub.words import secret_hash
from jupyterhub.words.clock import utcnow
from jupyterhub.words.errors import AlreadyExists, ConfigurationError, Conflict, Denied, Invalid, NotFound
from jupyterhub.words.models import Endpoint, Json, OAuthClient, Service, Token
from jupyterhub.words.names import is_valid_user_name

log = logging.getLogger("jupyterhub.services")

#: what an OAuth client of a service must begin with, so that it is never taken for a server's
CLIENT_PREFIX = "service-"
#: how long the request that adds a service waits for its URL to answer
REACHABLE_WITHIN_S = 30.0
#: note of tokens that managed services are given when they have none
GENERATED_NOTE = "generated at startup"
#: note of tokens that the configuration brings
CONFIG_NOTE = "from config"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDetails:
    """A service with the names of its roles."""

    service: Service
    roles: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """A service as somebody described it."""

    name: str
    url: str = ""
    admin: bool = False
    api_token: str | None = None
    command: Sequence[str] = ()
    cwd: str | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)
    #: the system user that a managed service runs as, "" for the hub's own
    user: str = ""
    info: Mapping[str, Json] = field(default_factory=dict)
    #: None: nobody said; it is displayed then
    display: bool | None = None
    timeout_s: int = 30
    oauth_client_id: str = ""
    oauth_redirect_uri: str | None = None
    oauth_client_allowed_scopes: Sequence[str] = ()
    #: deprecated: roles whose scopes its visitors' tokens may have; ignored if there are scopes
    oauth_roles: Sequence[str] = ()
    oauth_no_confirm: bool = False
    #: whether its visitors can log in by OAuth
    has_oauth: bool = False
    #: the token is ours, not the configuration's
    has_generated_token: bool = False
    #: the row of the token, once it is loaded
    token_id: int | None = None

    @property
    def is_managed(self) -> bool:
        return bool(self.command)


_KEYS: Mapping[str, tuple[type, ...]] = {
    "name": (str,),
    "url": (str,),
    "admin": (bool, int),
    "api_token": (str, type(None)),
    "command": (str, list, tuple),
    "cwd": (str, type(None)),
    "environment": (dict,),
    "user": (str,),
    "info": (dict,),
    "display": (bool, int),
    "timeout": (int, float),
    "oauth_client_id": (str, type(None)),
    "oauth_redirect_uri": (str, type(None)),
    "oauth_client_allowed_scopes": (list, tuple, set, frozenset),
    "oauth_roles": (list, tuple, set, frozenset),
    "oauth_no_confirm": (bool, int),
}


def parse_service(described: Mapping[str, Any], settings: HubSettings) -> ServiceSpec:
    """Read a service as the configuration has it; ``Invalid`` names the service, the key and what is wrong with it."""
    name = described.get("name")
    if not isinstance(name, str) or not name:
        raise Invalid(f"A service needs a 'name'; this one has none: {sorted(map(str, described))}.")
    where = f"Service {name!r}"
    if not is_valid_user_name(name):
        raise Invalid(f"{where}: this name cannot be part of a URL.")
    for key, value in described.items():
        kinds = _KEYS.get(key)
        if kinds is None:
            raise Invalid(f"{where}: there is no key {key!r}. Known: {', '.join(sorted(_KEYS))}.")
        if not isinstance(value, kinds):
            raise Invalid(f"{where}: {key!r} cannot be {type(value).__name__}.")
    command = described.get("command") or ()
    url = described.get("url", "")
    if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
        raise Invalid(f"{where}: 'url' must be an http or https URL with a host.")
    client_id = described.get("oauth_client_id") or CLIENT_PREFIX + name
    if not client_id.startswith(CLIENT_PREFIX):
        raise Invalid(f"{where}: 'oauth_client_id' must begin with {CLIENT_PREFIX!r}, unlike {client_id!r}.")
    no_confirm = bool(described.get("oauth_no_confirm", False))
    redirect = described.get("oauth_redirect_uri")
    has_oauth = bool(url or described.get("oauth_client_id") or redirect or no_confirm)
    if has_oauth and not redirect:
        if not url:
            raise Invalid(f"{where}: OAuth without a 'url' needs an 'oauth_redirect_uri'.")
        redirect = f"{service_host(settings, name)}{addresses.service_prefix(settings, name)}oauth_callback"
    token = described.get("api_token") or None
    if token is not None and not secret_hash.MIN_LENGTH <= len(token) <= secret_hash.MAX_LENGTH:
        raise Invalid(
            f"{where}: 'api_token' must have {secret_hash.MIN_LENGTH} to {secret_hash.MAX_LENGTH} characters."
        )
    return ServiceSpec(
        name=name,
        url=url,
        admin=bool(described.get("admin", False)),
        api_token=token,
        command=(command,) if isinstance(command, str) else tuple(map(str, command)),
        cwd=described.get("cwd") or None,
        environment=dict(described.get("environment") or {}),
        user=described.get("user", ""),
        info=dict(described.get("info") or {}),
        display=None if described.get("display") is None else bool(described["display"]),
        timeout_s=int(described.get("timeout", 30)),
        oauth_client_id=client_id,
        oauth_redirect_uri=redirect if has_oauth else None,
        oauth_client_allowed_scopes=tuple(described.get("oauth_client_allowed_scopes") or ()),
        oauth_roles=tuple(described.get("oauth_roles") or ()),
        oauth_no_confirm=no_confirm,
        has_oauth=has_oauth,
    )


def service_host(settings: HubSettings, name: str) -> str:
    """``scheme://host`` of a service with subdomains, else ""."""
    domain = addresses.service_domain(settings, name)
    return addresses.origin_of(settings, domain) if domain else ""


def endpoint_of(url: str, prefix: str) -> Endpoint:
    """Give the address that a service's URL means."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Endpoint(proto=parts.scheme, ip=parts.hostname or "", port=port, base_url=prefix)


class RoutesOfServices(Protocol):
    """What services need of ``hub/routes``."""

    async def add_service(self, name: str, endpoint: Endpoint) -> None: ...
    async def delete_service(self, name: str) -> None: ...


class Probes(Protocol):
    """What services need of ``hub/servers/probe``."""

    async def wait_up(
        self, endpoint: Endpoint, *, within_s: float, still_running: Callable[[], Awaitable[bool]]
    ) -> object: ...


class Services:
    def __init__(
        self,
        *,
        store: Store,
        settings: HubSettings,
        registry: ScopeRegistry,
        routes: RoutesOfServices,
        prober: Probes,
    ) -> None:
        self._store, self._settings, self._registry = store, settings, registry
        self._routes, self._prober = routes, prober

    # -- reading

    async def details(self, name: str) -> ServiceDetails:
        async with self._store.read() as tx:
            service = await _found(tx, name)
            return ServiceDetails(service=service, roles=await tx.roles.names_of("service", service.id))

    async def visible(self, listed: ListFilter) -> list[ServiceDetails]:
        """Give the services that ``listed`` lets through."""
        if listed.kinds - {"service"}:
            raise Denied("Services can be listed with filters by service only.")
        async with self._store.read() as tx:
            services = await tx.services.list(listed)
            roles = await tx.roles.names_of_many("service", [service.id for service in services])
        return [ServiceDetails(service=service, roles=roles.get(service.id, ())) for service in services]

    # -- from the configuration

    async def load_configured(self, described: Sequence[Mapping[str, Any]]) -> list[ServiceSpec]:
        """Bring the rows in line with the services of the configuration, at the start of the hub.

        Services that are no longer there are deleted; managed ones without a token get one. What is so already is not
        written again. Gives what ``ManagedServices.start_all`` needs. ConfigurationError if one cannot be right.
        """
        specs: dict[str, ServiceSpec] = {}
        try:
            for each in described:
                spec = parse_service(each, self._settings)
                if spec.name in specs:
                    log.error("service %r is configured twice; the second one is ignored", spec.name)
                    continue
                specs[spec.name] = spec
            return await self._load(specs)
        except (Invalid, AlreadyExists) as error:
            raise ConfigurationError(f"c.JupyterHub.services: {error}") from error

    async def _load(self, specs: Mapping[str, ServiceSpec]) -> list[ServiceSpec]:
        loaded: list[ServiceSpec] = []
        async with self._store.begin() as tx:
            await AtStart(tx.connection).one_hub_at_a_time()
            rows = {service.name: service for service in await tx.services.list(EVERYTHING)}
            for name, row in rows.items():
                if row.from_config and name not in specs:
                    log.info("service %s is no longer in the configuration; deleting it", name)
                    await delete_service(tx, row)
            for spec in specs.values():
                found = rows.get(spec.name)
                if found is not None and not found.from_config:
                    log.error("service %s was added while the hub ran; the configured one is ignored", spec.name)
                    continue
                check_scopes_exist(spec.oauth_client_allowed_scopes, self._registry)
                if spec.admin:
                    log.warning(
                        "service %s: 'admin' is deprecated; give it roles in c.JupyterHub.load_roles", spec.name
                    )
                if spec.oauth_no_confirm:
                    log.warning("service %s: its visitors are not asked to confirm what it may do", spec.name)
                if spec.is_managed and spec.api_token is None:
                    spec = replace(spec, api_token=self._own_token_of(spec.name), has_generated_token=True)
                service = await self.save(tx, spec, from_config=True)
                loaded.append(replace(spec, token_id=await self._load_token(tx, service, spec)))
        return loaded

    def _own_token_of(self, name: str) -> str:
        """Give the token of a managed service that was given none.

        It follows from the cookie secret: all hubs on one database, and the next start, come to the same one, so that
        none takes away what another one's process was started with.
        """
        key = self._settings.cookie_secret
        return hmac.new(key, b"token of the managed service " + name.encode(), hashlib.sha256).hexdigest()

    async def _load_token(self, tx: Transaction, service: Service, spec: ServiceSpec) -> int | None:
        """Give a configured service its token, and say which row that is. Ones that the hub made otherwise end here."""
        token_id = None
        if spec.api_token is not None:
            known = await tx.tokens.find_by_secret(spec.api_token, utcnow())
            if known is None:
                chosen = not (spec.has_generated_token or self._settings.trust_user_provided_tokens)
                known = await add_token(
                    tx,
                    service,
                    spec.api_token,
                    note=GENERATED_NOTE if spec.has_generated_token else CONFIG_NOTE,
                    rounds=secret_hash.CHOSEN_ROUNDS if chosen else secret_hash.GENERATED_ROUNDS,
                )
            elif known.owner_kind != "service" or known.owner_id != service.id:
                raise Invalid(f"The 'api_token' of service {spec.name!r} belongs to somebody else.")
            token_id = known.id
        for old in await tx.tokens.list_of("service", service.id):
            if old.note == GENERATED_NOTE and old.id != token_id:
                await tx.tokens.delete(old.id)
        return token_id

    # -- while the hub runs

    async def add(self, described: Mapping[str, Any], *, requester: Requester) -> ServiceDetails:
        """Add an external service, and wait a while for its URL to answer.

        Invalid if the requester does not hold what the service or its visitors' tokens should.
        """
        name = str(described["name"])
        async with self._store.read() as tx:
            if await tx.services.find(name):
                raise AlreadyExists(f"Service {name} already exists")
        spec = parse_service(described, self._settings)
        if spec.is_managed:
            raise Invalid("A service that the hub runs itself can only be added in the configuration.")
        self._check_granted(spec, requester)
        async with self._store.begin() as tx:
            if await tx.services.find(name):
                raise AlreadyExists(f"Service {name} already exists")
            if spec.api_token is not None:
                await _check_new_token(tx, spec)
            service = await self.save(tx, spec, from_config=False)
            if spec.api_token is not None:
                await add_token(tx, service, spec.api_token, note="Added with the service")
        if service.endpoint is not None:
            await self.wait_for(service, within_s=REACHABLE_WITHIN_S)
            await self._routes.add_service(name, service.endpoint)
        return await self.details(name)

    async def wait_for(self, service: Service, *, within_s: float) -> bool:
        """Wait for an external service to answer; one that does not is worth a warning, no more."""
        assert service.endpoint is not None
        try:
            await self._prober.wait_up(service.endpoint, within_s=within_s, still_running=_unknown)
        except (OSError, TimeoutError):
            log.warning("service %s at %s does not answer", service.name, service.url)
            return False
        return True

    def _check_granted(self, spec: ServiceSpec, requester: Requester) -> None:
        if spec.admin and not requester.admin:
            raise Invalid("Only admins can add a service that is an admin.")
        check_scopes_exist(spec.oauth_client_allowed_scopes, self._registry)
        owner = Owner(requester.kind, requester.name)
        wanted = ScopeSet.of(expand(spec.oauth_client_allowed_scopes, self._registry, owner=owner, keep_inherit=True))
        excess = wanted.excess_over(requester.scopes, lambda user: frozenset())
        if excess:
            raise Invalid(f"You do not hold these scopes yourself: {', '.join(sorted(excess))}")

    async def remove(self, name: str) -> None:
        """Remove a service that was added while the hub ran; Conflict if it comes from the configuration."""
        async with self._store.begin() as tx:
            service = await _found(tx, name)
            if service.from_config:
                raise Conflict(f"Service {name} is in the configuration file: remove it there.")
            await delete_service(tx, service)
        if service.endpoint is not None:
            await self._routes.delete_service(name)

    # -- rows

    async def save(self, tx: Transaction, spec: ServiceSpec, *, from_config: bool) -> Service:
        """Write a service's row, its OAuth client and its address, as far as they are not so already.

        Its token is the caller's matter. ``admin`` gives the role only to a service that is new: afterwards the roles
        are what counts.
        """
        found = await tx.services.find(spec.name)
        client_id = None
        if spec.has_oauth:
            client_id = spec.oauth_client_id
            await self._save_client(tx, spec)
        columns = {
            "admin": spec.admin,
            "url": spec.url or None,
            "oauth_client_allowed_scopes": list(spec.oauth_client_allowed_scopes),
            "info": dict(spec.info),
            "display": spec.display,
            "oauth_no_confirm": spec.oauth_no_confirm,
            "command": list(spec.command),
            "cwd": spec.cwd,
            "environment": dict(spec.environment),
            "user": spec.user,
            "timeout": spec.timeout_s,
            "from_config": from_config,
            "oauth_client_id": client_id,
        }
        service = found
        if found is None or _columns_of(found) != columns:
            service = await tx.services.save(spec.name, **columns)
        assert service is not None
        endpoint = None
        if spec.url:
            endpoint = endpoint_of(spec.url, addresses.service_prefix(self._settings, spec.name))
        if service.endpoint != endpoint:
            await tx.services.set_endpoint(service.id, endpoint)
        if spec.admin and found is None:
            await tx.roles.grant("service", service.id, ADMIN_ROLE)
        return await _found(tx, spec.name)

    async def _save_client(self, tx: Transaction, spec: ServiceSpec) -> None:
        allowed = list(spec.oauth_client_allowed_scopes)
        if not allowed:
            for role_name in spec.oauth_roles:
                role = await tx.roles.find(role_name)
                if role is None:
                    raise Invalid(f"Service {spec.name!r}: there is no role {role_name!r}.")
                allowed += role.scopes
        allowed.append(f"access:services!service={spec.name}")
        found = await tx.oauth.find_client(spec.oauth_client_id)
        secret = found.secret if found is not None else ""
        if not spec.api_token:
            secret = ""
        elif not (secret and secret_hash.secret_matches(secret, spec.api_token)):
            secret = secret_hash.hash_secret(spec.api_token)
        assert spec.oauth_redirect_uri is not None
        wanted = OAuthClient(
            identifier=spec.oauth_client_id,
            description=f"Service {spec.name}",
            secret=secret,
            redirect_uri=spec.oauth_redirect_uri,
            allowed_scopes=list(dict.fromkeys(allowed)),
        )
        if found is None or replace(found, allowed_scopes=list(found.allowed_scopes)) != wanted:
            await tx.oauth.save_client(wanted)


def _columns_of(service: Service) -> dict[str, Any]:
    """Give what ``Services.save`` writes, as it is now."""
    return {
        "admin": service.admin,
        "url": service.url,
        "oauth_client_allowed_scopes": list(service.oauth_client_allowed_scopes),
        "info": service.info,
        "display": service.display,
        "oauth_no_confirm": service.oauth_no_confirm,
        "command": list(service.command),
        "cwd": service.cwd,
        "environment": service.environment,
        "user": service.user,
        "timeout": service.timeout_s,
        "from_config": service.from_config,
        "oauth_client_id": service.oauth_client_id,
    }


async def add_token(
    tx: Transaction, service: Service, secret: str, *, note: str, rounds: int = secret_hash.CHOSEN_ROUNDS
) -> Token:
    """Give a service a token, with the scopes of the role ``token``."""
    role = await tx.roles.find(TOKEN_ROLE)
    scopes = list(role.scopes) if role is not None else ["inherit"]
    return await tx.tokens.create("service", service.id, secret=secret, rounds=rounds, scopes=scopes, note=note)


async def delete_service(tx: Transaction, service: Service) -> None:
    """Delete a service's row and, with it, its tokens, address and OAuth client."""
    await tx.services.set_endpoint(service.id, None)
    await tx.services.delete(service.id)
    if service.oauth_client_id:
        await tx.oauth.delete_client(service.oauth_client_id)


async def _check_new_token(tx: Transaction, spec: ServiceSpec) -> None:
    assert spec.api_token is not None
    if await tx.tokens.find_by_secret(spec.api_token, utcnow()) is not None:
        raise Invalid(f"The 'api_token' of service {spec.name!r} is in use already. Take another one.")


async def _unknown() -> bool:
    """Whether an external service runs is not ours to know: we go on asking."""
    return True


async def _found(tx: Transaction, name: str) -> Service:
    service = await tx.services.find(name)
    if service is None:
        raise NotFound()
    return service
