"""Who is asking: a service or a user's server turns the token of a request into the hub's model of its owner.

``HubAuth`` knows tokens in headers and URLs; ``oauth_login.HubOAuth`` adds browsers, which log in at the hub. The
handlers that use them are in ``mixins``. The hub's answers are kept for five minutes (``cache_max_age``), the
refusals too, so that a busy page asks the hub once.
"""

from __future__ import annotations

import asyncio
import os
import re
import warnings
from collections.abc import Awaitable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any, Literal, TypeVar, overload

from tornado.log import app_log
from tornado.web import HTTPError, RequestHandler
from traitlets import Bool, Dict, Instance, Int, Set, Unicode, default, observe, validate
from traitlets.config import SingletonConfigurable

from jupyterhub.words.urls import url_path_join

from .browser import is_websocket
from .environment import env_bool, env_json
from .expiring_cache import ExpiringCache
from .hub_requests import HubAnswer, HubUnreachable, TLSFiles, ask_hub

UserModel = dict[str, Any]
"""The JSON of ``GET <api>/user``: name, kind ("user" or "service"), admin, groups, scopes, session_id, …"""

T = TypeVar("T")

SESSION_COOKIE = "jupyterhub-session-id"

#: What can be a token at all: it must fit into a header without changing its meaning. Anything else is nobody's.
_TOKEN = re.compile(r"[\x21-\x7e]{1,1024}")


class UserNotAllowed(Exception):
    """Someone is known to the hub and may not use this service."""

    def __init__(self, model: UserModel) -> None:
        super().__init__(model)
        self.model = model

    def __str__(self) -> str:
        return f"<{type(self).__name__} {self.model.get('kind', 'user')}={self.model.get('name')}>"


def check_scopes(required_scopes: str | Iterable[str], scopes: Iterable[str]) -> set[str]:
    """Give those of ``required_scopes`` that ``scopes`` include; the empty set means: none.

    ``access:servers`` includes ``access:servers!user=ada``, which includes ``access:servers!server=ada/gpu``.
    """
    if isinstance(required_scopes, str):
        required_scopes = {required_scopes}
    held = set(scopes)
    return {scope for scope in required_scopes if not held.isdisjoint(_wider(scope))}


def _wider(scope: str) -> set[str]:
    """Give the scope itself and those that include it."""
    base, _, filter_ = scope.partition("!")
    wider = {scope, base}
    kind, _, value = filter_.partition("=")
    if kind == "server":
        wider.add(f"{base}!user={value.partition('/')[0]}")
    return wider


