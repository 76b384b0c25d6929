"""The base of every request handler of the hub: who asks, may they send this, what is on every answer.

``prepare`` turns cookie or token into a Requester and refuses forged requests, before any method of a handler runs; a
new handler is therefore protected without doing anything. Which scopes a method needs is said beside it
(``entry.py``), what an error becomes is in ``errors.py``. Handlers of plugins are based on ``compat.BaseHandler``,
which builds on this.
"""

from __future__ import annotations

import html
import json
import logging
import re
import secrets
from collections.abc import Iterable
from types import TracebackType
from typing import Any, ClassVar
from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError, RequestHandler

from jupyterhub.hub import addresses
from jupyterhub.hub.house import House
from jupyterhub.hub.plugin_views import UserView
from jupyterhub.hub.requester import Requester
from jupyterhub.hub.settings import HubSettings
from jupyterhub.rbac.scope_set import EVERYTHING, Target
from jupyterhub.utils import get_accepted_mimetype, get_browser_protocol
from jupyterhub.words.errors import Denied, HubError
from jupyterhub.words.models import Json, User
from jupyterhub.words.version import __version__

from . import cookies, next_url, page_policy, texts, xsrf
from .access_log import scrub_url
from .errors import ErrorAnswer, XsrfRefused, log_text_of, status_of

#: scheme and secret of an Authorization header that names a token of ours
auth_header_pat = re.compile(r"^(?:token|bearer)\s+(\S+)$", flags=re.IGNORECASE)

_ALLOWED_HEADERS = "accept, content-type, authorization"


class ServiceLink:
    """A service in the navigation bar."""

    __slots__ = ("href", "name")

    def __init__(self, name: str, href: str) -> None:
        self.name, self.href = name, href


