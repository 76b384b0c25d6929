"""The contract of authenticators: the classes that plugins subclass to say who somebody is and who may enter.

An Authenticator is made once per hub process; with several hubs each has its own, and a request may reach any of them:
whatever must be known on all of them belongs into ``auth_state``. What follows from a login (user row, groups, roles,
cookies) is the hub's (``hub/login.py``).
"""

from __future__ import annotations

import grp
import inspect
import os
import pwd
import re
import shutil
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from hmac import compare_digest
from shlex import join as shell_join
from subprocess import PIPE, STDOUT, Popen
from typing import Any as AnyType

from tornado.concurrent import run_on_executor
from tornado.util import import_object
from traitlets import Any, Bool, Dict, Integer, Set, Unicode, default, observe
from traitlets.config import LoggingConfigurable

from .localproc.client import Refused, Unavailable, ask_pam, configured_broker
from .traitlets import Command
from .utils import maybe_future, safe_log, url_path_join
from .words.names import is_valid_user_name

__all__ = ["Authenticator", "DummyAuthenticator", "LocalAuthenticator", "NullAuthenticator", "PAMAuthenticator"]

#: the ``pamela`` package, once a PAMAuthenticator was made: it loads libpam, which other hubs may not have
pamela: AnyType = None


class Authenticator(LoggingConfigurable):
    """Says who a visitor is (``authenticate``) and whether they may enter (``check_allowed``).

    Made with ``parent``, the application. Methods may be coroutines where that is said; plain ones must not block. An
    HTTPError that a method raises during a login decides the status and message of the answer; any other exception is
    our 500.
    """

    _deprecated_db_session = Any()
    db = Any()

    enable_auth_state = Bool(
        False,
        help="""Keep what the authenticator wants to remember of a login (`auth_state`), encrypted, in the database.
        Needs an encryption key (see CryptKeeper.keys), without which the hub does not start.""",
    ).tag(config=True)
    auth_refresh_age = Integer(
        300,
        help="Seconds after which a user is checked again by `refresh_user`. 0: never, not even before a start.",
    ).tag(config=True)
    auth_refresh_strict = Bool(
        False,
        help="""Refuse requests with a token, and those that concern another user, when the check says that the user
        must log in again. If false, only the user's own browser is asked to log in.""",
    ).tag(config=True)
    refresh_pre_spawn = Bool(
        False, help="Check the user before each start of a server, so that it begins with fresh credentials."
    ).tag(config=True)
    refresh_pre_stop = Bool(False, help="Check the user before each stop of a server.").tag(config=True)
    admin_users = Set(
        help="""Names of users that become admins at start and at login. Taking a name out of the list takes no rights
        away: do that on the admin page."""
    ).tag(config=True)
    allow_all = Bool(
        False, help="Let everybody in who can log in. Without it somebody must be allowed by another rule."
    ).tag(config=True, allow_config=True)
    allow_existing_users = Bool(
        help="""Let everybody in who has a user in the database; when true, users that are added on the admin page may
        log in too. Default: true if `allowed_users` is set."""
    ).tag(config=True, allow_config=True)
    allowed_users = Set(help="Names of users that may log in. They are added to the database at start.").tag(
        config=True
    )
    blocked_users = Set(
        help="""Names of users that may not log in, whatever else allows them. At start they lose their roles, groups,
        admin rights and running servers."""
    ).tag(config=True)
    any_allow_config = Bool(
        help="""Whether any rule lets anybody in: by default, whether any setting is true whose name begins with
        `allow`. If not, there is a warning at start; set it in a subclass that has rules of another kind."""
    ).tag(config=True)
    whitelist = Set(help="Deprecated: use `allowed_users`.").tag(config=True)
    username_map = Dict(
        help="""User names that are replaced by others: keys are names in lower case as they come from the login,
        values those that the hub uses."""
    ).tag(config=True)
    username_pattern = Unicode(
        help="A regular expression that names must match from their beginning; end it with `$` to cover the whole name."
    ).tag(config=True)
    username_regex = Any(help="`username_pattern`, compiled")
    delete_invalid_users = Bool(
        False,
        help="""Delete users from the database at start that the authenticator does not know any more (`add_user`
        fails). Off, because a directory service that does not answer once would cost all of them.""",
    ).tag(config=True)
    auto_login = Bool(
        False, help="Send visitors straight to the login service instead of showing a page with a button first."
    ).tag(config=True)
    auto_login_oauth2_authorize = Bool(
        False, help="As `auto_login`, but only for visitors that a server or service sends to log in."
    ).tag(config=True)
    manage_groups = Bool(
        False, help="Let the authenticator say in which groups a user is; other memberships end at the next login."
    ).tag(config=True)
    manage_roles = Bool(False, help="Let the authenticator define roles and say who has them.").tag(config=True)
    reset_managed_roles_on_startup = Bool(
        False, help="At start take away all that `manage_roles` has given and `load_managed_roles` does not give again."
    ).tag(config=True)
    post_auth_hook = Any(
        help="""A function of authenticator, handler and the result of a login, called after all checks; gives the
        result to use, None to refuse. May be a coroutine."""
    ).tag(config=True)
    reconcile_auth_state_hook = Any(
        help="""A function of authenticator, the result of a login and the auth_state kept so far (or None), that
        gives the auth_state to keep. May be a coroutine."""
    ).tag(config=True)
    request_otp = Bool(False, help="Ask for a one-time password beside the password.").tag(config=True)
    otp_prompt = Any("OTP:", help="The label of the field for one-time passwords.").tag(config=True)

    #: what the login button says after "Sign in with"; empty for a form with name and password
    login_service = Unicode()
    #: HTML instead of the login form, a template (see ``get_custom_html``)
    custom_html = Unicode()

    #: old name of a setting → (its name, the version that renamed it); subclasses may add to it
    _deprecated_aliases: dict[str, tuple[str, str]] = {"whitelist": ("allowed_users", "1.2")}
    #: old name of a method → its name
    _deprecated_methods: dict[str, str] = {
        "check_whitelist": "check_allowed",
        "check_blacklist": "check_blocked_users",
        "check_group_whitelist": "check_allowed_groups",
    }

    def __init__(self, **kwargs: AnyType) -> None:
        super().__init__(**kwargs)
        self._adapt_old_methods()

    # -- settings

    @default("allow_existing_users")
    def _exist_if_listed(self) -> bool:
        return bool(self.allowed_users)

    @default("any_allow_config")
    def _find_allow_config(self) -> bool:
        for name, trait in self.traits(config=True).items():
            tagged = trait.metadata.get("allow_config")
            if (tagged or (tagged is None and name.startswith("allow"))) and getattr(self, name):
                return True
        return False

    @default("db")
    def _database_session(self) -> AnyType:
        self.log.warning("%s uses Authenticator.db, which is deprecated", type(self).__name__)
        session = self._deprecated_db_session
        return session() if inspect.isfunction(session) or inspect.ismethod(session) else session

    @observe("username_pattern")
    def _compile_username_pattern(self, change: AnyType) -> None:
        self.username_regex = re.compile(change["new"]) if change["new"] else None

    @observe("allowed_users")
    def _warn_of_single_letters(self, change: AnyType) -> None:
        short = sorted(name for name in change["new"] if len(name) <= 1)
        if short:
            self.log.warning(
                "Authenticator.allowed_users holds names of one letter: %s. Did you write set('name') for {'name'}?",
                short,
            )

    @observe("whitelist")
    def _use_deprecated_setting(self, change: AnyType) -> None:
        name, version = self._deprecated_aliases[change["name"]]
        if change["new"] == change["old"] or getattr(self, name) == change["new"]:
            return
        kind = type(self).__name__
        # In the words that suites of plugins look for.
        self.log.warning(
            "%s.%s is deprecated in JupyterHub %s, use %s.%s instead", kind, change["name"], version, kind, name
        )
        setattr(self, name, change["new"])

    def check_allow_config(self) -> None:
        """Warn about settings that let nobody in, or everybody. Called once, at start; subclasses add checks."""
        if not self.any_allow_config:
            self.log.warning(
                "No setting of %s lets anybody log in. Set allow_all = True if everybody who can log in shall, or name "
                "users in allowed_users.",
                type(self).__name__,
            )

    # -- plugins written for older versions

    def _adapt_old_methods(self) -> None:
        for old, new in self._deprecated_methods.items():
            if self._is_newer(old, new):
                self._deprecated(f"{old}, which {new} has replaced")
                setattr(self, new, _with_optional_authentication(getattr(self, old)))
            elif hasattr(self, new) and not _takes_authentication(getattr(self, new)):
                self._deprecated(f"{new} without a parameter `authentication`")
                setattr(self, new, _without_authentication(getattr(self, new)))

    def _deprecated(self, what: str) -> None:
        message = f"{type(self).__name__} defines {what}; this is deprecated"
        self.log.warning(message)
        warnings.warn(message, DeprecationWarning, stacklevel=4)

    def _is_newer(self, old: str, new: str) -> bool:
        """Whether a subclass overrides a method by its old name only."""
        for cls in type(self).__mro__:
            if new in vars(cls):
                return False
            if old in vars(cls):
                return hasattr(self, new)
        return False

    def check_whitelist(self, username: str, authentication: AnyType = None) -> AnyType:
        """Deprecated: use ``check_allowed``."""
        return self.check_allowed(username, authentication)

    def check_blacklist(self, username: str, authentication: AnyType = None) -> AnyType:
        """Deprecated: use ``check_blocked_users``."""
        return self.check_blocked_users(username, authentication)

    # -- names

    def normalize_username(self, username: str) -> str:
        """Give the name that the hub uses for a name that somebody typed: lower case, then ``username_map``.

        It must give the same name for a name that it has given.
        """
        username = username.lower()
        return str(self.username_map.get(username, username))

    def validate_username(self, username: str) -> bool:
        """Say whether a (normalised) name can be a user's."""
        if not is_valid_user_name(username):
            return False
        return self.username_regex is None or bool(self.username_regex.match(username))

    # -- logging in

    async def get_authenticated_user(self, handler: AnyType, data: AnyType) -> dict[str, AnyType] | None:
        """Go through a whole login; give the result as a dict, None if nobody is let in.

        Called for each login on the hub that got the request. The order: ``authenticate``, name normalised and checked,
        ``check_blocked_users``, ``check_allowed`` (unless ``allow_all``), ``is_admin`` (unless ``authenticate`` has
        said), ``post_auth_hook``. The dict has ``name``, ``admin`` (None: as it is), ``auth_state``, ``user_info``, and
        ``groups`` and ``roles`` if the authenticator manages them.
        """
        result = await maybe_future(self.authenticate(handler, data))
        if result is None:
            return None
        model = self._complete(result)
        name = model["name"] = self.normalize_username(model["name"])
        if not self.validate_username(name):
            self.log.warning("Disallowing invalid username %s.", safe_log(name))
            return None
        if not await maybe_future(self.check_blocked_users(name, model)):
            self.log.warning("User %s is blocked. Stop authentication", safe_log(name, 255))
            return None
        if not self.allow_all and not await maybe_future(self.check_allowed(name, model)):
            self.log.warning("User %s not allowed.", safe_log(name, 255))
            return None
        if model["admin"] is None:
            model["admin"] = await maybe_future(self.is_admin(handler, model))
        return await self.run_post_auth_hook(handler, model)

    def _complete(self, result: str | dict[str, AnyType]) -> dict[str, AnyType]:
        model: dict[str, AnyType] = {"name": result} if isinstance(result, str) else dict(result)
        if model.get("name") is None:
            raise ValueError(f"{type(self).__name__}.authenticate gave a result without a user name")
        for key in ("admin", "auth_state", "user_info"):
            model.setdefault(key, None)
        return model

    def authenticate(self, handler: AnyType, data: AnyType) -> AnyType:
        """Say who sends these data: None for nobody, a user name, or a dict with ``name`` and what else is known.

        May be a coroutine. ``data`` are the fields of the login form, or what a handler of the plugin passes to
        ``login_user``; None for ``auto_login`` without a page of its own.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define authenticate")

    def check_blocked_users(self, username: str, authentication: AnyType = None) -> AnyType:
        """Give False to refuse a login whatever else allows it. May be a coroutine; called for each login."""
        return not self.blocked_users or username not in self.blocked_users

    def check_allowed(self, username: str, authentication: AnyType = None) -> AnyType:
        """Give True to let a user in. May be a coroutine; called for each login unless ``allow_all`` is set.

        Subclasses add rules: return True if one fits, and otherwise what ``super()`` says.
        """
        return bool(self.allow_all or username in self.allowed_users)

    def is_admin(self, handler: AnyType, authentication: dict[str, AnyType]) -> AnyType:
        """Say whether this login makes the user an admin: True, False, None for as it is. May be a coroutine."""
        return True if authentication["name"] in self.admin_users else None

    async def run_post_auth_hook(self, handler: AnyType, auth_model: dict[str, AnyType]) -> dict[str, AnyType] | None:
        """Call ``post_auth_hook`` if there is one and give its result."""
        if self.post_auth_hook is None:
            return auth_model
        result: dict[str, AnyType] | None = await maybe_future(self.post_auth_hook(self, handler, auth_model))
        return result

    async def refresh_user(self, user: AnyType, handler: AnyType = None) -> bool | dict[str, AnyType] | None:
        """Check a user who logged in some time ago: True, False for "must log in again", or a dict as from a login.

        Called on any hub, at most once per request and ``auth_refresh_age`` and user; on several hubs perhaps at once.
        """
        return True

    async def load_managed_roles(self) -> list[dict[str, AnyType]]:
        """Give the roles that exist whoever logs in, as in ``JupyterHub.load_roles``. Called at start, twice."""
        if not self.manage_roles:
            raise ValueError("Managed roles can only be loaded when Authenticator.manage_roles is on")
        if self.reset_managed_roles_on_startup:
            raise NotImplementedError(
                f"reset_managed_roles_on_startup needs load_managed_roles, which {type(self).__name__} does not define"
            )
        return []

    # -- users that come and go

    def add_user(self, user: AnyType) -> AnyType:
        """Prepare for a user. May be a coroutine; an exception keeps a new user from being created.

        Called for every user of the database when a hub starts, and when one is created by a login, by an admin, or
        by the configuration. It may be called any number of times for the same user, on any hub.
        """
        if not self.validate_username(user.name):
            raise ValueError(f"Invalid username: {user.name!r}")
        if self.allow_existing_users and not self.allow_all:
            self.allowed_users.add(user.name)

    def delete_user(self, user: AnyType) -> AnyType:
        """Forget a user who is being deleted. May be a coroutine; called on one hub."""
        self.allowed_users.discard(user.name)

    def pre_spawn_start(self, user: AnyType, spawner: AnyType) -> AnyType:
        """Prepare for the start of a server. May be a coroutine; an exception prevents the start."""

    def post_spawn_stop(self, user: AnyType, spawner: AnyType) -> AnyType:
        """Clean up when a server has stopped. May be a coroutine; errors are logged and go no further."""

    # -- pages

    def login_url(self, base_url: str) -> str:
        """Where visitors log in; ``base_url`` is the hub's prefix."""
        return url_path_join(base_url, "login")

    def logout_url(self, base_url: str) -> str:
        """Where users log out; ``base_url`` is the hub's prefix."""
        return url_path_join(base_url, "logout")

    def get_custom_html(self, base_url: str) -> str:
        """Give the HTML for the login page, "" for the usual form. It is a template: see pages.md for its variables."""
        return self.custom_html

    def get_handlers(self, app: AnyType) -> list[tuple[AnyType, ...]]:
        """Give request handlers: (path below the hub's prefix, class[, arguments]). They precede the hub's own."""
        # The page stands above the contracts and imports them, so it is found by its name when the hub builds its
        # pages, as a handler class in the configuration would be.
        return [("/login", import_object("jupyterhub.handlers.login.LoginHandler"))]


