"""The contract of spawners: the classes that plugins subclass to start people's servers somewhere.

What a Spawner must do and what it is given is said here. When it is called, what is written to the database and what
happens if it fails is the hub's (``hub/servers``); nothing in here keeps the life of a server going. A Spawner object
belongs to one server on one hub: the hub that drives the server has it, and another hub that takes over makes a new one
and calls ``load_state``.
"""

# ruff: noqa: ASYNC109  (the `timeout` parameters are the original's interface)

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import logging
import os
import pwd
import random
import shlex
import signal
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from subprocess import DEVNULL, Popen, SubprocessError
from typing import Any as AnyType
from urllib.parse import urlsplit

from tornado.ioloop import PeriodicCallback
from tornado.web import HTTPError
from traitlets import (
    Any,
    Bool,
    Dict,
    Float,
    Instance,
    Integer,
    List,
    TraitError,
    Unicode,
    Union,
    default,
    validate,
)
from traitlets.config import LoggingConfigurable

from .localproc import cgroups, kernel_calls
from .localproc.client import (
    KNOWN_LIMIT_S,
    BrokerClient,
    Refused,
    Unavailable,
    Waiting,
    configured_broker,
    present_limits,
    present_umask,
)
from .localproc.identity import enter
from .localproc.newborn import Start
from .objects import Server
from .spawners import profiles
from .spawners.fast_start import DoesNotFit, FastStart, broker_at, exit_status
from .spawners.gate import start_behind_gate
from .spawners.processes import ProcessId, become, heed_interrupts, read_stat, reap
from .traitlets import ByteSpecification, Command
from .traitlets import Callable as CallableTrait
from .utils import (
    AnyTimeoutError,
    exponential_backoff,
    fmt_ip_url,
    iterate_until,
    maybe_future,
    random_port,
    recursive_update,
    url_escape_path,
    url_path_join,
)

#: puts the variables of ``create_certs``' names into files of a folder that nobody else may enter
WRITE_CERTIFICATES = """
set -eu; umask 077; mkdir -p "$1"
put() { printf %s "$2" >"$1.new"; mv -f "$1.new" "$1"; }
put "$2" "$keyfile"; put "$3" "$certfile"; put "$4" "$cafile"
"""

__all__ = ["LocalProcessSpawner", "SimpleLocalProcessSpawner", "SpawnException", "Spawner", "set_user_setuid"]


def _quote_safe(text: str) -> str:
    """Quote a command line argument that traitlets would otherwise take for a number, a list and so on."""
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return repr(text)


