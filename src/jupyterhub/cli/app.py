"""The applications behind the ``jupyterhub`` command: every setting of the hub, and what its subcommands do.

Traits keep JupyterHub's names, types and defaults (reference: traits.md, cli.md). ``settings.py`` reads them once, into
frozen ``HubSettings``; nothing deeper asks these objects. Running a hub is ``build.py``; ``main.py`` starts it all.
"""

from __future__ import annotations

import asyncio
import getpass
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from traitlets import (
    Any as AnyTrait,
)
from traitlets import (
    Bool,
    Bytes,
    Dict,
    Enum,
    Float,
    Instance,
    Int,
    List,
    Set,
    TraitError,
    Tuple,
    Unicode,
    Union,
    default,
    observe,
    validate,
)
from traitlets.config import Application, Config

from jupyterhub.traitlets import Callable as CallableTrait
from jupyterhub.traitlets import Command, EntryPointType, URLPrefix
from jupyterhub.words.errors import ConfigurationError, NotFound
from jupyterhub.words.version import __version__

from . import addresses, config_file, config_mistakes, generate_config, settings
from . import logging as hub_logging
from .pid_file import pid_file
from .run_as import check_files, leave_root
from .secrets import from_hex
from .worker import Inherited

#: what ships with the hub: ``templates`` and ``static``
PACKAGED_FILES = str(Path(__file__).parent.parent / "hub" / "web")

ALIASES = {
    "log-level": "Application.log_level",
    "f": "JupyterHub.config_file",
    "config": "JupyterHub.config_file",
    "db": "JupyterHub.db_url",
}
HUB_ALIASES = ALIASES | {
    "base-url": "JupyterHub.base_url",
    "y": "JupyterHub.answer_yes",
    "ssl-key": "JupyterHub.ssl_key",
    "ssl-cert": "JupyterHub.ssl_cert",
    "url": "JupyterHub.bind_url",
    "ip": "JupyterHub.ip",
    "port": "JupyterHub.port",
    "pid-file": "JupyterHub.pid_file",
    "hubs": "JupyterHub.hubs",
    "log-file": "JupyterHub.extra_log_file",
}
FLAGS = {
    "debug": ({"Application": {"log_level": logging.DEBUG}}, "Log everything (the same as --log-level=DEBUG)."),
    "show-config": ({"Application": {"show_config": True}}, "Print the configuration as it was read, and exit."),
    "show-config-json": ({"Application": {"show_config_json": True}}, "The same as JSON."),
}
HUB_FLAGS = FLAGS | {
    "generate-config": (
        {"JupyterHub": {"generate_config": True}},
        "Write a configuration file with every setting, and exit.",
    ),
    "generate-certs": ({"JupyterHub": {"generate_certs": True}}, "Create the certificates of internal_ssl, and exit."),
    "no-db": (
        {"JupyterHub": {"db_url": "sqlite:///:memory:"}},
        "Keep the database in memory: it is gone when the hub stops.",
    ),
    "upgrade-db": (
        {"JupyterHub": {"upgrade_db": True}},
        "Upgrade the database at the start if it is too old. Make a backup first; of a SQLite file it is made for you.",
    ),
    "no-ssl": ({"JupyterHub": {"confirm_no_ssl": True}}, "Does nothing, as it has for long."),
}

#: old traits of the proxy and where their value goes
FORWARDED = {
    "proxy_cmd": "command",
    "debug_proxy": "debug",
    "proxy_auth_token": "auth_token",
    "proxy_check_interval": "check_running_interval",
}


class UpgradeDB(Application):
    """Bring the hub's database to the schema of this version. A SQLite file is copied first."""

    name = "jupyterhub-upgrade-db"
    version = __version__
    description = __doc__
    examples = "    jupyterhub upgrade-db -f /etc/jupyterhub/jupyterhub_config.py\n"
    aliases = ALIASES
    flags = FLAGS
    classes = List()  # type: ignore[var-annotated]

    @default("classes")
    def _what_the_options_are_of(self) -> list[type[Application]]:
        return [JupyterHub]

    def start(self) -> int:  # type: ignore[override]  # gives the exit status
        asyncio.run(_upgrade_database(_hub_of(self)))
        return 0


