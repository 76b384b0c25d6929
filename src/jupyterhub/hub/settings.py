"""What the hub was told: every setting that its rooms read, frozen, passed by argument.

``cli/settings.py`` makes it once, at the start, from the traits of the configuration. A field that has the name of a
trait has its meaning and unit (reference: traits.md); what follows from several traits is computed there too, so that
nothing in here depends on anything else in here. Every field has a default: a test names only what it is about. Secrets
are left out when the settings are printed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: ``hook(name, domain, kind=…)`` gives the host name of a user or service; kind is "user" or "service"
SubdomainHook = Callable[..., str]


def no_subdomains(name: str, domain: str, kind: str) -> str:
    """The hook of a hub without subdomains: nothing has a host of its own."""
    return ""


@dataclass(frozen=True, kw_only=True)
class HubSettings:
    # -- where the hub is found
    #: path of the whole deployment, with both slashes
    base_url: str = "/"
    #: ``base_url`` + ``hub/``
    hub_prefix: str = "/hub/"
    #: where the proxy listens for the public
    bind_url: str = "http://:8000"
    ssl_key: str = ""
    ssl_cert: str = ""
    #: the whole deployment from outside, with ``base_url``; "" if nobody said and it cannot be known
    public_url: str = ""
    #: the hub from outside: ``public_url`` + ``hub/``; "" if unknown
    public_hub_url: str = ""
    #: ``scheme://host[:port]`` of ``public_url``; "" if unknown
    public_host: str = ""
    #: ``scheme://host[:port]`` below which users and services have hosts of their own; "" without subdomains
    subdomain_host: str = ""
    subdomain_hook: SubdomainHook = no_subdomains
    #: the host name of ``public_url``; "" if unknown
    domain: str = ""
    #: what the proxy sends to the hub: ``[host]/path/``
    hub_routespec: str = "/"

    # -- where the hub listens and how proxy, servers and services reach it
    #: the private URL with ``hub_prefix``: ``http://ip:port/hub/`` or ``http+unix://%2Fpath/hub/``
    hub_bind_url: str = "http://127.0.0.1:8081/hub/"
    #: "" means all addresses (or a socket)
    hub_bind_ip: str = "127.0.0.1"
    hub_bind_port: int = 8081
    #: path of the UNIX socket; "" for a TCP port
    hub_bind_socket: str = ""
    hub_socket_mode: int = 0o600
    #: the URL that others use, with ``hub_prefix``
    hub_connect_url_effective: str = "http://127.0.0.1:8081/hub/"
    #: ``scheme://host:port`` of the former: the target of the hub's route
    hub_origin: str = "http://127.0.0.1:8081"
    #: ``JUPYTERHUB_API_URL`` of servers and services
    hub_api_url: str = "http://127.0.0.1:8081/hub/api"
    #: the traits as they were given, "" and 0 if they were not
    hub_connect_ip: str = ""
    hub_connect_port: int = 0
    hub_connect_url: str = ""

    # -- sessions, cookies, tokens
    cookie_secret: bytes = field(default=b"", repr=False)
    cookie_max_age_days: float = 14
    cookie_host_prefix_enabled: bool = False
    #: ``tornado_settings["cookie_options"]``: arguments of ``set_cookie`` for the hub's cookies
    cookie_options: dict[str, Any] = field(default_factory=dict)
    #: ``tornado_settings["xsrf_cookie_kwargs"]``; None: the ``_xsrf`` cookie takes ``cookie_options``
    xsrf_cookie_kwargs: dict[str, Any] | None = None
    oauth_token_expires_in: int = 14 * 86400
    oauth_require_pkce: bool = False
    #: 0: no limit
    token_expires_in_max_seconds: int = 0
    trust_user_provided_tokens: bool = False

    # -- what answers look like
    #: ``tornado_settings["headers"]``: on every answer, in place of ours
    headers: dict[str, str] = field(default_factory=dict)
    trusted_downstream_ips: Sequence[str] = ()
    forwarded_host_header: str = ""
    api_page_default_limit: int = 50
    api_page_max_limit: int = 200
    use_legacy_stopped_server_status_code: bool = False
    authenticate_prometheus: bool = True
    #: the moment of this start (YYYYmmddHHMMSS): part of the address of files that may change between starts
    version_hash: str = ""

    # -- pages
    data_files_path: str = ""
    template_paths: Sequence[str] = ()
    template_vars: Mapping[str, Any] = field(default_factory=dict)
    jinja_environment_options: Mapping[str, Any] = field(default_factory=dict)
    logo_file: str = ""
    #: a URL or ``function(handler)``; "" or a falsy answer: the usual place
    default_url: str | Callable[[Any], Any] = ""
    redirect_to_server: bool = True
    #: ``function(path, request, user, base_url)``, maybe a coroutine; None: the usual place
    user_redirect_hook: Callable[..., Any] | None = None
    #: redirects that a server's address may go through before it counts as a loop
    user_redirect_limit: int = 4
    #: 0: never
    implicit_spawn_seconds: float = 0
    shutdown_on_logout: bool = False

    # -- servers
    allow_named_servers: bool = False
    #: a number, or ``function(handler)``, maybe a coroutine; 0: no limit
    named_server_limit_per_user: int | Callable[[Any], Any] = 0
    #: "" unless ``allow_named_servers``
    default_server_name: str = ""
    #: "allow-start", "allow-delete" or "autorename"
    allow_existing_invalid_named_servers: str = "allow-start"
    #: 0: no limit
    concurrent_spawn_limit: int = 100
    #: 0: no limit
    active_server_limit: int = 0
    #: whoever is throttled is told to come back after so many seconds
    spawn_throttle_retry_range: tuple[int, int] = (30, 60)
    #: how long requests wait for a start or a stop before they answer 202, in seconds
    slow_spawn_timeout: float = 10
    slow_stop_timeout: float = 10
    #: how long the start of the hub waits for the check of running servers, in seconds; -1: as long as it takes
    init_spawners_timeout: int = 10
    admin_access: bool = False

    # -- TLS between the parts (certificates.py)
    internal_ssl: bool = False
    internal_certs_location: str = "internal-ssl"
    #: the hub's own pair, and the bundle of those whom it accepts; "" without internal_ssl
    internal_ssl_key: str = ""
    internal_ssl_cert: str = ""
    internal_ssl_ca: str = ""
    #: authority → path of its bundle
    internal_trust_bundles: Mapping[str, str] = field(default_factory=dict)
    trusted_alt_names: Sequence[str] = ()

    # -- activity and periodic work, in seconds; 0: never
    active_user_window: int = 1800
    activity_resolution: int = 30
    last_activity_interval: int = 300
    service_check_interval: int = 60

    # -- who and what exists from the start (hub/initial.py)
    extra_user_scopes: frozenset[str] = frozenset()
    custom_scopes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    load_roles: Sequence[Mapping[str, Any]] = ()
    load_groups: Mapping[str, Any] = field(default_factory=dict)
    services: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    #: {token: service name} and {token: user name}
    service_tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    api_tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: tornado routes of the deployment's own, below ``hub_prefix``
    extra_handlers: Sequence[Any] = ()

    # -- the end
    cleanup_servers: bool = True
    #: None: nobody said; then it stays where the servers stay
    cleanup_proxy: bool | None = None

    # -- the plugins
    authenticator_class: type[Any] = object
    spawner_class: type[Any] = object
    proxy_class: type[Any] = object
    #: merged last into the settings of the web application, where plugins read them
    tornado_settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