class SpawnException(HTTPError):
    """A start is refused on purpose: by policy, a quota, a wrong choice. Raise it from ``start`` or from any hook of
    it.

    The person sees ``message`` (or ``message_html``), the log gets ``log_message`` and no traceback, and ``reason``,
    one or two words, is the label in the metrics and the reason phrase of the answer with ``status_code``.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        log_message: str = "",
        message_html: str = "",
        status_code: int = 400,
    ) -> None:
        # tornado applies % to its message if there are arguments; there are none
        super().__init__(status_code, log_message or message, reason=reason)
        self.message = self.jupyterhub_message = message
        self.message_html = message_html
        if message_html:
            self.jupyterhub_html_message = message_html

    def __str__(self) -> str:
        return self.message


#: how often, and after which pauses, it is looked whether everything in a control group has ended
_GROUP_LOOKS, _GROUP_PAUSE_S = 50, 0.02


class Spawner(LoggingConfigurable):
    """Starts, watches and stops one server of one user. Subclasses define at least ``start``, ``stop`` and ``poll``.

    The hub makes the object with keyword arguments (``user``, ``hub``, ``authenticator``, ``orm_spawner`` …), calls
    ``load_state`` with what ``get_state`` gave last time, and then, for a start, in this order: ``clear_state``,
    ``Authenticator.pre_spawn_start``, ``auth_state_hook``, ``apply_group_overrides``, ``apply_user_options``,
    ``pre_spawn_hook``, ``start``. All methods are called on the hub that drives the server, never on two hubs at once.
    Those that talk to the outside may be coroutines; plain functions must not block.
    """

    # -- what the hub gives (plugin-api.md §2)

    user = Any()
    orm_spawner = Any()
    hub = Any()
    authenticator = Any()
    #: the request that asked for the start, while it starts; None at any other time and for starts that nobody asked
    #: for
    handler = Any()
    api_token = Unicode()
    admin_access = Bool(False)
    oauth_client_id = Unicode()
    oauth_access_scopes = List(Unicode())
    proxy_spec = Unicode()
    cookie_options = Dict()
    cookie_host_prefix_enabled = Bool(False)
    trusted_alt_names = List(Unicode())
    public_url = Unicode(help="Full URL of this server for browsers; empty if nobody configured it")
    public_hub_url = Unicode(help="Full URL of the hub for browsers; empty if nobody configured it")
    internal_ssl = Bool(False)
    internal_trust_bundles = Dict()
    internal_certs_location = Unicode()
    cert_paths = Dict()
    #: set it to keep the server's token and OAuth client when it is stopped, for a server that will go on with them
    will_resume = Bool(False)
    user_options = Dict(help="What the user chose: from the form, the query or the body of the request")
    env = Dict(help="Deprecated: use `environment`")
    death_interval = Float(0.1, help="How often `wait_for_death` looks, in seconds")

    _deprecated_db_session = Any()
    db = Any()
    _poll_callback = Any()
    _callbacks: AnyType = List()

    #: set by the hub while ``start`` runs: an async function that keeps ``get_state()`` at once. A spawner whose server
    #: can be found again before ``start`` has returned awaits it, so that a hub that dies now does not lose the server.
    save_state_early: Callable[[], Awaitable[None]] | None = None

    # -- what the hub notes here about the life of the server, for plugins that look

    _spawn_pending = False
    _start_pending = False
    _stop_pending = False
    _proxy_pending = False
    _check_pending = False
    _rename_pending = False
    _waiting_for_response = False
    _failed = False
    #: what people are told about why the server ended, if its spawner knows
    end_message = ""
    #: a future of the start that is going on
    _spawn_future: AnyType = None
    _progress_url: AnyType = ""
    _jupyterhub_version: str | None = None
    _server: AnyType = None
    _resolved_client_scopes: list[str] | None = None

    # -- configuration

    start_timeout = Integer(60, help="Seconds that `start` may take.").tag(config=True)
    http_timeout = Integer(
        30, help="Seconds that the server has, once `start` has returned, to answer HTTP requests."
    ).tag(config=True)
    consecutive_failure_limit = Integer(
        0,
        help="""The hub exits after so many starts in a row have failed (by errors, not by refusals), so that whoever
        supervises it can start it afresh. 0: never.""",
    ).tag(config=True)
    poll_interval = Integer(
        30, help="Seconds between two looks whether the server still runs. 0 or less: never look."
    ).tag(config=True)
    poll_jitter = Float(
        0.1,
        min=0,
        max=1,
        help="By which part of `poll_interval` it varies at random, so that not all are polled at once.",
    ).tag(config=True)
    ip = Unicode(
        "127.0.0.1",
        help="""The address on which the server listens; empty or 0.0.0.0 for all interfaces. Anything but a loopback
        address is reachable for others in the network: the server's own authentication is then all there is.""",
    ).tag(config=True)
    port = Integer(0, help="The port on which the server listens. 0: the spawner chooses one.").tag(config=True)
    cmd = Command(
        ["jupyterhub-singleuser"], allow_none=True, help="The command that starts a server, as a list of words."
    ).tag(config=True)
    args = List(Unicode(), help="Arguments that are put behind `cmd`.").tag(config=True)
    notebook_dir = Unicode(
        "",
        help="""The directory that the server's file browser begins in. `~` is the user's home, `{username}` the user's
        name. Empty: the server decides.""",
    ).tag(config=True)
    default_url = Unicode(
        "",
        help="""The page of the server that a visit begins with, such as `/lab`; `{username}` is the user's name. Empty:
        the server decides.""",
    ).tag(config=True)
    hub_connect_url = Unicode(
        None,
        allow_none=True,
        help="Scheme, host and port by which servers reach the hub, if not by JupyterHub.hub_connect_url.",
    ).tag(config=True)
    debug = Bool(False, help="Ask servers to log what they do in detail.").tag(config=True)
    disable_user_config = Bool(
        False, help="Let servers ignore configuration in the user's home, which could otherwise change how they start."
    ).tag(config=True)
    env_keep = List(
        ["JUPYTERHUB_SINGLEUSER_APP"],
        help="Names of environment variables of the hub that servers get too. Never list one that holds a secret.",
    ).tag(config=True)
    environment = Dict(
        help="""Environment variables for servers; they win over all others. A value may be a function of the spawner
        that gives the value.""",
    ).tag(config=True)
    mem_limit = ByteSpecification(
        None,
        allow_none=True,
        help="""The most memory that a server may use: bytes, or a number with K, M, G or T. Which spawners enforce it
        is said in their documentation; the server is told in MEM_LIMIT in any case.""",
    ).tag(config=True)
    mem_guarantee = ByteSpecification(
        None, allow_none=True, help="The memory that is kept free for a server, written like `mem_limit`."
    ).tag(config=True)
    cpu_limit = Float(
        None,
        allow_none=True,
        help="The most CPU cores that a server may use at once, such as 0.5 or 2; enforced by some spawners only.",
    ).tag(config=True)
    cpu_guarantee = Float(
        None, allow_none=True, help="The CPU cores that are kept free for a server; enforced by some spawners only."
    ).tag(config=True)
    options_form = Union(
        [Unicode(), CallableTrait()],
        help="""HTML of form fields that people fill in before their server starts, or a function of the spawner that
        gives it (also a coroutine). Empty: no form.""",
    ).tag(config=True)
    profile_list = Union(
        [List(Dict()), CallableTrait()],
        help="""Kinds of servers that people choose from before theirs starts: a list, or a function of the spawner that
        gives it (also a coroutine). Each is a dict with `display_name`, and maybe `description`, `slug` (its name in
        links: `?opt-profile=slug`), `default`, `spawner_override` (attributes of the spawner and their values; a value
        may be a function of the spawner) and `profile_options`: further questions, a dict of name to a dict with
        `display_name`, `description` and either `choices` (name to `display_name`, `default`, `spawner_override`) or,
        for a text, `attribute` (what it sets), `default`, `pattern` (a regular expression) and `message` (what is said
        where the text does not match). What somebody chose is chosen again the next time.

        A spawner with an options form, or a `profile_list` of its own such as KubeSpawner's, does not use this.""",
    ).tag(config=True)
    options_from_form = Union(
        [CallableTrait(), Unicode()],
        help="""How fields of the form become `user_options`: a function of the form's data (a dict of lists of strings)
        and, if it has a parameter of that name, of the `spawner`; or `simple` (single values are unwrapped, a checked
        box is True), or `passthrough`. What it raises is shown beside the form.""",
    ).tag(config=True)
    apply_user_options = Union(
        [CallableTrait(), Dict()],
        allow_none=True,
        default_value=None,
        help="""How `user_options` change the spawner: a function of the spawner and of the options, or a dict of
        option to the attribute that it sets, whose values are read as on the command line. Anything it raises means
        that the options are wrong: the start is refused with status 400.""",
    ).tag(config=True)
    group_overrides = Union(
        [CallableTrait(), Dict()],
        help="""Settings for members of groups: a dict (or a function of the spawner giving one) of any key to
        `{"groups": [names], "spawner_override": {attribute: value}}`. They are applied in the order of the keys; of
        several that set the same attribute the last wins. Dicts are merged; a value may be a function of the
        spawner.""",
    ).tag(config=True)
    pre_spawn_hook = Any(
        help="A function of the spawner, called before the start; may be a coroutine. If it raises, nothing starts."
    ).tag(config=True)
    post_stop_hook = Any(
        help="A function of the spawner, called after the stop; may be a coroutine. Errors are only logged."
    ).tag(config=True)
    auth_state_hook = Any(
        help="""A function of the spawner and of the user's auth_state (None if there is none), called before
        `pre_spawn_hook`; may be a coroutine."""
    ).tag(config=True)
    progress_ready_hook = Any(
        help="A function of spawner and last progress event, which gives the event to send; may be a coroutine."
    ).tag(config=True)
    server_token_scopes = Union(
        [List(Unicode()), CallableTrait()],
        help="""Scopes of the server's own token, or a function of the spawner that gives them. Only those that the user
        holds are given. Empty: the scopes of the role `server`.""",
    ).tag(config=True)
    oauth_client_allowed_scopes = Union(
        [CallableTrait(), List()],
        help="""The most scopes that tokens can have which people get by logging in at this server, or a function of the
        spawner that gives them. Access to the server itself is always among them.""",
    ).tag(config=True)
    oauth_roles = Union(
        [CallableTrait(), List()], help="Deprecated: use `oauth_client_allowed_scopes`; ignored when that is set."
    ).tag(config=True)
    ssl_alt_names = Union(
        [List(Unicode()), CallableTrait()],
        help="Further names for the server's certificate when internal_ssl is on, or a function of the spawner.",
    ).tag(config=True)
    ssl_alt_names_include_local = Bool(
        True, help="Whether the server's certificate is for localhost and 127.0.0.1 too."
    ).tag(config=True)

    def __init_subclass__(cls, **kwargs: AnyType) -> None:
        super().__init_subclass__(**kwargs)
        missing = [name for name in ("start", "stop", "poll") if getattr(cls, name) is getattr(Spawner, name)]
        if missing:
            raise NotImplementedError(f"{cls.__name__} must define {' and '.join(missing)}, as every Spawner does")

    # -- defaults and checks of traits

    @default("options_from_form")
    def _options_from_form(self) -> Callable[..., AnyType]:
        return self._passthrough_options_from_form

    @validate("options_from_form")
    def _find_options_from_form(self, proposal: AnyType) -> AnyType:
        value = proposal.value
        if not isinstance(value, str):
            return value
        known = {
            "": self._passthrough_options_from_form,
            "passthrough": self._passthrough_options_from_form,
            "simple": self._simple_options_from_form,
        }
        if value not in known:
            raise TraitError(f"Spawner.options_from_form must be a function, 'simple' or 'passthrough', not {value!r}")
        return known[value]

    @validate("notebook_dir", "default_url")
    def _replace_percent_u(self, proposal: AnyType) -> str:
        value = str(proposal.value)
        if "%U" in value:
            self.log.warning("%%U in Spawner.%s is deprecated: write {username}", proposal.trait.name)
            value = value.replace("%U", "{username}")
        return value

    @validate("ip")
    def _without_brackets(self, proposal: AnyType) -> str:
        return str(proposal.value).removeprefix("[").removesuffix("]")

    @default("ssl_alt_names")
    def _no_alt_names(self) -> list[str]:
        return []

    @default("oauth_access_scopes")
    def _scopes_that_open_this_server(self) -> list[str]:
        owner = self.user.name
        return [f"access:servers!server={owner}/{self.name}", f"access:servers!user={owner}"]

    @default("db")
    def _database_session(self) -> AnyType:
        self.log.warning("%s uses Spawner.db, which is deprecated", type(self).__name__)
        session = self._deprecated_db_session
        return session() if inspect.isfunction(session) or inspect.ismethod(session) else session

    # -- what one sees of it

    @property
    def name(self) -> str:
        """The server's name; "" is the user's default server."""
        return str(getattr(self.orm_spawner, "name", "") or "")

    @property
    def display_name(self) -> str:
        """What people call the server; its name if they have not called it anything."""
        return str(getattr(self.orm_spawner, "display_name", "") or self.name)

    @property
    def _log_name(self) -> str:
        """How the server is called in log lines: ``user`` or ``user:server``."""
        return f"{self.user.name}:{self.name}" if self.name else str(self.user.name)

    @property
    def server(self) -> AnyType:
        """Where the server listens (``objects.Server``), None while it is stopped. The hub sets it."""
        if self._server is None:
            row = getattr(self.orm_spawner, "server", None)
            if row is not None:
                self._server = Server(orm_server=row)
        return self._server

    @server.setter
    def server(self, server: AnyType) -> None:
        self._server = server
        if self.orm_spawner is not None and hasattr(self.orm_spawner, "server"):
            row = getattr(server, "orm_server", None)
            # Spawners that wrap others share ``orm_spawner`` with them, and the wrapped one finds its server there.
            is_mapped = hasattr(self.orm_spawner, "_sa_instance_state")
            self.orm_spawner.server = row if row is not None or is_mapped else server

    @property
    def pending(self) -> str | None:
        """What is going on: ``spawn``, ``stop``, ``check``, ``rename``, or None."""
        if self._spawn_pending or self._proxy_pending:
            return "spawn"
        if self._stop_pending:
            return "stop"
        if self._check_pending:
            return "check"
        if self._rename_pending:
            return "rename"
        return None

    @property
    def ready(self) -> bool:
        """Whether the server can be visited."""
        return not self.pending and self.server is not None

    @property
    def active(self) -> bool:
        """Whether the server is anything but stopped."""
        return bool(self.pending or self.ready)

    @property
    def oauth_scopes(self) -> list[str]:
        """Deprecated: use ``oauth_access_scopes``."""
        warnings.warn("Spawner.oauth_scopes is deprecated: use oauth_access_scopes", DeprecationWarning, stacklevel=2)
        return list(self.oauth_access_scopes)

    # -- to be defined by subclasses

    def start(self) -> AnyType:
        """Start the server and return where it listens: a URL, or a pair of IP address and port. May be a coroutine.

        Called once per start, within ``start_timeout`` seconds, then it is cancelled. It is called again, after
        ``stop`` if ``poll`` says that something runs, when another hub takes over a start whose hub died. Any
        exception means that the server did not start; the hub then polls and stops what is left. ``SpawnException``
        is a refusal, not an error.
        """
        raise NotImplementedError("Override in subclass. Must be a coroutine.")

    def stop(self, now: bool = False) -> AnyType:
        """Stop the server, and return when it is gone. May be a coroutine. With ``now`` do not wait for a clean end.

        Called only if ``poll`` gives None; also to clean up after a start that failed or was cancelled. It may be
        called again after it has failed or after its hub died.
        """
        raise NotImplementedError("Override in subclass. Must be a coroutine.")

    def poll(self) -> AnyType:
        """Say whether the server runs: None if it does, else its exit status (0 if unknown). May be a coroutine.

        Called every ``poll_interval`` seconds and whenever someone wants to know; it must be cheap. It gives 0 if the
        server was never started, and None while a start is going on. An exception means "not known now": the hub asks
        again later, but when it takes the server over from another hub it counts as not running.
        """
        raise NotImplementedError("Override in subclass. Must be a coroutine.")

    # -- state: what is needed to find the server again

    def load_state(self, state: Mapping[str, AnyType]) -> None:
        """Take over what ``get_state`` gave, possibly on another hub, once, right after the object was made.

        Empty for a server that was never started. Subclasses call ``super()``.
        """

    def get_state(self) -> dict[str, AnyType]:
        """Give what is needed to find the server again, as a dict that JSON can hold. Subclasses extend ``super()``'s.

        The hub keeps it after ``start`` and after the stop.
        """
        return {}

    def clear_state(self) -> None:
        """Forget the server: called before each start and when it has stopped. Subclasses call ``super()``."""
        self.api_token = ""

    # -- environment and command

    def template_namespace(self) -> dict[str, AnyType]:
        """What can stand between braces in settings such as ``notebook_dir``."""
        namespace = {"username": self.user.name}
        if self.server is not None:
            namespace["base_url"] = self.server.base_url
        return namespace

    def format_string(self, s: str) -> str:
        """Fill in the braces of a setting."""
        return s.format(**self.template_namespace())

    def get_args(self) -> list[str]:
        """Give the arguments behind ``cmd``. What the server must know it gets in its environment."""
        return list(self.args)

    async def resolve_oauth_client_allowed_scopes(self) -> list[str]:
        """Give ``oauth_client_allowed_scopes`` as a list. Called before ``start``; ``get_env`` tells the result."""
        scopes = self.oauth_client_allowed_scopes
        if callable(scopes):
            scopes = await maybe_future(scopes(self))
        self._resolved_client_scopes = list(scopes or ())
        return self._resolved_client_scopes

    def get_env(self) -> dict[str, str]:
        """Give the environment of the server (singleuser.md §1). Subclasses extend what ``super()`` gives.

        It holds the server's token: never log it, and never put it where other users can read it, such as a command
        line.
        """
        env = {name: os.environ[name] for name in self.env_keep if name in os.environ}
        env.update(self._own_env())
        for name, value in self.environment.items():
            env[name] = value(self) if callable(value) else value
        return env

    def _own_env(self) -> dict[str, str]:
        user, hub, server = self.user, self.hub, self.server
        api_url = hub.api_url
        if self.hub_connect_url is not None:
            api_url = url_path_join(self.hub_connect_url, urlsplit(api_url).path)
        escaped_user = getattr(user, "escaped_name", None) or url_escape_path(user.name)
        access_scopes = json.dumps(list(self.oauth_access_scopes))
        client_scopes = self._resolved_client_scopes
        if client_scopes is None:
            client_scopes = [] if callable(self.oauth_client_allowed_scopes) else list(self.oauth_client_allowed_scopes)
        base_url = server.base_url if server is not None else "/"
        port = self.port or (server.port if server is not None else 0)
        proto = "https" if self.internal_ssl else "http"
        env = {
            "JUPYTERHUB_API_TOKEN": self.api_token,
            # for servers from before JupyterHub 0.8
            "JPY_API_TOKEN": self.api_token,
            "JUPYTERHUB_CLIENT_ID": self.oauth_client_id,
            "JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED": "1" if self.cookie_host_prefix_enabled else "0",
            "JUPYTERHUB_HOST": hub.public_host,
            "JUPYTERHUB_OAUTH_CALLBACK_URL": url_path_join(user.url, url_escape_path(self.name), "oauth_callback"),
            "JUPYTERHUB_OAUTH_SCOPES": access_scopes,
            "JUPYTERHUB_OAUTH_ACCESS_SCOPES": access_scopes,
            "JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES": json.dumps(client_scopes),
            "JUPYTERHUB_USER": user.name,
            "JUPYTERHUB_SERVER_NAME": self.name,
            "JUPYTERHUB_API_URL": api_url,
            "JUPYTERHUB_ACTIVITY_URL": url_path_join(api_url, "users", escaped_user, "activity"),
            "JUPYTERHUB_BASE_URL": hub.base_url.removesuffix("hub/"),
            "JUPYTERHUB_SERVICE_URL": f"{proto}://{fmt_ip_url(self.ip)}:{port}{base_url}",
            "JUPYTERHUB_PUBLIC_URL": self.public_url,
            "JUPYTERHUB_PUBLIC_HUB_URL": self.public_hub_url,
        }
        if server is not None:
            env["JUPYTERHUB_SERVICE_PREFIX"] = server.base_url
        if self.admin_access:
            env["JUPYTERHUB_ADMIN_ACCESS"] = "1"
        if self.cookie_options:
            env["JUPYTERHUB_COOKIE_OPTIONS"] = json.dumps(self.cookie_options)
        for name in ("mem_limit", "mem_guarantee", "cpu_limit", "cpu_guarantee"):
            value = getattr(self, name)
            if value:
                env[name.upper()] = str(value)
        if self.cert_paths:
            env["JUPYTERHUB_SSL_KEYFILE"] = self.cert_paths["keyfile"]
            env["JUPYTERHUB_SSL_CERTFILE"] = self.cert_paths["certfile"]
            env["JUPYTERHUB_SSL_CLIENT_CA"] = self.cert_paths["cafile"]
        if self.notebook_dir:
            env["JUPYTERHUB_ROOT_DIR"] = self.format_string(self.notebook_dir)
        if self.default_url:
            env["JUPYTERHUB_DEFAULT_URL"] = self.format_string(self.default_url)
        if self.debug:
            env["JUPYTERHUB_DEBUG"] = "1"
        if self.disable_user_config:
            env["JUPYTERHUB_DISABLE_USER_CONFIG"] = "1"
        return env

    async def get_url(self) -> str:
        """Give the URL of the running server. Asked when a hub takes it over: it may have moved meanwhile."""
        return str(self.server.url)

    # -- options

    async def get_options_form(self) -> str:
        """Give the HTML of the options form, "" for none. Called for each visit of the spawn page, on any hub."""
        form = self.options_form
        if callable(form):
            form = await maybe_future(form(self))
        if not form and (offered := await self._profiles()):
            form = profiles.form(offered, self.user_options)
        return form or ""

    async def _profiles(self) -> list[profiles.Profile]:
        """Give the profiles that are offered for this server; none where a subclass has its own idea of them."""
        if self.options_form or not _is_ours(self.traits()["profile_list"]):
            return []
        configured = self.profile_list
        if callable(configured):
            configured = await maybe_future(configured(self))
        return profiles.read(configured or [])

    @validate("profile_list")
    def _check_profile_list(self, proposal: AnyType) -> AnyType:
        if not callable(proposal["value"]) and _is_ours(proposal["trait"]):
            try:
                profiles.read(proposal["value"])
            except ValueError as error:
                raise TraitError(f"Spawner.profile_list: {error}") from error
        return proposal["value"]

    def run_options_from_form(self, form_data: dict[str, AnyType]) -> AnyType:
        """Call ``options_from_form``, with the spawner if it takes one; may give something to await."""
        function = self.options_from_form
        try:
            takes_spawner = "spawner" in inspect.signature(function).parameters
        except (TypeError, ValueError):
            takes_spawner = False
        if function == self._passthrough_options_from_form and self.profile_list:
            return self._options_of_profile(form_data)
        return function(form_data, spawner=self) if takes_spawner else function(form_data)

    async def _options_of_profile(self, form_data: dict[str, AnyType]) -> dict[str, AnyType]:
        offered = await self._profiles()
        return dict(profiles.options_from_form(offered, form_data)) if offered else form_data

    def options_from_query(self, query_data: dict[str, AnyType]) -> AnyType:
        """Turn the query of a spawn URL (a dict of lists of strings) into ``user_options``; as a form by default."""
        return self.run_options_from_form(query_data)

    @staticmethod
    def _passthrough_options_from_form(form_data: dict[str, AnyType]) -> dict[str, AnyType]:
        return form_data

    @staticmethod
    def _simple_options_from_form(form_data: dict[str, AnyType]) -> dict[str, AnyType]:
        options: dict[str, AnyType] = {}
        for name, values in form_data.items():
            value = values[0] if isinstance(values, (list, tuple)) and len(values) == 1 else values
            options[name] = True if value == "on" else value
        return options

    def run_apply_user_options(self, user_options: dict[str, AnyType] | None = None) -> AnyType:
        """Let ``user_options`` change this spawner; may give something to await. An exception: they are wrong."""
        options = self.user_options if user_options is None else user_options
        return self._apply_profile_and_options(options) if self.profile_list else self._apply_options(options)

    async def _apply_profile_and_options(self, options: dict[str, AnyType]) -> None:
        """Apply what follows from the profile, then what the deployment does with the options beyond it."""
        if offered := await self._profiles():
            for attribute, value, is_text in list(profiles.overrides(offered, options)):
                if is_text:
                    self._set_from_text(attribute, value)
                else:
                    self._override(attribute, value(self) if callable(value) else value, "profile_list")
        await maybe_future(self._apply_options(options))

    def _apply_options(self, options: dict[str, AnyType]) -> AnyType:
        how = self.apply_user_options
        if not how:
            return None
        if callable(how):
            return how(self, options)
        for option, attribute in how.items():
            if option in options:
                self._set_from_text(attribute, options[option])
        return None

    def _set_from_text(self, attribute: str, value: AnyType) -> None:
        trait = self.traits().get(attribute)
        if trait is None and not hasattr(self, attribute):
            raise AttributeError(
                f"{type(self).__name__} has no attribute {attribute!r} (see Spawner.apply_user_options)"
            )
        if trait is not None and isinstance(value, str):
            try:
                value = trait.from_string(value)
            except TraitError:
                raise
            except Exception as error:
                raise ValueError(f"{value!r} is no value for {attribute}: {error}") from error
        setattr(self, attribute, value)

    def apply_group_overrides(self) -> AnyType:
        """Apply ``group_overrides``; may give something to await. Called before each start."""
        overrides = self.group_overrides
        if callable(overrides):
            overrides = overrides(self)
        if inspect.isawaitable(overrides):
            return self._apply_group_overrides_later(overrides)
        self._apply_group_overrides(overrides)
        return None

    async def _apply_group_overrides_later(self, overrides: Awaitable[AnyType]) -> None:
        self._apply_group_overrides(await overrides)

    def _apply_group_overrides(self, overrides: Mapping[str, Mapping[str, AnyType]] | None) -> None:
        groups = {group.name for group in self.user.groups}
        for key in sorted(overrides or {}):
            override = (overrides or {})[key]
            if groups.isdisjoint(override["groups"]):
                continue
            for attribute, value in override["spawner_override"].items():
                self._override(attribute, value(self) if callable(value) else value)

    def _override(self, attribute: str, value: AnyType, setting: str = "group_overrides") -> None:
        if not hasattr(self, attribute):
            self.log.warning("%s sets %s, which %s does not have", setting, attribute, type(self).__name__)
        current = getattr(self, attribute, None)
        if isinstance(value, Mapping) and isinstance(current, dict):
            # a copy: the value that all spawners share comes from the configuration
            merged = {name: dict(one) if isinstance(one, dict) else one for name, one in current.items()}
            recursive_update(merged, value)
            value = merged
        setattr(self, attribute, value)

    # -- hooks from the configuration

    def run_pre_spawn_hook(self) -> AnyType:
        """Call ``pre_spawn_hook``; may give something to await. What it raises prevents the start."""
        return self.pre_spawn_hook(self) if self.pre_spawn_hook else None

    def run_post_stop_hook(self) -> AnyType:
        """Call ``post_stop_hook``; may give something to await. Errors are logged and go no further."""
        if not self.post_stop_hook:
            return None
        try:
            result = self.post_stop_hook(self)
        except Exception:
            self.log.exception("post_stop_hook failed for %s", self._log_name)
            return None
        return self._log_errors_of(result) if inspect.isawaitable(result) else result

    async def _log_errors_of(self, result: Awaitable[AnyType]) -> AnyType:
        try:
            return await result
        except Exception:
            self.log.exception("post_stop_hook failed for %s", self._log_name)

    async def run_auth_state_hook(self, auth_state: AnyType) -> None:
        """Call ``auth_state_hook`` with the user's auth state."""
        if self.auth_state_hook:
            await maybe_future(self.auth_state_hook(self, auth_state))

    # -- progress

    async def progress(self) -> AsyncIterator[dict[str, AnyType]]:
        """Tell what a start is doing: dicts with ``progress`` (0 to 100), ``message`` and perhaps ``html_message``.

        Read once per start on the hub that drives it, and shown on all; it is left unfinished when the start has ended.
        """
        yield {"progress": 50, "message": "Spawning server..."}

    async def _generate_progress(self) -> AsyncIterator[dict[str, AnyType]]:
        """Give the events of ``progress`` until the start has ended."""
        if not self._spawn_pending:
            self.log.warning("%s is not starting: there is no progress to tell", self._log_name)
            return
        events: AnyType = self.progress()
        if self._spawn_future is not None:
            events = iterate_until(self._spawn_future, events)
        async with aclosing(events):
            async for event in events:
                yield event

    # -- the end of the server's life

    def delete_forever(self) -> AnyType:
        """Delete what outlives a stop, such as volumes. May be a coroutine.

        Called once, on one hub, when the server (or its user) is deleted for good; errors are logged and go no further.
        """

    async def rename(self, old: str, new: str) -> None:
        """Prepare for another name of the server; raise to forbid it. Called while the server is stopped."""

    # -- internal SSL

    def create_certs(self) -> AnyType:
        """Make key and certificate of the server; give ``{"keyfile", "certfile", "cafile"}``. May be a coroutine.

        Called before each ``start``, after the hooks, if the hub has ``internal_ssl``. The files are new each time.
        """
        from . import certificates  # cryptography takes long to import, and only internal_ssl needs it

        names = self.ssl_alt_names
        alt_names = list(names(self) if callable(names) else names)
        if self.ssl_alt_names_include_local:
            alt_names = [*certificates.LOCAL_NAMES, *alt_names]
        keyfile, certfile = certificates.issue(
            self.internal_certs_location, certificates.name_of("user", self.user.name, self.name), alt_names=alt_names
        )
        cafile = self.internal_trust_bundles[certificates.SERVERS_AUTHORITY]
        return {"keyfile": keyfile, "certfile": certfile, "cafile": cafile}

    def move_certs(self, paths: dict[str, str]) -> AnyType:
        """Bring the files of ``create_certs`` to where the server finds them; give the paths there. May be a coroutine.

        By default nothing is moved, because only the Spawner knows how to reach the server's file system.
        """
        return paths

    # -- polling, for plugins: the hub has a rhythm of its own

    def add_poll_callback(self, callback: Callable[..., AnyType], *args: AnyType, **kwargs: AnyType) -> None:
        """Have ``callback`` called once, when it is noticed that the server has ended by itself."""
        if args or kwargs:
            self._callbacks.append(lambda: callback(*args, **kwargs))
        else:
            self._callbacks.append(callback)

    def start_polling(self) -> None:
        """Look every ``poll_interval`` seconds whether the server still runs. Calling it again is harmless."""
        if self.poll_interval <= 0:
            return
        self.stop_polling()
        self._poll_callback = PeriodicCallback(
            self.poll_and_notify, 1000 * self.poll_interval, jitter=self.poll_jitter * random.uniform(0.5, 1)
        )
        self._poll_callback.start()

    def stop_polling(self) -> None:
        """Stop looking. Calling it again is harmless."""
        if self._poll_callback is not None:
            self._poll_callback.stop()
            self._poll_callback = None

    async def poll_and_notify(self) -> int | None:
        """Look now; if the server has ended, call the callbacks (once) and give its status, else None."""
        status = await maybe_future(self.poll())
        if status is None:
            return None
        self.stop_polling()
        callbacks, self._callbacks = list(self._callbacks), []
        for callback in callbacks:
            try:
                await maybe_future(callback())
            except Exception:
                self.log.exception("a poll callback failed for %s", self._log_name)
        return int(status)

    async def wait_for_death(self, timeout: float = 10) -> bool:
        """Wait until ``poll`` says that the server has ended; False if it still runs after ``timeout`` seconds."""

        async def has_ended() -> bool:
            return await maybe_future(self.poll()) is not None

        try:
            return bool(
                await exponential_backoff(
                    has_ended,
                    "the server still runs",
                    start_wait=self.death_interval,
                    max_wait=max(1.0, self.death_interval),
                    timeout=timeout,
                    timeout_tolerance=0,
                )
            )
        except AnyTimeoutError:
            return False