class NewToken(Application):
    """Make an API token for a user that exists already, and print it."""

    name = Unicode()
    version = __version__
    description = __doc__
    examples = "    jupyterhub token ada\n"
    aliases = ALIASES
    flags = FLAGS
    classes = List()  # type: ignore[var-annotated]

    @default("classes")
    def _what_the_options_are_of(self) -> list[type[Application]]:
        return [JupyterHub]

    @default("name")
    def _who_calls(self) -> str:
        try:
            return getpass.getuser()
        except (KeyError, OSError):  # a container may run under a number that has no name
            return ""

    def parse_command_line(self, argv: list[str] | None = None) -> None:
        super().parse_command_line(argv)
        if len(self.extra_args) > 1:
            raise ConfigurationError("Must specify exactly one username")
        if self.extra_args:
            self.name = self.extra_args[0]

    def start(self) -> int:  # type: ignore[override]  # gives the exit status
        # The store and the roles are needed for this, a hub is not; nothing of it is loaded to print a help text.
        from .build import make_token

        hub = _hub_of(self)
        try:
            token = asyncio.run(make_token(hub, self.name))
        except NotFound:
            print(f"No such user: {self.name}", file=sys.stderr)
            return 1
        print(token)
        return 0


class JupyterHub(Application):
    """Start a hub: people log in, each gets a Jupyter server, one public address leads to all of them.

    The configuration is read from jupyterhub_config.py in the current directory.
    """

    name = "jupyterhub"
    version = __version__
    description = __doc__
    examples = """
    Write a configuration file with every setting in it, commented out:

        jupyterhub --generate-config -f /etc/jupyterhub/jupyterhub_config.py

    Start a hub for everyone who may reach 10.0.1.2 on port 443:

        jupyterhub --url https://10.0.1.2:443 --ssl-key my_ssl.key --ssl-cert my_ssl.cert
    """
    raise_config_file_errors = True
    aliases = HUB_ALIASES
    flags = HUB_FLAGS
    subcommands = {  # a trait of its parent, a constant here
        "token": (NewToken, "Make an API token for a user."),
        "upgrade-db": (UpgradeDB, "Upgrade the database to the schema of this version."),
    }
    # A class is loaded when it is configured, or when help about it is wanted (generate_config.all_classes).
    classes = List()  # type: ignore[var-annotated]

    # -- files of the hub
    config_file = Unicode(
        "jupyterhub_config.py",
        help="The configuration file. A missing one is an error only if you name it.",
    ).tag(config=True)
    generate_config = Bool(False, help="Write a configuration file with every setting, and exit.").tag(config=True)
    answer_yes = Bool(False, help="Overwrite an existing file in --generate-config without asking.").tag(config=True)
    pid_file = Unicode("", help="Write the number of the hub's process to this file while it runs.").tag(config=True)
    cookie_secret_file = Unicode(
        "jupyterhub_cookie_secret",
        help="The file with the secret that signs cookies, in hexadecimal. Made if it is missing. "
        "Others must have no right to it (mode 0600 or 0640).",
    ).tag(config=True)
    cookie_secret = Union(
        [Bytes(), Unicode()],
        default_value=b"",
        help="The secret that signs cookies: 32 bytes, or 64 hexadecimal digits. "
        "If it is not set, JPY_COOKIE_SECRET counts, then cookie_secret_file. A new one logs everybody out.",
    ).tag(config=True, env="JPY_COOKIE_SECRET")
    data_files_path = Unicode(
        PACKAGED_FILES, help="The directory with the templates/ and static/ that come with the hub."
    ).tag(config=True)
    template_paths = List(  # type: ignore[var-annotated]
        help="Directories with page templates of your own. They are searched first, those of the hub last."
    ).tag(config=True)
    template_vars = Dict(
        help="Further variables for all page templates. A function is called with the user (or None)."
    ).tag(config=True)
    jinja_environment_options = Dict(help="Further arguments of the jinja2 Environment of all pages.").tag(config=True)
    logo_file = Unicode("", help="The image that is shown as logo on all pages.").tag(config=True)

    # -- where the public finds the hub
    bind_url = Unicode(
        "http://:8000",
        help="Where the proxy listens for the public: http://HOST:PORT/PREFIX/, no host for all addresses, or "
        "http+unix://%2Fpath%2Fof%2Fsocket. It is https exactly if ssl_cert or BuiltinProxy.acme_names is set.",
    ).tag(config=True)
    ip = Unicode("", help="The address of bind_url. Set bind_url instead.").tag(config=True)
    port = Int(8000, help="The port of bind_url. Set bind_url instead.").tag(config=True)
    base_url = URLPrefix(
        "/", help="The path below which everything is. Follows from bind_url; set bind_url instead."
    ).tag(config=True)
    ssl_key = Unicode("", help="File with the private key of the public proxy.").tag(config=True)
    ssl_cert = Unicode("", help="File with the certificate (chain) of the public proxy. Makes bind_url https.").tag(
        config=True
    )
    public_url = Unicode(
        "",
        help="The address of the whole deployment as browsers see it, with base_url. "
        "Needed where the hub cannot guess it from requests: full URLs in the API, cookies for https only.",
    ).tag(config=True)
    subdomain_host = Unicode(
        "",
        help="Give each user and service a host of its own below this one (https://hub.example.org), "
        "so that browsers keep them apart. Needs a wildcard name in DNS and in the certificate.",
    ).tag(config=True)
    subdomain_hook = Union(
        [CallableTrait(), Unicode()],
        default_value="idna",
        help="How a name becomes a host name: 'idna', 'legacy' (before JupyterHub 5), "
        "or a function(name, domain, kind) with kind 'user' or 'service'.",
    ).tag(config=True)
    forwarded_host_header = Unicode(
        "", help="Accepted for old configurations; not used since XSRF tokens replaced the check of hosts."
    ).tag(config=True)
    trusted_downstream_ips = List(
        Unicode(), help="Addresses of proxies in front of the hub, skipped in X-Forwarded-For to find the client's."
    ).tag(config=True)
    confirm_no_ssl = Bool(False, help="Accepted for old configurations; does nothing.").tag(config=True)

    # -- where proxy, servers and services find the hub
    hub_ip = Unicode(
        "127.0.0.1", help="The address the hub listens on, for the proxy and the servers. '' for all addresses."
    ).tag(config=True)
    hub_port = Int(8081, help="The port the hub listens on, for the proxy and the servers.").tag(config=True)
    hub_bind_url = Unicode(
        "",
        help="Instead of hub_ip and hub_port: http://HOST:PORT or http+unix://%2Fpath%2Fof%2Fsocket.",
    ).tag(config=True)
    hub_socket_mode = Int(
        0o600, help="The rights of the socket, if the hub listens on one (an octal number: 0o660)."
    ).tag(config=True)
    hub_connect_ip = Unicode(
        "",
        help="The host name or address at which proxy and servers reach the hub, if it is not hub_ip "
        "(in containers, or if the hub listens on all addresses).",
    ).tag(config=True)
    hub_connect_port = Int(0, help="Deprecated: set hub_connect_url.").tag(config=True)
    hub_connect_url = Unicode(
        "", help="The whole URL at which proxy and servers reach the hub, if it is not where it listens."
    ).tag(config=True)
    hub_routespec = Unicode(
        "/",
        help="What the proxy sends to the hub. base_url, or / with subdomains; "
        "anything narrower needs something else that answers for stopped servers.",
    ).tag(config=True)

    # -- plugins
    authenticator_class = EntryPointType(
        default_value="jupyterhub.auth.PAMAuthenticator",
        klass="jupyterhub.auth.Authenticator",
        entry_point_group="jupyterhub.authenticators",
        help="Who may log in, and how: a class, its import string, or the name of an installed authenticator.",
    ).tag(config=True)
    spawner_class = EntryPointType(
        default_value="jupyterhub.spawner.LocalProcessSpawner",
        klass="jupyterhub.spawner.Spawner",
        entry_point_group="jupyterhub.spawners",
        help="How servers are started: a class, its import string, or the name of an installed spawner.",
    ).tag(config=True)
    proxy_class = EntryPointType(
        default_value="jupyterhub.proxies.builtin.BuiltinProxy",
        klass="jupyterhub.proxy.Proxy",
        entry_point_group="jupyterhub.proxies",
        help="The public proxy: a class, its import string, or the name of an installed one.",
    ).tag(config=True)

    # -- database
    db_url = Unicode(
        "sqlite:///jupyterhub.sqlite",
        help="The database, as an SQLAlchemy URL. A name without :// is a SQLite file.",
    ).tag(config=True)
    db_kwargs = Dict(help="Further arguments of sqlalchemy.create_engine.").tag(config=True)
    debug_db = Bool(False, help="Log every SQL statement. It shows what is stored: do not leave it on.").tag(
        config=True
    )
    reset_db = Bool(False, help="Drop everything in the database at the start.").tag(config=True)
    upgrade_db = Bool(
        False, help="Upgrade the database at the start if it is too old. A SQLite file is copied first."
    ).tag(config=True)

    hubs = Int(
        1,
        min=1,
        help="How many hub processes to run on this machine. They answer side by side, and when one dies the others go "
        "on with what it was doing. More than one needs PostgreSQL. SIGHUP replaces them one after the other.",
    ).tag(config=True)

    run_as = Unicode(
        help="The user of the system that the hub and its proxy run as, when they are started as root. A small broker "
        "keeps root's rights: it starts people's servers and asks PAM. Ports below 1024 stay possible. The files that "
        "the hub writes must belong to that user."
    ).tag(config=True)

    # -- sessions and tokens
    cookie_max_age_days = Float(14, help="Days after which people must log in again.").tag(config=True)
    cookie_host_prefix_enabled = Bool(
        False,
        help="Name cookies __Host-…: browsers then keep hosts of one domain from setting each other's. "
        "Needs https everywhere, and plugins that do not name the cookies themselves.",
    ).tag(config=True)
    oauth_token_expires_in = Int(
        0,
        help="How long tokens that servers and services get by OAuth are valid, in seconds. As cookie_max_age_days.",
    ).tag(config=True)
    oauth_require_pkce = Bool(False, help="Refuse OAuth clients that do not use PKCE.").tag(config=True)
    token_expires_in_max_seconds = Int(
        0, help="The longest life of a token that users may ask for, in seconds. 0 for no limit."
    ).tag(config=True)
    trust_user_provided_tokens = Bool(
        False,
        help="Hash tokens from the configuration as fast as generated ones. Only if all of them are long and random.",
    ).tag(config=True)
    service_tokens = Dict(
        value_trait=Unicode(), help="Tokens of services, as {token: service name}. Better: api_token of the service."
    ).tag(config=True)
    api_tokens = Dict(
        value_trait=Unicode(), help="Deprecated: tokens of users, as {token: user name}. Use services."
    ).tag(config=True)

    # -- what users may do and see
    admin_users = Set(help="Deprecated: set Authenticator.admin_users.").tag(config=True)
    admin_access = Bool(
        False, help="Deprecated: give scopes in load_roles. Only sets JUPYTERHUB_ADMIN_ACCESS for servers."
    ).tag(config=True)
    load_roles = List(
        Dict(),
        help="Roles: dictionaries with name, description, scopes, and who has them: users, groups, services. "
        "A role that is no longer listed is removed.",
    ).tag(config=True)
    custom_scopes = Dict(
        key_trait=Unicode(),
        value_trait=Dict(key_trait=Unicode()),
        help="Scopes of your own for services: {'custom:NAME': {'description': …, 'subscopes': […]}}.",
    ).tag(config=True)
    extra_user_scopes = Set(Unicode(), help="Scopes that every user has beyond those of the role 'user'.").tag(
        config=True
    )
    load_groups = Dict(
        value_trait=Union([Dict(), List()]),
        help="Groups: {name: {'users': [names], 'properties': {…}}} or {name: [names]}. Members are only added.",
    ).tag(config=True)
    default_url = Union(
        [Unicode(), CallableTrait()],
        default_value="",
        help="Where people get after logging in: a URL, or a function(handler) that gives one or ''.",
    ).tag(config=True)
    redirect_to_server = Bool(True, help="Lead people to their server after logging in, not to the home page.").tag(
        config=True
    )
    user_redirect_hook = CallableTrait(
        default_value=None,
        allow_none=True,
        help="A function(path, request, user, base_url) that gives the target of /hub/user-redirect/PATH, or None.",
    ).tag(config=True)
    shutdown_on_logout = Bool(False, help="Stop all servers of a user who logs out.").tag(config=True)

    # -- servers
    allow_named_servers = Bool(False, help="Let users have several servers, each with a name.").tag(config=True)
    named_server_limit_per_user = Union(
        [Int(), CallableTrait()],
        default_value=0,
        help="How many named servers a user may have: a number, or a function(handler). 0 for no limit.",
    ).tag(config=True)
    default_server_name = Unicode(
        "", help="The named server that is meant where none is named. Needs allow_named_servers."
    ).tag(config=True)
    allow_existing_invalid_named_servers = Enum(
        ["allow-start", "allow-delete", "autorename"],
        default_value="allow-start",
        help="What becomes of servers from before JupyterHub 6 whose names are no longer valid: "
        "they work, may only be deleted, or get a new name.",
    ).tag(config=True)
    concurrent_spawn_limit = Int(
        100, help="How many servers may be starting at once, on all hubs together. 0 for no limit."
    ).tag(config=True)
    active_server_limit = Int(0, help="How many servers may run at once, on all hubs together. 0 for no limit.").tag(
        config=True
    )
    implicit_spawn_seconds = Float(
        0, help="Start a stopped server after so many seconds on the page that says that it is stopped. 0: never."
    ).tag(config=True)
    init_spawners_timeout = Int(
        10, help="How long the start waits until all running servers have been checked, in seconds. -1: until all are."
    ).tag(config=True)
    cleanup_servers = Bool(
        True, help="Stop all servers when the hub stops. Set it to False to restart the hub without anyone noticing."
    ).tag(config=True)
    cleanup_proxy = Bool(
        True,
        help="Stop the proxy when the hub stops, if the hub started it. If you do not set it, the proxy goes on to run "
        "where the servers do (cleanup_servers).",
    ).tag(config=True)
    use_legacy_stopped_server_status_code = Bool(
        False, help="Answer requests for stopped servers with 503, as before JupyterHub 2, not with 424."
    ).tag(config=True)

    # -- services and the API
    services = List(Dict(), help="Services: dictionaries with at least a name; see the documentation of services.").tag(
        config=True
    )
    service_check_interval = Int(60, help="Seconds between checks that services answer. 0: never.").tag(config=True)
    api_page_default_limit = Int(
        50, help="How many items a page of a list in the API has if the client does not say."
    ).tag(config=True)
    api_page_max_limit = Int(200, help="How many items a client may ask for at once.").tag(config=True)
    authenticate_prometheus = Bool(True, help="Show /hub/metrics only to those with the scope read:metrics.").tag(
        config=True
    )
    extra_handlers = List(  # type: ignore[var-annotated]
        help="Deprecated: tornado handlers of your own below /hub/, as (path, class[, arguments]). Use a service."
    ).tag(config=True)
    tornado_settings = Dict(
        help="Settings of the web application, merged last: headers, cookie_options, slow_spawn_timeout, …"
    ).tag(config=True)

    # -- activity
    activity_resolution = Int(30, help="Activity that is newer by less than so many seconds is not written down.").tag(
        config=True
    )
    last_activity_interval = Int(
        300, help="Seconds between fetching activity from the proxy and checking its routes. 0: never."
    ).tag(config=True)
    active_user_window = Int(1800, help="Users count as active for so many seconds after doing something.").tag(
        config=True
    )

    # -- log
    extra_log_file = Unicode("", help="Deprecated: log to this file too. Use logging_config or redirect stderr.").tag(
        config=True
    )
    extra_log_handlers = List(Instance(logging.Handler), help="Further logging.Handler objects for the hub's log.").tag(
        config=True
    )

    # -- TLS between the parts
    internal_ssl = Bool(False, help="Let hub, proxy, services and servers talk TLS and check each other.").tag(
        config=True
    )
    generate_certs = Bool(False, help="Create the certificates of internal_ssl, and exit.").tag(config=True)
    recreate_internal_certs = Bool(False, help="Create the certificates of internal_ssl anew at the start.").tag(
        config=True
    )
    internal_certs_location = Unicode("internal-ssl", help="The directory with the certificates of internal_ssl.").tag(
        config=True
    )
    external_ssl_authorities = Dict(
        help="Authorities of internal_ssl that somebody else runs: {name: {'key': file, 'cert': file, 'ca': file}}."
    ).tag(config=True)
    trusted_alt_names = List(
        Unicode(), help="Further names in the certificates of internal_ssl: DNS:hub.example.org, IP:10.0.0.1."
    ).tag(config=True)

    # -- old names of what the proxy has now
    proxy_cmd = Command(help="Deprecated: set ConfigurableHTTPProxy.command.").tag(config=True)
    debug_proxy = Bool(False, help="Deprecated: set ConfigurableHTTPProxy.debug.").tag(config=True)
    proxy_auth_token = Unicode("", help="Deprecated: set ConfigurableHTTPProxy.auth_token.").tag(config=True)
    proxy_check_interval = Int(5, help="Deprecated: set ConfigurableHTTPProxy.check_running_interval.").tag(config=True)
    proxy_api_ip = Unicode("", help="Deprecated: set ConfigurableHTTPProxy.api_url.").tag(config=True)
    proxy_api_port = Int(0, help="Deprecated: set ConfigurableHTTPProxy.api_url.").tag(config=True)

    # -- what plugins read from a running hub (plugin-api.md §10); `build.py` sets these
    hub_prefix = URLPrefix("/hub/")
    domain = Unicode("")
    handlers = List()  # type: ignore[var-annotated]
    config_role_names = List()  # type: ignore[var-annotated]
    internal_proxy_certs = Dict()
    internal_ssl_authorities = Dict(
        default_value=dict.fromkeys(("hub-ca", "notebooks-ca", "proxy-api-ca", "proxy-client-ca", "services-ca"))
    )
    internal_ssl_ca = Unicode()
    internal_ssl_cert = Unicode()
    internal_ssl_components_trust = Dict()
    internal_ssl_key = Unicode()
    internal_trust_bundles = Dict()
    metrics_collector = AnyTrait()
    session_factory = AnyTrait()
    # Not configurable, as in JupyterHub: only tornado_settings["spawn_throttle_retry_range"] changes it.
    spawn_throttle_retry_range = Tuple((30, 60))
    _service_map = Dict()
    authenticator = AnyTrait()
    proxy = AnyTrait()
    hub = AnyTrait()
    db = AnyTrait()
    users = AnyTrait()
    oauth_provider = AnyTrait()
    eventlog = AnyTrait()
    tornado_application = AnyTrait()

    # -- defaults that follow from something

    @default("log")
    def _default_log(self) -> logging.Logger:
        # One name in every line, also for classes that extend this one.
        return logging.getLogger(hub_logging.NAME)

    @default("log_level")
    def _default_log_level(self) -> int:
        return logging.INFO

    @default("log_format")
    def _default_log_format(self) -> str:
        return hub_logging.FORMAT

    @default("log_datefmt")
    def _default_log_datefmt(self) -> str:
        return hub_logging.DATE_FORMAT

    @property
    def is_tls(self) -> bool:
        """Whether the public address is https: the proxy is given a certificate, or fetches one."""
        return bool(self.ssl_cert or self.config.get("BuiltinProxy", {}).get("acme_names"))

    @default("base_url")
    def _path_of_bind_url(self) -> str:
        return addresses.base_url_of(self.bind_url) if "bind_url" in self._trait_values else "/"

    @default("bind_url")
    def _url_of_the_separate_traits(self) -> str:
        given = any(self.differs(name) for name in ("ip", "port", "base_url"))
        path = self._trait_values.get("base_url", "/") if given else ""
        return addresses.bind_url(ip=self.ip, port=self.port, base_url=path, tls=self.is_tls)

    @default("hub_routespec")
    def _everything_of_ours(self) -> str:
        return "/" if self.subdomain_host else self.base_url

    @default("oauth_token_expires_in")
    def _as_long_as_the_login(self) -> int:
        return int(self.cookie_max_age_days * 24 * 3600)

    @default("template_paths")
    def _packaged_templates(self) -> list[str]:
        return [settings.packaged_templates(self)]

    @default("logo_file")
    def _packaged_logo(self) -> str:
        return os.path.join(self.data_files_path, "static", "images", "jupyterhub-80.png")

    # -- forms that are accepted, and the one that is kept

    @validate("cookie_secret")
    def _decode_cookie_secret(self, proposal: Any) -> bytes:
        value = proposal.value
        try:
            return from_hex(value, "JupyterHub.cookie_secret") if isinstance(value, str) else value
        except ConfigurationError as error:
            raise TraitError(str(error)) from error

    @validate("db_url")
    def _complete_db_url(self, proposal: Any) -> str:
        value: str = proposal.value
        return value if "://" in value else f"sqlite:///{value}"

    # -- old names

    @observe(*FORWARDED)
    def _forward_to_the_proxy(self, change: Any) -> None:
        new = FORWARDED[change.name]
        self.log.warning("JupyterHub.%s is deprecated. Set ConfigurableHTTPProxy.%s.", change.name, new)
        self.config.ConfigurableHTTPProxy[new] = change.new

    @observe("proxy_api_ip", "proxy_api_port")
    def _forward_api_url(self, change: Any) -> None:
        self.log.warning("JupyterHub.%s is deprecated. Set ConfigurableHTTPProxy.api_url.", change.name)
        ip, port = self.proxy_api_ip or "127.0.0.1", self.proxy_api_port or self.port + 1
        self.config.ConfigurableHTTPProxy.api_url = f"http://{addresses.bracketed(ip)}:{port}"

    @observe("api_tokens")
    def _api_tokens_are_old(self, change: Any) -> None:
        self.log.warning("JupyterHub.api_tokens is deprecated. Tokens for programs belong to services.")

    @observe("extra_handlers")
    def _extra_handlers_are_old(self, change: Any) -> None:
        if change.new:
            self.log.warning("JupyterHub.extra_handlers is deprecated. Run a service with a URL of its own.")

    @observe("extra_log_file")
    def _extra_log_file_is_old(self, change: Any) -> None:
        self.log.warning("JupyterHub.extra_log_file is deprecated. Use JupyterHub.logging_config or redirect stderr.")

    # -- log

    def get_default_logging_config(self) -> dict[str, Any]:
        return hub_logging.logging_config(
            level=hub_logging.level_number(cast(Any, self.log_level)),
            log_format=self.log_format,
            date_format=self.log_datefmt,
        )

    def _configure_logging(self) -> None:
        super()._configure_logging()
        # Configuring takes all handlers away, ours and theirs.
        if self.extra_log_file and self._extra_log_file_handler is None:
            try:
                self._extra_log_file_handler = logging.FileHandler(self.extra_log_file)
            except OSError as error:
                raise ConfigurationError(
                    f"JupyterHub.extra_log_file: cannot write {self.extra_log_file} ({error.strerror})."
                ) from error
        handlers = [*self.extra_log_handlers, *filter(None, [self._extra_log_file_handler])]
        hub_logging.add_handlers(handlers, log_format=self.log_format, date_format=self.log_datefmt)

    _extra_log_file_handler: logging.FileHandler | None = None

    # -- from the command line to a running hub

    @classmethod
    def launch_instance(cls, argv: list[str] | None = None, **kwargs: Any) -> None:
        """Run this application to its end and exit the process with its status."""
        sys.exit(launch(cls, argv, **kwargs))

    def initialize(self, argv: list[str] | None = None) -> None:
        """Read command line and configuration file. ConfigurationError says what is wrong where, and the remedy."""
        self.parse_command_line(argv)
        if self.subapp is not None:
            return
        if self.extra_args:
            raise ConfigurationError(f"Unrecognized command-line arguments: {' '.join(self.extra_args)!r}")
        if not self.generate_config:
            self.load_configuration()

    def load_configuration(self) -> None:
        """Read the configuration file, refuse mistakes, let addresses follow from each other."""
        file = Path(self.config_file)
        explicit = self.is_set("config_file")
        if explicit and not file.exists():
            raise config_file.Missing(f"Failed to find specified config file: {file}")
        self.load_config_file(str(file))
        config_mistakes.check(self)
        for name in [name for name, section in self.config.items() if not isinstance(section, Config)]:
            del self.config[name]  # warned of by now; --show-config stumbles over it
        settings.settle(self)
        self._configure_logging()

    def _load_config(self, *args: Any, **kwargs: Any) -> None:
        # Traitlets warns of unknown names each time it is here. config_mistakes does it once, with the place.
        with hub_logging.without(self.log, "Config option `"):
            super()._load_config(*args, **kwargs)

    def load_config_file(self, filename: str, path: Any = None) -> None:
        config, files = config_file.load(filename, log=self.log)
        self._loaded_config_files.extend(file for file in files if file not in self._loaded_config_files)
        # What plugins of old called the application is still the application.
        if "JupyterHubApp" in config:
            self.log.warning(
                "Use c.JupyterHub in the configuration, not c.JupyterHubApp. Outdated section:\n%s",
                "\n".join(f"  JupyterHubApp.{name}" for name in sorted(config.JupyterHubApp)),
            )
            config.JupyterHub.merge(config.JupyterHubApp)
            del config.JupyterHubApp
        config.merge(self.cli_config)
        try:
            self.update_config(config)
        except (TraitError, ImportError) as error:
            raise config_mistakes.explain(error, self) from error
        except TypeError as error:
            raise config_mistakes.uncopyable(config, self) or error from error

    #: whether traits that depend on each other agree by now (``settings.settle``)
    is_settled = False

    def is_set(self, trait: str) -> bool:
        """Whether the configuration says something about a trait of the hub."""
        return trait in self.config.get("JupyterHub", {})

    def differs(self, trait: str) -> bool:
        """Whether a trait has another value than the one it has by itself. Asking computes no default."""
        return trait in self._trait_values and self._trait_values[trait] != self.traits()[trait].default_value

    def print_help(self, classes: bool = False) -> None:
        if classes:
            self.classes = generate_config.all_classes(self)
        super().print_help(classes)

    def start(self) -> int:  # type: ignore[override]  # gives the exit status
        """Do what the command line asks for, to the end; give the exit status."""
        if self.subapp is not None:
            return int(cast(Any, self.subapp).start() or 0)
        if self.generate_config:
            return generate_config.write(self)
        if self.generate_certs:
            return self._generate_certs()
        # The hub itself: nothing of it is loaded to print a help text.
        from .build import run

        inherited = Inherited.take()
        if inherited is not None:
            return asyncio.run(run(self, inherited))
        if self.run_as:
            leave_root(self.run_as)
            written = [self.db_url.removeprefix("sqlite:///")] if self.db_url.startswith("sqlite:///") else []
            has_secret = self.cookie_secret or "JPY_COOKIE_SECRET" in os.environ
            check_files([*written, *([] if has_secret else [self.cookie_secret_file]), *filter(None, [self.pid_file])])
        self._announce()
        with pid_file(self.pid_file):
            if self.hubs > 1:
                from .supervisor import supervise

                return asyncio.run(supervise(self))
            return asyncio.run(run(self))

    def init_internal_ssl(self) -> None:
        """Have the certificates of ``internal_ssl`` made, as far as they are missing; without it do nothing.

        Of several workers none makes them anew: the supervisor has done it.
        """
        if self.internal_ssl:
            from . import internal_ssl

            internal_ssl.prepare(self, recreate=self.recreate_internal_certs)
            self.recreate_internal_certs = False

    def _generate_certs(self) -> int:
        if not self.internal_ssl:
            self.log.warning("JupyterHub.internal_ssl is off: the certificates are made, and nothing uses them yet.")
            self.internal_ssl = True
        self.init_internal_ssl()
        self.log.info("Certificates written to directory `%s`", self.internal_certs_location)
        return 0

    def _announce(self) -> None:
        self.log.info("Running JupyterHub version %s", self.version)
        for kind in ("Authenticator", "Spawner", "Proxy"):
            plugin = getattr(self, f"{kind.lower()}_class")
            package = sys.modules.get(plugin.__module__.partition(".")[0])
            version = getattr(package, "__version__", "")
            name = f"{plugin.__module__}.{plugin.__name__}" + (f"-{version}" if version else "")
            self.log.info("Using %s: %s", kind, name)