class HubHandler(RequestHandler):
    """A page, or (as ``api/base.py``) an answer for programs."""

    #: whether a login cookie counts here
    accepts_cookie: ClassVar[bool] = True
    #: whether a token in the Authorization header counts here; for pages it does not
    accepts_token: ClassVar[bool] = False
    #: errors are JSON, reading by scripts is protected too, and nobody is sent to a login page
    is_api: ClassVar[bool] = False
    #: False: whoever asks gets the same, so nobody looks who it is
    identifies: ClassVar[bool] = True
    #: False only where there is nothing that a foreign site could gain
    checks_xsrf: ClassVar[bool] = True
    #: False where a visitor without any login may write from anywhere: by credentials in the body
    checks_xsrf_of_strangers: ClassVar[bool] = True
    counts_as_activity: ClassVar[bool] = True
    #: the name in the metrics, by which dashboards know it; "" for the class's own
    metrics_name: ClassVar[str] = ""

    #: who asks; None for nobody. Known from ``prepare`` on.
    requester: Requester | None = None
    #: the browser session, also when it has just begun; None if there is none
    session_id: str | None = None

    _is_prepared = False
    _xsrf_token_text: str | None = None
    _csp_nonce: str | None = None
    _services: tuple[ServiceLink, ...] = ()
    _current_user: Any = None
    _default_server_is_active = False

    # -- the house

    @property
    def house(self) -> House:
        house: House = self.application.settings["house"]
        return house

    @property
    def hub_settings(self) -> HubSettings:
        return self.house.settings

    @property
    def log(self) -> logging.Logger:
        return self.house.log

    # -- before any method

    async def prepare(self) -> None:
        self._drop_missing_path_arguments()
        if not self.identifies:
            return
        self.requester = await self._identify()
        self._is_prepared = True
        self.check_xsrf_cookie()
        if self.requester is not None and self.counts_as_activity:
            self.house.activity.saw(self.requester)

    def _drop_missing_path_arguments(self) -> None:
        # tornado passes None for a group that did not take part in the match, in place of the parameter's default.
        self.path_kwargs = {name: value for name, value in self.path_kwargs.items() if value is not None}
        while self.path_args and self.path_args[-1] is None:
            self.path_args.pop()

    async def _identify(self) -> Requester | None:
        """Find out who asks: a valid token counts before a cookie, an invalid one as if it were not there."""
        if self.accepts_token and (secret := self.token_in_header()):
            by_token = await self.house.requesters.by_token(secret)
            if by_token is not None:
                return await self._refreshed(by_token)
        self.session_id = cookies.read_session_id(self.get_cookie(cookies.SESSION))
        if self.accepts_cookie and self._may_come_by_cookie():
            by_cookie = await self._by_cookie()
            if by_cookie is not None:
                return await self._refreshed(by_cookie)
        return None

    def token_in_header(self) -> str | None:
        found = auth_header_pat.match(self.request.headers.get("Authorization", ""))
        return found[1] if found else None

    def _may_come_by_cookie(self) -> bool:
        # A form of any site can post text/plain that happens to be JSON, and cookies come along.
        kind = self.request.headers.get("Content-Type")
        if not self.is_api or self.request.method != "POST" or kind is None:
            return True
        return kind.partition(";")[0].strip().lower() == "application/json"

    async def _by_cookie(self) -> Requester | None:
        cookie = cookies.login_cookie(self.hub_settings, request_is_https=self._is_https)
        if self.get_cookie(cookie.name) is None:
            return None
        signed = self.get_signed_cookie(cookie.name, max_age_days=self.hub_settings.cookie_max_age_days)
        session_id = self.session_id or cookies.new_session_id()
        requester = None
        if signed is not None:
            requester = await self.house.requesters.by_cookie_id(signed.decode("utf-8", "replace"), session_id)
        if requester is None:
            self.clear_cookie(cookie.name, **cookie.clearing)
            return None
        if self.session_id is None:
            self._set_session(session_id)
        return requester

    async def _refreshed(self, requester: Requester) -> Requester | None:
        """Ask the authenticator, if that is due, whether this user is still welcome; None if they must log in."""
        if requester.user is None:
            return requester
        refreshed = await self.house.logins.refresh(requester.user, self)
        if refreshed.is_fresh:
            if refreshed.user is requester.user:
                return requester
            # What the authenticator said may have changed roles and groups.
            return await self._looked_up_again(requester)
        if requester.by_cookie or self._refresh_is_strict:
            return None
        self.log.warning("%s goes on with a token, though their login has expired", requester.name)
        return requester

    async def _looked_up_again(self, requester: Requester) -> Requester | None:
        if requester.by_cookie:
            assert requester.user is not None
            return await self.house.requesters.by_cookie_id(requester.user.cookie_id, requester.session_id)
        return await self.house.requesters.by_token(self.token_in_header() or "")

    @property
    def _refresh_is_strict(self) -> bool:
        return bool(getattr(self.house.authenticator, "auth_refresh_strict", False))

    async def refresh_before_spawn(self, user: User) -> None:
        """Ask the authenticator about the owner of a server that is about to start, if it wants that; Denied."""
        if self.house.authenticator.refresh_pre_spawn:
            await self._refresh_owner(user, "start")

    async def refresh_before_stop(self, user: User) -> None:
        """The same before a stop; what others stop, they stop."""
        if self.house.authenticator.refresh_pre_stop:
            await self._refresh_owner(user, "stop")

    async def _refresh_owner(self, user: User, doing: str) -> None:
        refreshed = await self.house.logins.refresh(user, self, force=True)
        if refreshed.is_fresh:
            return
        requester = self.requester
        is_own = requester is not None and requester.by_cookie and requester.is_user(user.name)
        if is_own or (self._refresh_is_strict and doing == "start"):
            raise Denied(f"The login of {user.name} has expired. {user.name} must log in again first.")
        self.log.warning("the login of %s has expired; their server may %s all the same", user.name, doing)

    # -- who asks

    def requester_is(self, user_name: str) -> bool:
        return self.requester is not None and self.requester.is_user(user_name)

    @property
    def user(self) -> User:
        """The user who asks, where a login has been demanded already."""
        if self.requester is None or self.requester.user is None:
            raise Denied()
        return self.requester.user

    @property
    def user_view(self) -> UserView | None:
        """The user who asks as plugins and templates see them; None for anybody else."""
        requester = self.requester
        return None if requester is None or requester.user is None else self.house.views.user(requester.user)

    @property
    def current_user(self) -> Any:
        """What tornado and plugins call the requester: a view of the user, or the row of the service."""
        if self._current_user is None and self.requester is not None:
            self._current_user = self.user_view or self.requester.service
        return self._current_user

    @current_user.setter
    def current_user(self, user: Any) -> None:
        self._current_user = user

    async def auth_state(self) -> Json:
        """Give what the authenticator keeps about the user who asks, for templates; None if nothing."""
        requester = self.requester
        if requester is None or requester.user is None:
            return None
        return await self.house.views.load_auth_state(requester.user.id)

    @property
    def _is_https(self) -> bool:
        # tornado has looked at X-Scheme and the last X-Forwarded-Proto (HTTPServer(xheaders=True)).
        return self.request.protocol == "https"

    # -- sessions

    def log_in_browser(self, user: User) -> None:
        """Send the cookies that make this browser the user's: login, session and XSRF token.

        The session is a new one unless the same user goes on in theirs: nobody can prepare one for somebody else.
        """
        goes_on = self.session_id is not None and self.requester_is(user.name)
        if not goes_on:
            self._set_session(cookies.new_session_id())
        self.set_login_of(user)

    def set_login_of(self, user: User) -> None:
        cookie = cookies.login_cookie(self.hub_settings, request_is_https=self._is_https)
        self.set_signed_cookie(cookie.name, user.cookie_id, **cookie.options)

    def _set_session(self, session_id: str) -> None:
        self.session_id = session_id
        cookie = cookies.session_cookie(self.hub_settings, request_is_https=self._is_https)
        self.set_cookie(cookie.name, session_id, **cookie.options)
        self._xsrf_token_text = None

    async def now_logged_in(self, user: User) -> None:
        """Make the user the requester of the rest of this request, and give the browser a token for the new session."""
        self.requester = await self.house.requesters.of_user(user, self.session_id)
        self._current_user = None
        self._renew_xsrf_token()

    def log_out_browser(self) -> None:
        """Clear all cookies of the hub. Who asks is still known for the rest of this request."""
        settings, https = self.hub_settings, self._is_https
        for cookie in (
            cookies.session_cookie(settings, request_is_https=https),
            cookies.login_cookie(settings, request_is_https=https),
            cookies.legacy_services_cookie(settings),
            cookies.xsrf_cookie(settings, logged_in=True),
        ):
            self.clear_cookie(cookie.name, **cookie.clearing)

    def now_logged_out(self) -> None:
        """Answer the rest of this request as to a stranger."""
        self.requester = self.session_id = self._xsrf_token_text = self._current_user = None

    # -- forged requests

    def check_xsrf_cookie(self) -> None:
        """Refuse the request if it must carry an XSRF token and does not. Plugins override this to take none."""
        # tornado calls it too, before anybody is known, if a deployment sets xsrf_cookies.
        if not self._is_prepared or not self.checks_xsrf:
            return
        requester, headers = self.requester, self.request.headers
        if requester is None and not self.checks_xsrf_of_strangers:
            return
        asked = xsrf.Asked(
            method=self.request.method or "",
            is_api=self.is_api,
            by_header_token=requester is not None and not requester.by_cookie,
            has_identity=requester is not None,
            has_origin="Origin" in headers,
            fetch_mode=headers.get("Sec-Fetch-Mode", ""),
            fetch_site=headers.get("Sec-Fetch-Site", ""),
        )
        if not xsrf.needs_token(asked):
            return
        given = self.get_argument("_xsrf", None) or headers.get("X-XSRFToken") or headers.get("X-CSRFToken")
        problem = xsrf.problem(given, self._kept_xsrf(), self._xsrf_statement(self._session_in_request), asked.method)
        if problem is not None:
            raise XsrfRefused(problem)

    @property
    def _session_in_request(self) -> str | None:
        return cookies.read_session_id(self.get_cookie(cookies.SESSION))

    def _xsrf_statement(self, session_id: str | None) -> bytes:
        requester = self.requester
        if requester is not None and requester.user is not None:
            return xsrf.xsrf_id(session_id, requester.user.cookie_id)
        return xsrf.xsrf_id(session_id, xsrf.anonymous_id().of(self.request.remote_ip or "", self.request.headers.get))

    def _kept_xsrf(self) -> xsrf.Kept | None:
        values = cookies.values_named(cookies.XSRF, self.request.headers.get_list("Cookie"))
        return xsrf.kept_by_browser(self.hub_settings.cookie_secret, values)

    @property
    def xsrf_token_text(self) -> str:
        """The XSRF token for this page: the browser's own if it is right, else a new one, which it is sent.

        "" before it is known who asks, and where nobody looks: a stranger's token would replace the right one.
        """
        if not self._is_prepared or not self.accepts_cookie:
            return ""
        if self._xsrf_token_text is None:
            kept, statement = self._kept_xsrf(), self._xsrf_statement(self.session_id)
            if kept is not None and kept.statement == statement:
                self._xsrf_token_text = kept.token
            else:
                self._renew_xsrf_token()
        return self._xsrf_token_text or ""

    @property
    def xsrf_token(self) -> bytes:
        """The same as tornado calls it."""
        return self.xsrf_token_text.encode("ascii")

    def _renew_xsrf_token(self) -> None:
        """Make a new token. Only somebody who goes to a page is sent it: the browser's other tabs keep theirs."""
        if not self._is_prepared:
            return
        token = xsrf.make_token(self.hub_settings.cookie_secret, self._xsrf_statement(self.session_id))
        self._xsrf_token_text = token
        if self._is_navigation and not self._headers_written:
            cookie = cookies.xsrf_cookie(self.hub_settings, logged_in=self.requester is not None)
            self.set_cookie(cookie.name, token, **cookie.options)

    @property
    def _is_navigation(self) -> bool:
        return xsrf.is_navigation(self.request.headers.get("Sec-Fetch-Mode", ""))

    # -- where to go next

    @property
    def our_site(self) -> next_url.OurSite:
        settings = self.hub_settings
        origin = addresses.public_origin(settings) if settings.public_url else browser_origin(self.request)
        return next_url.OurSite(origin, urlsplit(settings.subdomain_host).netloc)

    @property
    def next_argument(self) -> str | None:
        """The ``next`` of this request, checked: a path of this site, or None."""
        raw = self.get_argument("next", "")
        if not raw:
            return None
        target = next_url.validate_next(raw, self.our_site)
        if target is None:
            self.log.warning("refused to lead on to %r, which is not a place of this site", raw[:200])
        return target

    def get_next_url(self, user: Any = None, default: str | None = None) -> str:
        """Say where a visitor goes next: ``next`` if it is ours, else ``default``, else what the deployment says.

        For the last case ``look_at_default_server`` must have been awaited before, or a running server goes unnoticed.
        """
        target = self.next_argument
        if target is not None:
            return target
        url = default or self._configured_default_url() or self._home_of(user or self.current_user)
        return self.append_query_parameters(url)

    def _configured_default_url(self) -> str:
        configured = self.hub_settings.default_url
        return str((configured(self) if callable(configured) else configured) or "")

    def _home_of(self, user: Any) -> str:
        prefix = self.hub_settings.hub_prefix
        if user is None or not self.hub_settings.redirect_to_server:
            return f"{prefix}home"
        if self._default_server_is_active:
            return addresses.user_url(self.hub_settings, user.name)
        return f"{prefix}spawn"

    async def look_at_default_server(self, user: User) -> None:
        """Find out whether the user's default server runs, for ``get_next_url``, which cannot wait."""
        async with self.house.store.read() as tx:
            servers = await tx.servers.list_of_user(user.id)
        self._default_server_is_active = any(not server.key.name and server.is_active for server in servers)

    def append_query_parameters(self, url: str, exclude: Iterable[str] | None = None) -> str:
        """Append the query arguments of this request, but for ``next``, ``_xsrf`` and the excluded ones."""
        return next_url.with_arguments(url, next_url.travelling(self.request.query_arguments, but=tuple(exclude or ())))

    @property
    def login_page(self) -> str:
        """The hub's login page, which leads back here afterwards."""
        return next_url.with_arguments(f"{self.hub_settings.hub_prefix}login", [("next", self.request.uri or "/")])

    # -- what is on every answer

    @property
    def csp_report_uri(self) -> str:
        given = self.hub_settings.tornado_settings.get("csp_report_uri")
        return str(given or f"{self.hub_settings.hub_prefix}security/csp-report")

    @property
    def content_security_policy(self) -> str:
        return f"frame-ancestors 'none'; report-uri {self.csp_report_uri}"

    def set_default_headers(self) -> None:
        settings = self.hub_settings
        self.set_header("X-JupyterHub-Version", __version__)
        policy = self.content_security_policy
        if self.is_api:
            policy += "; default-src 'none'"
        self.set_header("Access-Control-Allow-Headers", _ALLOWED_HEADERS)
        self.set_header("Content-Security-Policy", policy)
        for name, value in settings.headers.items():
            self.set_header(name, value)

    @property
    def csp_nonce(self) -> str:
        """What the inline scripts of this page carry to be run, ``nonce="…"``: nobody can know it beforehand."""
        if self._csp_nonce is None:
            self._csp_nonce = secrets.token_urlsafe(16)
        return self._csp_nonce

    def _restrict_page(self, template: str, namespace: dict[str, Any]) -> None:
        """Put a page under the strict policy if all on it is ours, or the deployment says that it may."""
        configured = {name.lower() for name in self.hub_settings.headers}
        if "content-security-policy" in configured or not page_policy.applies(
            self.house.templates, template, namespace
        ):
            return
        strict = page_policy.directives(self.csp_nonce)
        self.set_header("Content-Security-Policy", f"{self.content_security_policy}; {strict}")

    def prefers_json(self) -> bool:
        """Say whether the client would rather have JSON than HTML."""
        accepted = get_accepted_mimetype(self.request.headers.get("Accept", ""), ["text/html", "application/json"])
        return accepted == "application/json"

    # -- pages

    async def render_page(self, template: str, **namespace: Any) -> None:
        """Answer with a page: a template with the variables that all of them have (pages.md §7), and these."""
        self.finish(await self.rendered(template, **namespace))

    async def rendered(self, template: str, **namespace: Any) -> str:
        await self._look_at_services()
        await self.house.bulletin.now()
        namespace = {**self.page_namespace(), **namespace}
        self._restrict_page(template, namespace)
        html_text: str = await self.house.templates.render(template, **namespace)
        return html_text

    def rendered_sync(self, template: str, **namespace: Any) -> str:
        """Render a page outside a coroutine; the services in its navigation bar are not looked for."""
        namespace = {**self.page_namespace(), **namespace}
        self._restrict_page(template, namespace)
        html_text: str = self.house.templates.render_sync(template, **namespace)
        return html_text

    @property
    def catalogue(self) -> texts.Catalogue:
        """The texts in the visitor's language; the template variable ``lang`` fixes it for a deployment."""
        fixed = self.house.templates.template_vars.get("lang")
        return texts.best_for(str(fixed or self.request.headers.get("Accept-Language", "")))

    def say(self, text: str, **values: object) -> str:
        """Give a text in the visitor's language, with its ``%(name)s`` filled in."""
        return self.catalogue.say(text, **values)

    def page_namespace(self) -> dict[str, Any]:
        """Give the variables that every page has."""
        settings, requester, authenticator = self.hub_settings, self.requester, self.house.authenticator
        token, catalogue = self.xsrf_token_text, self.catalogue
        return {
            "base_url": settings.hub_prefix,
            "prefix": settings.base_url,
            "user": self.current_user,
            "login_url": f"{settings.hub_prefix}login",
            "login_service": authenticator.login_service,
            "logout_url": authenticator.logout_url(settings.hub_prefix),
            "version_hash": settings.version_hash,
            "services": list(self._services),
            "parsed_scopes": {} if requester is None else dict(requester.scopes.held),
            "expanded_scopes": set() if requester is None else set(requester.scopes.raw),
            "xsrf": token,
            "xsrf_token": token,
            "csp_nonce": self.csp_nonce,
            "page_path": self.request.path,
            "lang": catalogue.language,
            "texts": catalogue.for_scripts,
            "gettext": catalogue.gettext,
            "posted": self.house.bulletin.last,
        }

    async def _look_at_services(self) -> None:
        """Find the services that the navigation bar offers: those with a page that the requester may enter."""
        requester = self.requester
        if requester is None or not requester.scopes.has_any("access:services"):
            return
        async with self.house.store.read() as tx:
            services = await tx.services.list(EVERYTHING)
        self._services = tuple(
            ServiceLink(service.name, addresses.service_href(self.hub_settings, service.name))
            for service in services
            if service.url
            and service.display is not False
            and requester.may("access:services", Target(service=service.name))
        )

    # -- errors

    def log_exception(
        self, typ: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Log what a client is not told, once, and without the secrets that an address may hold."""
        what = f"{self.request.method} {scrub_url(self.request.uri or '')[:2000]}"
        if isinstance(value, HubError | HTTPError):
            status, text = status_of(value).status, log_text_of(value)
            if text:
                self.log.log(logging.WARNING if status < 500 else logging.ERROR, "%d %s: %s", status, what, text)
            return
        assert typ is not None
        self.log.error("Uncaught exception in %s", what, exc_info=(typ, value, tb) if value is not None else None)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        if error is not None:
            answer = status_of(error)
            status_code, kwargs["reason"] = answer.status, answer.reason
        super().send_error(status_code, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        answer = status_of(error) if error is not None else status_of(HTTPError(status_code))
        for name, value in answer.headers.items():
            self.set_header(name, value)
        if answer.status == 403 and self.is_api and self.accepts_token and self.token_in_header():
            # RFC 6750 §3, but for the status: the contract knows no 401.
            by_token = self.requester is not None and not self.requester.by_cookie
            problem = "insufficient_scope" if by_token else "invalid_token"
            self.set_header("WWW-Authenticate", f'Bearer realm="JupyterHub", error="{problem}"')
        if answer.status == 405:
            self.set_header("Allow", ", ".join(self._other_methods()))  # RFC 9110 §15.5.6
        if self._should_not_send_content(status_code):
            self.finish()
        elif self.is_api:
            self.set_header("Content-Type", "application/json")
            # As text: tornado would add a charset to the type.
            self.finish(json.dumps({"status": answer.status, "message": answer.message}))
        else:
            self.set_header("Content-Type", "text/html; charset=UTF-8")
            self.finish(self._error_page(answer, error))

    def _other_methods(self) -> list[str]:
        """Give the methods that this address has, but for the one that was just refused."""
        unimplemented = RequestHandler.get  # what tornado has for every method until a class has its own
        return [
            method
            for method in self.SUPPORTED_METHODS
            if method != self.request.method and getattr(type(self), method.lower()) is not unimplemented
        ]

    def _error_page(self, answer: ErrorAnswer, error: BaseException | None) -> str:
        try:
            name = self.house.templates.first_of(f"{answer.status}.html", "error.html")
            return self.rendered_sync(name, **self.error_namespace(answer, error))
        except Exception:
            # A deployment's own template may be what is broken.
            self.log.exception("the error page could not be rendered")
            return f"<!DOCTYPE html><title>{answer.status}</title><h1>{answer.status} {html.escape(answer.reason)}</h1>"

    def error_namespace(self, answer: ErrorAnswer, error: BaseException | None) -> dict[str, Any]:
        return {
            "status_code": answer.status,
            "status_message": answer.reason,
            "message": "" if answer.is_our_fault else answer.message or "",
            "message_html": answer.message_html,
            "extra_error_html": self.extra_error_html,
            "exception": error,
        }

    @property
    def extra_error_html(self) -> str:
        """More HTML for the error page; for handlers of plugins."""
        return ""


def browser_origin(request: HTTPServerRequest) -> str:
    """``scheme://host[:port]`` as the browser sees it."""
    return f"{get_browser_protocol(request)}://{request.host}"