def _takes_authentication(method: Callable[..., AnyType]) -> bool:
    try:
        parameters = inspect.signature(method).parameters
    except (TypeError, ValueError):
        return True
    kinds = {parameter.kind for parameter in parameters.values()}
    return "authentication" in parameters or inspect.Parameter.VAR_POSITIONAL in kinds or len(parameters) >= 2


def _without_authentication(method: Callable[..., AnyType]) -> Callable[..., AnyType]:
    @wraps(method)
    def adapted(username: str, authentication: AnyType = None) -> AnyType:
        return method(username)

    return adapted


def _with_optional_authentication(method: Callable[..., AnyType]) -> Callable[..., AnyType]:
    return method if _takes_authentication(method) else _without_authentication(method)


class LocalAuthenticator(Authenticator):
    """A base for authenticators whose users are system users of this machine; it can create them."""

    create_system_users = Bool(
        False, help="Create the system user of a user who has none, with `add_user_cmd`. Needs a hub that runs as root."
    ).tag(config=True)
    add_user_cmd = Command(
        help="""The command that creates a system user, as a list of words. USERNAME in a word is replaced by the
        name, and the name is put at the end."""
    ).tag(config=True)
    uids = Dict(help="The uid that a system user gets when it is created, by user name.").tag(config=True)
    allowed_groups = Set(help="UNIX groups whose members may log in.").tag(config=True, allow_config=True)
    group_whitelist = Set(help="Deprecated: use `allowed_groups`.").tag(config=True)

    _deprecated_aliases = {**Authenticator._deprecated_aliases, "group_whitelist": ("allowed_groups", "1.2")}

    @observe("group_whitelist")
    def _use_deprecated_group_setting(self, change: AnyType) -> None:
        self._use_deprecated_setting(change)

    @default("add_user_cmd")
    def _default_add_user_cmd(self) -> list[str]:
        if sys.platform == "darwin":
            raise ValueError("System users cannot be created on macOS unless LocalAuthenticator.add_user_cmd says how")
        if shutil.which("pw"):
            return ["pw", "useradd", "-m", "-n"]
        adduser = shutil.which("adduser")
        # On some systems adduser is another name of useradd, which knows none of these options.
        if adduser and os.path.basename(os.path.realpath(adduser)) == "adduser":
            return ["adduser", "-q", "--gecos", '""', "--disabled-password"]
        return ["useradd", "--create-home"]

    @staticmethod
    def _getgrnam(name: str) -> grp.struct_group:
        return grp.getgrnam(name)

    @staticmethod
    def _getpwnam(name: str) -> pwd.struct_passwd:
        return pwd.getpwnam(name)

    @staticmethod
    def _getgrouplist(name: str, group: int) -> list[int]:
        return os.getgrouplist(name, group)

    def check_allowed(self, username: str, authentication: AnyType = None) -> AnyType:
        if self.check_allowed_groups(username, authentication):
            return True
        return super().check_allowed(username, authentication)

    def check_allowed_groups(self, username: str, authentication: AnyType = None) -> bool:
        """Say whether a user is in one of ``allowed_groups``."""
        return bool(self.allowed_groups) and self._is_in_groups(username, self.allowed_groups)

    def check_group_whitelist(self, username: str, authentication: AnyType = None) -> bool:
        """Deprecated: use ``check_allowed_groups``."""
        return self.check_allowed_groups(username, authentication)

    def _is_in_groups(self, username: str, group_names: AnyType) -> bool:
        try:
            gids = self._getgrouplist(username, self._getpwnam(username).pw_gid)
        except KeyError:
            return False
        for name in group_names:
            try:
                group = self._getgrnam(name)
            except KeyError:
                self.log.error("There is no UNIX group %r (see the settings of %s)", name, type(self).__name__)
                continue
            if group.gr_gid in gids:
                return True
        return False

    async def add_user(self, user: AnyType) -> None:
        """See the base. KeyError: no such system user, and none shall be created; RuntimeError: that failed."""
        if not await maybe_future(self.system_user_exists(user)):
            if not self.create_system_users:
                raise KeyError(
                    f"There is no system user {user.name!r}, and LocalAuthenticator.create_system_users is not set"
                )
            await maybe_future(self.add_system_user(user))
        await maybe_future(super().add_user(user))

    def system_user_exists(self, user: AnyType) -> AnyType:
        """Say whether this machine knows the user. May be a coroutine."""
        try:
            self._getpwnam(user.name)
        except KeyError:
            return False
        return True

    def add_system_user(self, user: AnyType) -> AnyType:
        """Create the system user; RuntimeError if that fails. May be a coroutine."""
        name = user.name
        if name.startswith("-"):
            raise RuntimeError(
                f"The name {name!r} would be an option of {self.add_user_cmd[0]}; no system user is created"
            )
        command = [word.replace("USERNAME", name) for word in self.add_user_cmd]
        if name in self.uids:
            command += ["--uid", str(self.uids[name])]
        command.append(name)
        self.log.info("Creating user: %s", shell_join(command))
        child = Popen(command, stdout=PIPE, stderr=STDOUT)
        output = child.communicate()[0].decode("utf8", "replace")
        if child.returncode:
            raise RuntimeError(f"The system user {name!r} could not be created: {output.strip()}")