class HubAuth(SingletonConfigurable):
    """Asks the hub who a token belongs to. One per process: ``HubAuth.instance()``.

    Everything it needs is in the environment that the hub gives to services and servers. ``get_user`` and its like
    block by default, as tornado's ``get_current_user`` must; with ``sync=False`` they give an awaitable instead.
    """

    hub_host = Unicode(
        help="Scheme and host of the public hub (``https://hub.example``) where it is not the host of this service."
    ).tag(config=True)

    base_url = Unicode(help="URL prefix of this service.").tag(config=True)

    api_url = Unicode(help="Where the hub's API is, as this process reaches it.").tag(config=True)

    api_token = Unicode(help="This service's own token for the hub's API.").tag(config=True)

    hub_prefix = Unicode(help="URL prefix of the hub, with ``hub/``.").tag(config=True)

    login_url = Unicode(help="Where to send browsers that are not logged in; nothing means: answer 403.").tag(
        config=True
    )

    keyfile = Unicode(help="Key of the TLS client certificate for the hub's API.").tag(config=True)
    certfile = Unicode(help="TLS client certificate for the hub's API.").tag(config=True)
    client_ca = Unicode(help="CAs that vouch for the hub's API.").tag(config=True)

    allow_token_in_url = Bool(
        help=(
            "Accept ``?token=`` in any URL, and let it log a browser in. URLs end up in logs and histories. "
            "Websockets, where a page cannot set headers, accept it always."
        )
    ).tag(config=True)

    allow_websocket_cookie_auth = Bool(
        help="Let websockets authenticate by cookie alone. If not, they need an ``_xsrf`` argument or a token as well."
    ).tag(config=True)

    cookie_options = Dict(help="More arguments for tornado's ``set_cookie``.").tag(config=True)

    cookie_host_prefix_enabled = Bool(
        help=(
            "Put ``__Host-`` before the names of cookies, so that no other host can set them. Needs https, and their "
            "path is ``/``."
        )
    ).tag(config=True)

    cache_max_age = Int(300, help="How long, in seconds, to believe what the hub said about a token; 0: for ever.").tag(
        config=True
    )
    cookie_cache_max_age = Int(0, help="Deprecated name of ``cache_max_age``.")

    access_scopes = Set(Unicode(), help="Any one of these scopes gives access to this service.").tag(config=True)

    cache = Instance(ExpiringCache)

    #: where blocking calls run: one thread with an event loop of its own
    _pool = Instance(ThreadPoolExecutor)
    _pool_loop: asyncio.AbstractEventLoop | None = None

    @default("hub_host")
    def _default_hub_host(self) -> str:
        return os.environ.get("JUPYTERHUB_HOST", "")

    @default("base_url")
    def _default_base_url(self) -> str:
        return url_path_join("/", os.environ.get("JUPYTERHUB_SERVICE_PREFIX", ""), "/")

    @validate("base_url")
    def _add_slashes(self, proposal: Mapping[str, Any]) -> str:
        return url_path_join("/", proposal["value"], "/")

    @default("hub_prefix")
    def _default_hub_prefix(self) -> str:
        return url_path_join(os.environ.get("JUPYTERHUB_BASE_URL") or "/", "hub/")

    @default("api_url")
    def _default_api_url(self) -> str:
        return os.environ.get("JUPYTERHUB_API_URL") or "http://127.0.0.1:8081" + url_path_join(self.hub_prefix, "api")

    @default("api_token")
    def _default_api_token(self) -> str:
        return os.environ.get("JUPYTERHUB_API_TOKEN", "")

    @default("keyfile")
    def _default_keyfile(self) -> str:
        return os.environ.get("JUPYTERHUB_SSL_KEYFILE", "")

    @default("certfile")
    def _default_certfile(self) -> str:
        return os.environ.get("JUPYTERHUB_SSL_CERTFILE", "")

    @default("client_ca")
    def _default_client_ca(self) -> str:
        return os.environ.get("JUPYTERHUB_SSL_CLIENT_CA", "")

    @default("allow_token_in_url")
    def _default_allow_token_in_url(self) -> bool:
        return env_bool("JUPYTERHUB_ALLOW_TOKEN_IN_URL", False)

    @default("allow_websocket_cookie_auth")
    def _default_allow_websocket_cookie_auth(self) -> bool:
        return env_bool("JUPYTERHUB_ALLOW_WEBSOCKET_COOKIE_AUTH", True)

    @default("cookie_options")
    def _default_cookie_options(self) -> dict[str, Any]:
        options = env_json("JUPYTERHUB_COOKIE_OPTIONS", {})
        return options if isinstance(options, dict) else {}

    @default("cookie_host_prefix_enabled")
    def _default_cookie_host_prefix_enabled(self) -> bool:
        return env_bool("JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED", False)

    @default("access_scopes")
    def _default_access_scopes(self) -> set[str]:
        for name in ("JUPYTERHUB_OAUTH_ACCESS_SCOPES", "JUPYTERHUB_OAUTH_SCOPES"):
            scopes = env_json(name, [])
            if scopes:
                return set(scopes)
        service_name = os.environ.get("JUPYTERHUB_SERVICE_NAME")
        return {f"access:services!service={service_name}"} if service_name else set()

    @observe("cookie_cache_max_age")
    def _rename_cookie_cache_max_age(self, change: Mapping[str, Any]) -> None:
        warnings.warn("cookie_cache_max_age is deprecated: use cache_max_age", stacklevel=2)
        self.cache_max_age = change["new"]

    @default("cache")
    def _default_cache(self) -> ExpiringCache[str, UserModel | None]:
        return ExpiringCache(self.cache_max_age)

    @observe("cache_max_age")
    def _change_cache_max_age(self, change: Mapping[str, Any]) -> None:
        self.cache.max_age_s = change["new"]

    @default("_pool")
    def _default_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix="hub-auth")

    @property
    def oauth_scopes(self) -> set[str]:
        """Deprecated name of ``access_scopes``."""
        warnings.warn("HubAuth.oauth_scopes is deprecated: use access_scopes", DeprecationWarning, stacklevel=2)
        return set(self.access_scopes)

    @property
    def cookie_path(self) -> str:
        return "/" if self.cookie_host_prefix_enabled else self.base_url

    @property
    def tls_files(self) -> TLSFiles:
        return TLSFiles(keyfile=self.keyfile, certfile=self.certfile, client_ca=self.client_ca)

    # -- tokens

    @overload
    def user_for_token(
        self, token: str, use_cache: bool = True, session_id: str = "", *, sync: Literal[True] = True
    ) -> UserModel | None: ...
    @overload
    def user_for_token(
        self, token: str, use_cache: bool = True, session_id: str = "", *, sync: Literal[False]
    ) -> Awaitable[UserModel | None]: ...
    def user_for_token(
        self, token: str, use_cache: bool = True, session_id: str = "", *, sync: bool = True
    ) -> UserModel | Awaitable[UserModel | None] | None:
        """Give the hub's model of the token's owner, or None if the hub knows no such token.

        ``session_id`` only separates cache entries: after a logout at the hub the browser's session id is another
        one, and the hub is asked again. Raise HTTP 500 or 502 if the hub cannot say.
        """
        return self._run(self._find_owner(token, use_cache=use_cache, session_id=session_id), sync=sync)

    def user_for_cookie(self, *args: Any, **kwargs: Any) -> UserModel | None:
        raise RuntimeError("Shared cookies identify nobody since JupyterHub 2. Use OAuth (HubOAuth).")

    async def _find_owner(self, token: str, *, use_cache: bool, session_id: str) -> UserModel | None:
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            return None
        # The token itself is not kept: whoever can read our memory dumps should not find other people's tokens.
        key = f"token:{session_id}:{sha256(token.encode()).hexdigest()}"
        if use_cache and key in self.cache:
            return self.cache.get(key)
        answer = await self._ask_hub("user", token=token)
        if answer.status in (401, 403):
            model = None
        else:
            model = self._parse(self._expect_ok(answer))
        self.cache[key] = model
        return model

    async def _ask_hub(self, path: str, *, token: str) -> HubAnswer:
        url = url_path_join(self.api_url, path)
        try:
            return await ask_hub(url, token=token, tls=self.tls_files)
        except HubUnreachable as error:
            app_log.error("The hub's API at %s cannot be reached: %s", url, error)
            raise HTTPError(
                500,
                f"The hub's API at {self.api_url} cannot be reached. Is the hub running, and is this the address "
                "under which this server sees it?",
            ) from error

    def _expect_ok(self, answer: HubAnswer) -> HubAnswer:
        """Pass a good answer; raise HTTP 502 for the hub's own faults and 500 for what we seem to have done wrong."""
        if answer.is_ok:
            return answer
        app_log.error("The hub answered %s: %s", answer.status, answer.message)
        if answer.status == 403:
            raise HTTPError(500, "Permission failure: this server's own token may not do this at the hub.")
        if answer.status >= 500:
            raise HTTPError(502, "Failed to check authorization: the hub has a fault.")
        raise HTTPError(500, f"Failed to check authorization: {answer.message}")

    def _parse(self, answer: HubAnswer) -> Any:
        try:
            return answer.json()
        except ValueError as error:
            raise HTTPError(502, "The hub's answer is not JSON. Is JUPYTERHUB_API_URL the address of a hub?") from error

    # -- requests

    auth_header_name = "Authorization"
    auth_header_pat = re.compile(r"(?:token|bearer)\s+(.+)", re.IGNORECASE)

    def get_token(self, handler: RequestHandler, in_cookie: bool = True) -> str | None:
        """Give the token that a request carries, or None: first its header, then its URL, then its cookie."""
        token = self._token_in_url(handler)
        if not token:
            match = self.auth_header_pat.match(handler.request.headers.get(self.auth_header_name, ""))
            token = match.group(1).strip() if match else None
        if not token and in_cookie:
            token = self._get_token_cookie(handler)
        return token

    def _token_in_url(self, handler: RequestHandler) -> str | None:
        if self.allow_token_in_url or is_websocket(handler.request):
            return handler.get_query_argument("token", "") or None
        return None

    def _get_token_cookie(self, handler: RequestHandler) -> str | None:
        """Plain HubAuth keeps no cookies."""
        return None

    async def _get_user_cookie(self, handler: RequestHandler) -> UserModel | None:
        """Plain HubAuth keeps no cookies."""
        return None

    def get_session_id(self, handler: RequestHandler) -> str:
        """Give the id of the browser's session at the hub, "" if it has none."""
        return handler.get_cookie(SESSION_COOKIE, "") or ""

    @overload
    def get_user(self, handler: RequestHandler, *, sync: Literal[True] = True) -> UserModel | None: ...
    @overload
    def get_user(self, handler: RequestHandler, *, sync: Literal[False]) -> Awaitable[UserModel | None]: ...
    def get_user(self, handler: RequestHandler, *, sync: bool = True) -> UserModel | Awaitable[UserModel | None] | None:
        """Give the hub's model of whoever sent the request, or None. Asked again for the same request it remembers."""
        return self._run(self._identify(handler), sync=sync)

    async def _identify(self, handler: RequestHandler) -> UserModel | None:
        known: Any = handler
        if hasattr(known, "_cached_hub_user"):
            cached: UserModel | None = known._cached_hub_user
            return cached
        session_id = self.get_session_id(handler)
        model = None
        token = self.get_token(handler, in_cookie=False)
        if token:
            model = await self._find_owner(token, use_cache=True, session_id=session_id)
            if model:
                known._token_authenticated = True
                self._keep_token_of_url(handler)
        if model is None:
            model = await self._get_user_cookie(handler)
        known._cached_hub_user = model
        return model

    def _keep_token_of_url(self, handler: RequestHandler) -> None:
        """Plain HubAuth keeps no cookies."""

    def check_scopes(self, required_scopes: str | Iterable[str], user: UserModel) -> set[str]:
        """Give those of ``required_scopes`` that the owner of a model holds."""
        return check_scopes(required_scopes, user.get("scopes") or ())

    # -- blocking and not

    def _run(self, coroutine: Coroutine[Any, Any, T], *, sync: bool) -> T | Awaitable[T]:
        if not sync:
            return coroutine
        # The caller's thread usually runs an event loop already, and two cannot run in one thread.
        return self._pool.submit(self._run_in_pool, coroutine).result()

    def _run_in_pool(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._pool_loop is None:
            self._pool_loop = asyncio.new_event_loop()
        return self._pool_loop.run_until_complete(coroutine)