def set_user_setuid(username: str, chdir: bool = True) -> Callable[[], None]:
    """Make a ``preexec_fn`` that turns the new process into a system user (see ``spawners/processes.py``); KeyError."""
    return become(username, chdir=chdir)


class LocalProcessSpawner(Spawner):
    """Starts servers as processes on this machine, each as the system user of the same name.

    Needs a hub that runs as root, or one that serves only the user that it runs as. The process gets a session of its
    own and outlives the hub; it is found again by pid, start time and boot, never by pid alone. ``mem_limit``,
    ``cpu_limit`` and the guarantees are enforced by control groups, where the hub may make them.

    A server that is the usual one is not executed but forked from a process that has imported everything already
    (``localproc``), which takes a fraction of time and memory; what does not fit is executed.
    """

    fast_start = Bool(
        True,
        help="""Fork servers from a warm process instead of executing `cmd`, whenever that comes to the same. The log,
        the progress of the start and the server's state tell which way it went. All servers that are forked from one
        process have the same memory layout; turn it off where users must be protected from each other's attacks on
        memory (see docs/local-servers.md).""",
    ).tag(config=True)
    fast_kernels = Bool(
        False,
        help="""Fork Python kernels from a warm process of the user's own, which their server makes after their first
        kernel. It takes memory of its own, which kernels save from the third one on. In other spawners the variable
        JUPYTERHUB_FAST_KERNELS=1 in a server's environment does the same.""",
    ).tag(config=True)
    may_gain_rights = Bool(
        True,
        help="""Whether programs in a server may have more rights than its user: sudo, su, ping. If not, the process
        gets the attribute `no_new_privs` and an empty capability bounding set.""",
    ).tag(config=True)

    interrupt_timeout = Integer(30, help="Seconds to wait for the end after SIGINT, before SIGTERM.").tag(config=True)
    term_timeout = Integer(30, help="Seconds to wait for the end after SIGTERM, before SIGKILL.").tag(config=True)
    kill_timeout = Integer(5, help="Seconds to wait for the end after SIGKILL.").tag(config=True)
    popen_kwargs = Dict(
        help="""Further keyword arguments for subprocess.Popen, such as `cwd` or `stdout`; not `env`. A `preexec_fn`
        runs before the process becomes the user, with all rights of the hub."""
    ).tag(config=True)
    shell_cmd = Command(
        [],
        minlen=0,
        help="""A shell that starts the server, such as `["bash", "-l", "-c"]`; it gets the whole command as one more
        argument.""",
    ).tag(config=True)

    proc = Instance(Popen, allow_none=True)
    pid = Integer(0)

    #: the process that ``pid`` means, None if there is none
    _process: ProcessId | None = None
    _status: int | None = None
    _port_was_chosen = False
    #: whether servers run as users of their own, if the hub may start them so
    _switches_users = True
    #: how the server was started: ``fork``, ``exec``, or "" before it is known; and why not by a fork
    _started_by, _why_executed = "", ""
    #: whether the broker keeps its exit status
    _is_of_broker = False
    _way_is_known: asyncio.Event | None = None

    @default("env_keep")
    def _default_env_keep(self) -> list[str]:
        return [
            "PATH",
            "PYTHONPATH",
            "CONDA_ROOT",
            "CONDA_DEFAULT_ENV",
            "VIRTUAL_ENV",
            "LANG",
            "LC_ALL",
            "LD_LIBRARY_PATH",
            "JUPYTERHUB_SINGLEUSER_APP",
        ]

    # -- who it runs as

    def make_preexec_fn(self, name: str) -> Callable[[], AnyType]:
        """Make the function that the child runs before the command: it becomes the user, or ends. KeyError: no such."""
        return set_user_setuid(name)

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        """Add what a login would set: USER, HOME, SHELL."""
        entry = pwd.getpwnam(self.user.name)
        env["USER"] = self.user.name
        if entry.pw_dir:
            env["HOME"] = entry.pw_dir
        if entry.pw_shell:
            env["SHELL"] = entry.pw_shell
        return env

    def get_env(self) -> dict[str, str]:
        env = super().get_env()
        if self.fast_kernels:
            env["JUPYTERHUB_FAST_KERNELS"] = "1"
        return self.user_env(env)

    async def move_certs(self, paths: dict[str, str]) -> dict[str, str]:
        """Move the files to the user's home: those of the hub are for the hub alone.

        The user writes them, not the hub: in a home the path may lead anywhere.
        """
        if self._uid() == os.geteuid():
            return paths
        home, own = pwd.getpwnam(self.user.name).pw_dir, os.path.basename(os.path.dirname(paths["keyfile"]))
        folder = os.path.join(home, ".jupyterhub", "jupyterhub-certs", own)
        moved = {kind: os.path.join(folder, os.path.basename(path)) for kind, path in paths.items()}
        command = ["/bin/sh", "-c", WRITE_CERTIFICATES, "sh", folder]
        command += [moved[kind] for kind in ("keyfile", "certfile", "cafile")]
        env = {"PATH": os.defpath}
        for kind, path in paths.items():
            env[kind] = await asyncio.to_thread(Path(path).read_text)
        try:
            status = await self._run_as_user(command, env)
        except (SubprocessError, TimeoutError):
            status = -1
        if status != 0:
            raise RuntimeError(
                f"The certificate of the server cannot be written to {folder}, as the user {self.user.name}"
            )
        os.unlink(paths["keyfile"])
        return moved

    async def _run_as_user(self, command: Sequence[str], env: Mapping[str, str]) -> int:
        """Run a short program as the user; give its exit status."""
        if not self._is_brokered:
            done = await asyncio.to_thread(
                subprocess.run, command, env=env, stdin=DEVNULL, timeout=30, preexec_fn=become(self.user.name)
            )
            return int(done.returncode)
        start = Start(
            argv=tuple(command), env=env, directory=None, umask=0o077, limits=present_limits(), may_gain_rights=False
        )
        try:
            waiting = await self._broker.start(start, user=self.user.name)
        except (Refused, Unavailable) as error:
            raise self._cannot_become() from error
        try:
            process = ProcessId.of(waiting.pid)
            await waiting.let_go()
        finally:
            waiting.close()
        if process is None or not await process.wait_gone(within_s=30):
            raise TimeoutError
        return await exit_status(self._broker, process) or 0

    # -- state

    def load_state(self, state: Mapping[str, AnyType]) -> None:
        super().load_state(state)
        self._process = ProcessId.from_state(state)
        self._started_by, self._why_executed = str(state.get("started_by", "")), str(state.get("why_executed", ""))
        self._is_of_broker = bool(state.get("is_of_broker"))
        if self._process is not None and self._process.start_time is None:
            self._process = self._recognise(self._process)
        self.pid = self._process.pid if self._process else 0

    def get_state(self) -> dict[str, AnyType]:
        state = super().get_state()
        self._look_at_pid()
        if self.pid:
            state.update(self._process.to_state() if self._process else {"pid": self.pid})
            if self._started_by:
                state["started_by"] = self._started_by
            if self._why_executed:
                state["why_executed"] = self._why_executed
            if self._is_of_broker:
                state["is_of_broker"] = True
        return state

    def clear_state(self) -> None:
        super().clear_state()
        self.pid = 0
        self.proc = None
        self._process = None
        self._status = None
        self._started_by = self._why_executed = self.end_message = ""
        self._is_of_broker = False
        self._way_is_known = asyncio.Event()

    def _look_at_pid(self) -> None:
        """Note which process ``pid`` means, where a subclass that starts it in its own way has set that alone."""
        if self.pid and self.proc is None and self._process is None and self._status is None:
            self._process = ProcessId.of(self.pid)

    def _recognise(self, process: ProcessId) -> ProcessId | None:
        """From the original we have a pid alone: believe it only if what runs there can be what it started."""
        stat = read_stat(process.pid)
        if stat is None:
            return ProcessId.of(process.pid)  # no /proc on this system; None if nothing runs
        leads_session = stat.session == process.pid or not self.popen_kwargs.get("start_new_session", True)
        if stat.is_dead or not leads_session or stat.uid != self._uid():
            self.log.warning("%s: process %s is not the server any more", self._log_name, process.pid)
            return None
        return ProcessId.of(process.pid)

    def _uid(self) -> int | None:
        """The uid that servers of this user run with; None if there is no such system user."""
        try:
            return pwd.getpwnam(self.user.name).pw_uid
        except KeyError:
            return None

    # -- start, poll, stop

    async def start(self) -> tuple[str, int]:
        if self.port == 0 or self._port_was_chosen:
            self.port = random_port()
            self._port_was_chosen = True
        command = [*(self.cmd or ()), *self.get_args()]
        if self.shell_cmd:
            command = [*self.shell_cmd, shlex.join(command)]
        try:
            env = {name: str(value) for name, value in self.get_env().items() if value is not None}
            options = self._popen_options()
        except KeyError as error:
            if self._uid() is not None:
                raise
            raise self._no_such_user() from error
        if await self._is_forked(command, env):
            return self.ip or "127.0.0.1", self.port
        self.log.info("Spawning %s", shlex.join(command))
        try:
            if self._is_brokered:
                await self._execute_by_broker(command, env)
            elif not await self._is_executed_by_broker(command, env):
                await self._execute(command, env, options)
        except PermissionError:
            self.log.error("Permission denied: is %s executable for %s?", command[0], self.user.name)
            raise
        return self.ip or "127.0.0.1", self.port

    async def _execute(self, command: Sequence[str], env: Mapping[str, str], options: dict[str, AnyType]) -> None:
        become_user = options.pop("preexec_fn")

        def start(gate: Callable[[], None]) -> Popen[bytes]:
            def preexec() -> None:
                become_user()
                gate()

            return Popen(command, env=env, preexec_fn=preexec, **options)

        try:
            # Executed only after its number is in the database: a hub killed in between leaves no process behind.
            self.proc = await start_behind_gate(start, self._keep)
        except SubprocessError as error:
            raise self._cannot_become() from error

    # -- the fast way

    async def _is_forked(self, command: Sequence[str], env: Mapping[str, str]) -> bool:
        """Start the server from a warm process; False if it must be executed, and then nothing has happened."""
        try:
            if why_not := self._why_not_fast():
                raise DoesNotFit(why_not)
            waiting = await self._fast_start().start(
                command,
                env,
                user=self._system_user(),
                directory=self._directory(),
                ip=self.ip,
                port=self.port,
                may_gain_rights=self.may_gain_rights,
            )
        except DoesNotFit as reason:
            self._tell_way("exec", str(reason))
            return False
        self._tell_way("fork")
        await self._let_go(waiting)
        return True

    async def _let_go(self, waiting: Waiting) -> None:
        """Let a process of the broker's go on once its number is in the database."""
        self._is_of_broker = True
        try:
            await self._keep(waiting.pid)
            await waiting.let_go()
        finally:
            waiting.close()

    async def _execute_by_broker(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        """Have a program executed as the user, where this hub may not become that user itself."""
        if self.popen_kwargs or not self._has_own_preexec():
            raise RuntimeError(
                "A hub that is not root has its servers started by a broker, which does not know popen_kwargs or a "
                "make_preexec_fn. Leave them away, or run the hub as root."
            )
        try:
            waiting = await self._broker.start(self._cold(command, env), user=self._system_user())
        except (Refused, Unavailable) as error:
            raise self._cannot_become() from error
        await self._go_on(waiting, command)

    async def _is_executed_by_broker(self, command: Sequence[str], env: Mapping[str, str]) -> bool:
        """Have a program executed by the broker, where it is no more than a help; False if nothing has happened.

        A fork of its small process takes a tenth of the time that one of the hub's takes, which the hub stands still.
        """
        if not self._may_use_broker:
            return False
        start, user = self._cold(command, env), self._system_user()
        try:
            waiting = await self._broker.start(start, user=user, within_s=KNOWN_LIMIT_S)
        except (Refused, Unavailable) as reason:
            self.log.debug("%s: the broker did not execute it: %s", self._log_name, reason)
            return False
        await self._go_on(waiting, command)
        return True

    @property
    def _may_use_broker(self) -> bool:
        is_known = not self.popen_kwargs and self._has_own_preexec() and type(self).start is LocalProcessSpawner.start
        return self.fast_start and sys.platform.startswith("linux") and is_known

    def _cold(self, command: Sequence[str], env: Mapping[str, str]) -> Start:
        return Start(
            argv=tuple(command),
            env=env,
            directory=self._directory(),
            umask=present_umask(),
            limits=present_limits(),
            may_gain_rights=self.may_gain_rights,
        )

    async def _go_on(self, waiting: Waiting, command: Sequence[str]) -> None:
        """Let a process of the broker's execute its program; OSError if it cannot be executed."""
        try:
            await self._let_go(waiting)
        except Refused as error:
            if self._process is not None:  # it has told us, and is about to end
                await self._process.wait_gone(within_s=self.kill_timeout)
            if error.error_number is None:
                raise self._cannot_become() from error
            raise OSError(error.error_number, os.strerror(error.error_number), command[0]) from error

    def _tell_way(self, started_by: str, why_not: str = "") -> None:
        self._started_by, self._why_executed = started_by, why_not
        if self._way_is_known is not None:
            self._way_is_known.set()
        if started_by == "fork":
            self.log.info("%s: forking the server from a warm process", self._log_name)
        else:
            level = logging.INFO if self.fast_start else logging.DEBUG
            self.log.log(level, "%s: executing the server: %s", self._log_name, why_not)

    def _why_not_fast(self) -> str:
        """What in this spawner's own settings keeps a server from being forked; empty if nothing does."""
        if not self.fast_start:
            return "fast_start is off"
        if not sys.platform.startswith("linux"):
            return f"warm processes need Linux, not {sys.platform}"
        if self.shell_cmd:
            return "shell_cmd is set"
        if self.popen_kwargs:
            return "popen_kwargs is set"
        if self.internal_ssl:
            return "internal_ssl is on"
        if not self._has_own_preexec():
            return f"{type(self).__name__} has a make_preexec_fn of its own"
        return ""

    def _has_own_preexec(self) -> bool:
        """Whether what happens between fork and exec is what we know."""
        own = {LocalProcessSpawner.make_preexec_fn, SimpleLocalProcessSpawner.make_preexec_fn}
        return type(self).make_preexec_fn in own

    async def warm_up(self) -> None:
        """Have a warm process made before the first server is asked for. Called once, on a spawner without a user."""
        if not self._why_not_fast():
            env = {name: os.environ[name] for name in self.env_keep if name in os.environ}
            await self._fast_start().warm_up(self.cmd, env)
        if self._may_use_broker:
            await self._broker.connect()

    @property
    def _broker(self) -> BrokerClient:
        return broker_at(configured_broker() if self._switches_users else None)

    @property
    def _is_brokered(self) -> bool:
        """Whether a broker that is root starts the servers of a hub that is not: it must do all that takes rights."""
        return self._switches_users and os.geteuid() != 0 and configured_broker() is not None

    def _fast_start(self) -> FastStart:
        switches_users = self._switches_users and (os.geteuid() == 0 or self._is_brokered)
        return FastStart(broker=self._broker, switches_users=switches_users)

    def _system_user(self) -> str | None:
        """The system user that the server runs as; None: the one that the hub runs as."""
        return str(self.user.name) if self._switches_users else None

    def _directory(self) -> str | None:
        """Where the server runs; None: in the home of its user."""
        return None

    async def progress(self) -> AsyncIterator[dict[str, AnyType]]:
        async for event in super().progress():
            yield event
        if self._way_is_known is not None:
            await self._way_is_known.wait()
            if self._started_by == "fork":
                yield {"progress": 60, "message": "Forked from a warm process"}
            elif self.fast_start:
                yield {"progress": 60, "message": f"Started from the beginning: {self._why_executed}"}

    async def _keep(self, pid: int) -> None:
        """Note the number of the process that waits to become the server, and have the hub write it down."""
        self._status = None
        self.pid = pid
        # a child that has already ended is no process any more; its status is with `proc`
        self._process = ProcessId.of(pid)
        await self._limit()
        if self.save_state_early is not None:
            await self.save_state_early()

    async def _limit(self) -> None:
        """Put the process, which has not begun yet, into a control group, if anything is limited."""
        limits = cgroups.Limits(
            memory=self.mem_limit,
            memory_guarantee=self.mem_guarantee,
            processors=self.cpu_limit,
            processors_guarantee=self.cpu_guarantee,
        )
        if not limits or self._process is None:
            return
        pid, start_time = self._process.pid, self._process.start_time
        try:
            if self._is_brokered:
                await self._broker.limit(pid, start_time or 0, limits)
            else:
                cgroups.Group.make(pid, start_time, limits)
        except (cgroups.Unavailable, Refused, Unavailable) as error:
            self.log.warning("%s: its limits are told to it but not enforced: %s", self._log_name, error)

    async def _close_group(self) -> None:
        """Look whether the process was ended for its memory; end and remove what is left of its control group."""
        if self._process is None:
            return
        is_short, is_gone = await self._end_group(self._process)
        if is_short:
            limit = f" of {self.mem_limit / 1024**2:,.0f} MiB" if self.mem_limit else ""
            self.end_message = (
                f"The server needed more memory than its limit{limit} and was ended. Start it again and load less at "
                "once, or ask for more memory."
            )
        for _ in range(_GROUP_LOOKS):
            if is_gone:
                return
            await asyncio.sleep(_GROUP_PAUSE_S)
            _, is_gone = await self._end_group(self._process)

    async def _end_group(self, process: ProcessId) -> tuple[bool, bool]:
        """Whether the kernel has killed something in the process's control group; whether the group is gone now."""
        if self._is_brokered:
            try:
                return await self._broker.end_group(process.pid, process.start_time or 0)
            except (Refused, Unavailable) as error:
                self.log.warning("%s: what is left of its control group stays: %s", self._log_name, error)
                return False, True
        group = cgroups.Group.of(process.pid, process.start_time)
        return group.was_short_of_memory(), group.end()

    def _popen_options(self) -> dict[str, AnyType]:
        configured = dict(self.popen_kwargs)
        configured.pop("env", None)
        first = configured.pop("preexec_fn", None)
        become_user = self.make_preexec_fn(self.user.name)
        gains_nothing = not self.may_gain_rights and sys.platform.startswith("linux")
        if gains_nothing:
            kernel_calls.prepare()

        def preexec() -> None:
            heed_interrupts()
            if first is not None:
                first()
            if gains_nothing:
                kernel_calls.give_up_gains(is_privileged=os.geteuid() == 0)
            if become_user is not None:
                become_user()

        return {"stdin": DEVNULL, "start_new_session": True, **configured, "preexec_fn": preexec}

    def _no_such_user(self) -> Exception:
        name = self.user.name
        error = RuntimeError(
            f"There is no system user {name!r} on this machine, so no server can run as this user. Create it, set "
            "LocalAuthenticator.create_system_users, or choose a spawner that needs no system users."
        )
        error.jupyterhub_message = f"There is no system user {name!r} on this machine."  # type: ignore[attr-defined]
        return error

    def _cannot_become(self) -> Exception:
        return PermissionError(
            f"The new process could not become the user {self.user.name!r} (the line above says why), and was ended. A "
            f"hub that is not root (this one has uid {os.geteuid()}) can start servers only for the user that it runs "
            "as; SimpleLocalProcessSpawner starts all of them as that one user."
        )

    async def poll(self) -> int | None:
        if not self.pid:
            return 0
        if self._status is None:
            status = await self._exit_status()
            if status is not None:
                await self._close_group()
            self._status = status
        return self._status

    async def _exit_status(self) -> int | None:
        if self.proc is not None:
            return self.proc.poll()
        self._look_at_pid()
        if self._process is not None and self._process.is_alive():
            return None
        if self._is_of_broker and self._process is not None:
            return await exit_status(self._broker, self._process) or 0
        # of a server that was started before this hub's life nobody kept the status, unless it is a child of ours
        stat = read_stat(self.pid)
        return (reap(self.pid) if stat is not None and stat.is_dead and stat.parent == os.getpid() else None) or 0

    async def wait_for_exit(self, *, within_s: float | None = None) -> bool:
        """Wait until the process has ended, woken by the kernel where it can; False after ``within_s`` seconds.

        For a hub that would rather not poll: a server that dies while it starts is noticed at once.
        """
        if await self.poll() is not None or self._process is None:
            return await self.poll() is not None
        await self._process.wait_gone(within_s=within_s)
        return await self.poll() is not None

    async def stop(self, now: bool = False) -> None:
        """End the process: SIGINT, SIGTERM, SIGKILL, each with its time limit; with ``now`` from SIGTERM on.

        SIGKILL goes to all that is left of its session's first process group. Calling it again is harmless.
        """
        steps: Sequence[tuple[str, int, float]] = (
            ("SIGINT", signal.SIGINT, float(self.interrupt_timeout)),
            ("SIGTERM", signal.SIGTERM, float(self.term_timeout)),
            ("SIGKILL", signal.SIGKILL, float(self.kill_timeout)),
        )
        for name, signum, within_s in steps[1 if now else 0 :]:
            if await self.poll() is not None:
                return
            self.log.debug("%s: sending %s to process %s", self._log_name, name, self.pid)
            await self._signal(signum)
            if await self._gone(within_s):
                return
        raise RuntimeError(
            f"Process {self.pid} of {self._log_name} still runs {self.kill_timeout} s after SIGKILL. It probably waits "
            "for a file system that does not answer."
        )

    async def _gone(self, within_s: float) -> bool:
        if self._process is None:
            return await self.wait_for_death(within_s)
        return await self.wait_for_exit(within_s=within_s)

    async def _signal(self, signum: int) -> bool:
        """Send the process a signal; False if it is gone. Subclasses that may not send it themselves override this."""
        if self._process is None:
            if self.proc is not None:
                self.proc.send_signal(signum)
            return self.proc is not None
        if self._is_brokered and self._process.start_time is not None:
            to_group = signum == signal.SIGKILL
            return await self._broker.send_signal(
                self._process.pid, self._process.start_time, signum, to_group=to_group
            )
        if signum == signal.SIGKILL:
            self._process.send_to_group(signum)
            return True
        return self._process.send(signum)


class SimpleLocalProcessSpawner(LocalProcessSpawner):
    """Starts all servers as the user that the hub runs as: for trying things out, with nothing between the users.

    Everybody can read and change everything of everybody, the hub's own files included.
    """

    home_dir_template = Unicode(
        "/tmp/{username}", help="The home directory of a user, created if it is missing; {username} is the user's name."
    ).tag(config=True)
    home_dir = Unicode()

    _switches_users = False

    @default("home_dir")
    def _default_home_dir(self) -> str:
        return self.home_dir_template.format(username=self.user.name, userid=getattr(self.user, "id", 0))

    def make_preexec_fn(self, name: str) -> Callable[[], AnyType]:
        home = self.home_dir
        try:
            os.makedirs(home, mode=0o700, exist_ok=True)
            if os.stat(home).st_uid != os.geteuid():
                self.log.warning(
                    "%s, the home of %s, belongs to another user, who controls what runs there", home, name
                )
        except OSError as error:
            self.log.warning("the home directory %s of %s cannot be made: %s", home, name, error)

        def preexec() -> None:
            enter(home)

        return preexec

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        env["USER"] = self.user.name
        env["HOME"] = self.home_dir
        env["SHELL"] = "/bin/bash"
        return env

    async def move_certs(self, paths: dict[str, str]) -> dict[str, str]:
        """All servers run as the same user as the hub: the files can stay where they are."""
        return paths

    def _uid(self) -> int | None:
        return os.geteuid()

    def _directory(self) -> str | None:
        return self.home_dir


def _is_ours(trait: AnyType) -> bool:
    """Say whether a trait is Spawner's own: plugins may have another of the same name."""
    return trait.this_class is Spawner