class PAMAuthenticator(LocalAuthenticator):
    """Asks PAM: people log in with the name and password that they have on this machine.

    A hub that is not root can only check the password of the user that it runs as, unless it has a broker that is
    (``docs/local-servers.md``). All calls of PAM run in threads.
    """

    executor = Any()
    executor_threads = Integer(4, help="How many logins PAM can check at once.").tag(config=True)
    encoding = Unicode("utf8", help="The encoding of names and passwords for PAM.").tag(config=True)
    service = Unicode(
        "login",
        help="""The PAM service that decides. Choose with care: `su`, for example, lets root become anybody without a
        password, and a hub that is root with it.""",
    ).tag(config=True)
    open_sessions = Bool(
        False,
        help="""Open a PAM session when a server starts and close it when it stops. The session belongs to the hub's
        process, not to the server; an error turns this off until the next start of the hub.""",
    ).tag(config=True)
    check_account = Bool(
        True, help="Ask PAM also whether the account may be used now: not expired, not locked, not at this time of day."
    ).tag(config=True)
    admin_groups = Set(
        help="UNIX groups whose members are admins. Who is in none of them (and not in `admin_users`) is none."
    ).tag(config=True)
    pam_normalize_username = Bool(
        False, help="Use the name that the system has for a user's uid, when there are several spellings of one name."
    ).tag(config=True)

    def __init__(self, **kwargs: AnyType) -> None:
        global pamela
        if pamela is None:
            try:
                import pamela as found
            except (ImportError, OSError) as error:
                raise RuntimeError(
                    f"PAMAuthenticator needs the pamela package and libpam ({error}). Install them, or choose another "
                    "JupyterHub.authenticator_class."
                ) from error
            pamela = found
        super().__init__(**kwargs)

    @default("executor")
    def _default_executor(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.executor_threads, thread_name_prefix="pam")

    def _pam(self, function: str, username: str, *args: AnyType, **options: AnyType) -> AnyType:
        broker = configured_broker()
        if broker is None or os.geteuid() == 0:
            return getattr(pamela, function)(username, *args, service=self.service, encoding=self.encoding, **options)
        question = {"function": function, "arguments": [username, *args], "options": options}
        try:
            answer = ask_pam(broker, {**question, "service": self.service, "encoding": self.encoding})
        except (Refused, Unavailable) as error:
            raise pamela.PAMError(str(error)) from error
        if "pam" in answer:
            raise pamela.PAMError(answer["pam"], answer["errno"])
        return None

    @run_on_executor
    def authenticate(self, handler: AnyType, data: AnyType) -> AnyType:
        """Check a password with PAM, in a thread; gives a future."""
        username = data["username"]
        password = data["password"]
        if data.get("otp"):
            password = (password, data["otp"])
        try:
            # pamela asks for the account together with the password, unless told not to
            self._pam("authenticate", username, password, **({} if self.check_account else {"check": False}))
        except pamela.PAMError as error:
            self._log_refusal("PAM Authentication failed", username, handler, error)
            return None
        if self.check_account:
            try:
                self._pam("check_account", username)
            except pamela.PAMError as error:
                self._log_refusal("PAM Account Check failed", username, handler, error)
                return None
        return username

    def _log_refusal(self, what: str, username: str, handler: AnyType, error: Exception) -> None:
        where = f"@{handler.request.remote_ip}" if handler is not None else ""
        self.log.warning("%s (%s%s): %s", what, safe_log(username), where, error)

    @run_on_executor
    def is_admin(self, handler: AnyType, authentication: dict[str, AnyType]) -> AnyType:
        """See the base; with ``admin_groups`` the answer is always yes or no. In a thread; gives a future."""
        name = authentication["name"]
        if name in self.admin_users:
            return True
        if not self.admin_groups:
            return None
        gids = {self._getgrnam(group).gr_gid for group in self.admin_groups}
        return not gids.isdisjoint(self._getgrouplist(name, self._getpwnam(name).pw_gid))

    @run_on_executor
    def pre_spawn_start(self, user: AnyType, spawner: AnyType) -> None:
        """Open a PAM session if ``open_sessions`` is set. In a thread; gives a future."""
        self._session("open_session", user)

    @run_on_executor
    def post_spawn_stop(self, user: AnyType, spawner: AnyType) -> None:
        """Close the PAM session if ``open_sessions`` is set. In a thread; gives a future."""
        self._session("close_session", user)

    def _session(self, function: str, user: AnyType) -> None:
        if not self.open_sessions:
            return
        try:
            self._pam(function, user.name)
        except pamela.PAMError as error:
            self.log.warning("PAM sessions are off from now on: %s failed for %s: %s", function, user.name, error)
            self.open_sessions = False

    def normalize_username(self, username: str) -> str:
        if self.pam_normalize_username:
            try:
                username = pwd.getpwuid(self._getpwnam(username).pw_uid).pw_name
            except KeyError:
                self.log.debug("no system user %s: the name stays as it is", safe_log(username))
        return super().normalize_username(username)


