"""From traits to ``HubSettings``: the one place where the hub's settings are read from its application.

``settle`` lets traits that depend on each other agree and writes the result back to the application, where plugins read
it; ``settings_from`` makes the frozen settings that everything else is given.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jupyterhub.hub.settings import HubSettings
from jupyterhub.utils import subdomain_hook_idna, subdomain_hook_legacy
from jupyterhub.words.errors import ConfigurationError
from jupyterhub.words.urls import url_path_join

from . import addresses
from .secrets import cookie_secret

if TYPE_CHECKING:
    from .app import JupyterHub

SUBDOMAIN_HOOKS: Mapping[str, Callable[..., str]] = {"idna": subdomain_hook_idna, "legacy": subdomain_hook_legacy}

#: traits of which the setting is the value as it is
AS_THEY_ARE = (
    "active_server_limit",
    "active_user_window",
    "activity_resolution",
    "admin_access",
    "allow_existing_invalid_named_servers",
    "allow_named_servers",
    "api_page_default_limit",
    "api_page_max_limit",
    "api_tokens",
    "authenticate_prometheus",
    "authenticator_class",
    "base_url",
    "bind_url",
    "cleanup_servers",
    "concurrent_spawn_limit",
    "cookie_host_prefix_enabled",
    "cookie_max_age_days",
    "custom_scopes",
    "data_files_path",
    "default_url",
    "domain",
    "extra_handlers",
    "forwarded_host_header",
    "hub_connect_ip",
    "hub_connect_port",
    "hub_connect_url",
    "hub_prefix",
    "hub_routespec",
    "hub_socket_mode",
    "implicit_spawn_seconds",
    "init_spawners_timeout",
    "internal_certs_location",
    "internal_ssl",
    "internal_ssl_ca",
    "internal_ssl_cert",
    "internal_ssl_key",
    "internal_trust_bundles",
    "jinja_environment_options",
    "last_activity_interval",
    "load_groups",
    "load_roles",
    "logo_file",
    "named_server_limit_per_user",
    "oauth_require_pkce",
    "oauth_token_expires_in",
    "proxy_class",
    "public_url",
    "redirect_to_server",
    "service_check_interval",
    "service_tokens",
    "services",
    "shutdown_on_logout",
    "spawner_class",
    "ssl_cert",
    "ssl_key",
    "subdomain_hook",
    "subdomain_host",
    "template_paths",
    "template_vars",
    "token_expires_in_max_seconds",
    "trust_user_provided_tokens",
    "trusted_alt_names",
    "trusted_downstream_ips",
    "use_legacy_stopped_server_status_code",
    "user_redirect_hook",
)

#: keys of ``tornado_settings`` that are settings of the hub as well
FROM_TORNADO_SETTINGS = (
    "cookie_options",
    "headers",
    "slow_spawn_timeout",
    "slow_stop_timeout",
    "spawn_throttle_retry_range",
    "user_redirect_limit",
    "version_hash",
    "xsrf_cookie_kwargs",
)


def settle(app: JupyterHub) -> None:
    """Let the traits of addresses and the like agree, and refuse what cannot work. A second time does nothing."""
    if app.is_settled:
        return
    _settle_public_side(app)
    _settle_private_side(app)
    _settle_plugins_and_pages(app)
    app.is_settled = True


def settings_from(app: JupyterHub, *, with_cookie_secret: bool = True) -> HubSettings:
    """Give the settings of a hub. Makes and writes the cookie secret if there is none, unless it is not needed here."""
    settle(app)
    address = hub_address(app)
    values: dict[str, Any] = {name: getattr(app, name) for name in AS_THEY_ARE}
    values["spawn_throttle_retry_range"] = app.spawn_throttle_retry_range
    values["version_hash"] = datetime.now(UTC).strftime("%Y%m%d%H%M%S")
    values |= {name: app.tornado_settings[name] for name in FROM_TORNADO_SETTINGS if name in app.tornado_settings}
    return HubSettings(
        **values,
        cleanup_proxy=app.cleanup_proxy if app.is_set("cleanup_proxy") else None,
        extra_user_scopes=frozenset(app.extra_user_scopes),
        default_server_name=_default_server_name(app),
        public_host=addresses.origin(app.public_url),
        public_hub_url=app.public_url and url_path_join(app.public_url, "hub") + "/",
        hub_bind_url=address.bind_url,
        hub_bind_ip=address.ip,
        hub_bind_port=address.port,
        hub_bind_socket=address.socket,
        hub_connect_url_effective=address.connect_url,
        hub_origin=addresses.origin(address.connect_url),
        hub_api_url=address.connect_url + "api",
        cookie_secret=_cookie_secret(app) if with_cookie_secret else b"",
        tornado_settings=app.tornado_settings,
    )


def _cookie_secret(app: JupyterHub) -> bytes:
    return cookie_secret(app.cookie_secret, app.cookie_secret_file, environ=os.environ)


def packaged_templates(app: JupyterHub) -> str:
    return os.path.join(app.data_files_path, "templates")


def subdomain_hook(hook: str | Callable[..., str], log: logging.Logger) -> Callable[..., str]:
    if callable(hook):
        return hook
    if hook not in SUBDOMAIN_HOOKS:
        raise ConfigurationError(
            f"JupyterHub.subdomain_hook = {hook!r} is unknown. Set 'idna', 'legacy', or a function(name, domain, kind)."
        )
    if hook == "legacy":
        log.warning("JupyterHub.subdomain_hook = 'legacy' is deprecated: some names cannot be told apart. Use 'idna'.")
    return SUBDOMAIN_HOOKS[hook]


def _settle_public_side(app: JupyterHub) -> None:
    tls = app.is_tls
    separate = [name for name in ("ip", "port", "base_url") if app.differs(name)]
    if _url_and_separate_traits_are_both_set(app, separate):
        app.log.warning(
            "Both JupyterHub.bind_url and %s have been configured. The latter win. Please use one or the other.",
            "/".join(separate),
        )
        app.bind_url = addresses.bind_url(ip=app.ip, port=app.port, base_url=app.base_url, tls=tls)
    app.bind_url = addresses.with_scheme_for(app.bind_url, tls=tls)
    app.base_url = addresses.base_url_of(app.bind_url)
    app.hub_prefix = url_path_join(app.base_url, "hub") + "/"

    given = app.subdomain_host
    app.subdomain_host = addresses.subdomain_host(given)
    if given and "://" not in given:
        app.log.warning("Adding the missing https:// to JupyterHub.subdomain_host = %r", app.subdomain_host)
    public = app.public_url or (app.subdomain_host and app.subdomain_host + app.base_url)
    if public:
        app.public_url = addresses.public_url(public, base_url=app.base_url)
        if "://" not in public:
            app.log.warning("Adding the missing https:// to JupyterHub.public_url = %r", app.public_url)
    app.domain = urlsplit(app.public_url).hostname or ""
    app.subdomain_hook = subdomain_hook(app.subdomain_hook, app.log)


def _url_and_separate_traits_are_both_set(app: JupyterHub, separate: list[str]) -> bool:
    """Whether ip, port or base_url contradict bind_url, and count: the command line beats the file."""
    url_given = app.is_set("bind_url")
    if not url_given or not separate or app.bind_url == _combined(app):
        return False
    on_command_line = app.cli_config.get("JupyterHub", {})
    if "bind_url" in on_command_line and not any(name in on_command_line for name in separate):
        return False
    return any(app.is_set(name) for name in separate)


def _combined(app: JupyterHub) -> str:
    return addresses.bind_url(ip=app.ip, port=app.port, base_url=app.base_url, tls=app.is_tls)


def _settle_private_side(app: JupyterHub) -> None:
    if app.hub_connect_port:
        app.log.warning("JupyterHub.hub_connect_port is deprecated. Set JupyterHub.hub_connect_url.")
    address = hub_address(app)
    if app.hub_bind_url:
        app.hub_bind_url = address.bind_url
    if app.hub_connect_url:
        app.hub_connect_url = address.connect_url
        if app.internal_ssl and app.hub_connect_url.startswith("http:"):
            app.log.warning(
                "JupyterHub.hub_connect_url = %r, but with internal_ssl the hub speaks https: servers do not reach it "
                "there, unless something in between shows a certificate for them.",
                app.hub_connect_url,
            )
    everything = "/" if app.subdomain_host else app.base_url
    app.hub_routespec = addresses.routespec(app.hub_routespec, host_routing=bool(app.subdomain_host))
    if app.hub_routespec != everything:
        app.log.warning(
            "The proxy sends only %s to the hub (JupyterHub.hub_routespec): nobody answers for stopped servers.",
            app.hub_routespec,
        )


def hub_address(app: JupyterHub) -> addresses.HubAddress:
    return addresses.hub_address(
        hub_prefix=app.hub_prefix,
        hub_bind_url=app.hub_bind_url,
        hub_ip=app.hub_ip,
        hub_port=app.hub_port,
        hub_connect_url=app.hub_connect_url,
        hub_connect_ip=app.hub_connect_ip,
        hub_connect_port=app.hub_connect_port,
        internal_ssl=app.internal_ssl,
    )


def _settle_plugins_and_pages(app: JupyterHub) -> None:
    packaged = packaged_templates(app)
    app.template_paths = [*(path for path in app.template_paths if path != packaged), packaged]
    if app.admin_users:
        if app.config.get("Authenticator", {}).get("admin_users"):
            app.log.warning("JupyterHub.admin_users is ignored: Authenticator.admin_users is set.")
        else:
            app.log.warning("JupyterHub.admin_users is deprecated. Set Authenticator.admin_users.")
            app.config.Authenticator.admin_users = set(app.admin_users)


def _default_server_name(app: JupyterHub) -> str:
    if app.default_server_name and not app.allow_named_servers:
        app.log.warning(
            "Ignoring JupyterHub.default_server_name = %r: it needs JupyterHub.allow_named_servers = True.",
            app.default_server_name,
        )
        return ""
    return app.default_server_name