def launch(app_class: type[Application], argv: Sequence[str] | None = None, **kwargs: Any) -> int:
    """Run an application to its end; give its exit status. A mistake of a person gets one message and no traceback."""
    app = app_class.instance(**kwargs)
    try:
        app.initialize(None if argv is None else list(argv))
        return int(cast(Any, app).start() or 0)
    except config_file.Missing as error:
        print(f"ERROR: {error}", file=sys.stderr)
    except ConfigurationError as error:
        app.log.critical("%s", error)
    except TraitError as error:
        app.log.critical("%s", config_mistakes.explain(error, app))
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        # `jupyterhub --help | head`: the reader has seen enough. Python shall not stumble over it once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        app.log.exception("The hub ends because of an error that nobody expected.")
    return 1


async def _upgrade_database(hub: JupyterHub) -> None:
    # alembic is loaded only to upgrade: it takes longer than the whole start of a hub
    from jupyterhub.hub.store import schema

    backup = await schema.upgrade(hub.db_url, engine_options=dict(hub.db_kwargs))
    if backup:
        hub.log.warning("The database is upgraded. As it was before: %s", backup)


def _hub_of(app: Application) -> JupyterHub:
    """The configured hub that a subcommand works on."""
    # It shares the log of the subcommand, and its quietness: what scripts read shall stand alone.
    hub = JupyterHub(parent=app, log_level=app.log_level)
    hub.cli_config = app.cli_config or Config()
    hub.load_configuration()
    return hub