class DummyAuthenticator(Authenticator):
    """Believes every name, with one password for all or without any: for trying things out, never for real users."""

    password = Unicode(
        "", help="Deprecated: use SharedPasswordAuthenticator. The password of everybody; empty: any will do."
    ).tag(config=True)

    @default("allow_all")
    def _all_unless_listed(self) -> bool:
        return not self.allowed_users

    @observe("password")
    def _password_is_deprecated(self, change: AnyType) -> None:
        if change["new"]:
            self.log.warning("DummyAuthenticator.password is deprecated: use the shared-password authenticator")

    def check_allow_config(self) -> None:
        self.log.warning("Using %s: everybody can log in as anybody", type(self).__name__)
        super().check_allow_config()

    async def authenticate(self, handler: AnyType, data: AnyType) -> str | None:
        if self.password and not compare_digest(str(data.get("password", "")).encode(), self.password.encode()):
            return None
        return str(data["username"])


class NullAuthenticator(Authenticator):
    """Lets nobody log in: for hubs that only run servers for services with tokens of their own."""

    auto_login = True  # a fact here, not a setting
    login_service = "null"

    def check_allow_config(self) -> None:
        """That nobody can log in is what this is for."""

    async def authenticate(self, handler: AnyType, data: AnyType) -> None:
        return None

    def get_handlers(self, app: AnyType) -> list[tuple[AnyType, ...]]:
        return []
