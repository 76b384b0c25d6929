"""How the traits about addresses combine: which URL the proxy, the hub and the public use (surprises included).

Plain functions over values; ``settings.py`` calls them with the traits and writes the results back, so that plugins
that read ``app.bind_url`` see what holds. What cannot work is refused with a ConfigurationError that names the trait.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from jupyterhub.words.errors import ConfigurationError

#: addresses that mean "all of this machine"; nobody can connect to them
ALL = frozenset({"", "*", "0.0.0.0", "::"})
UNIX = "http+unix"


def bracketed(ip: str) -> str:
    """An address as it stands in a URL."""
    return f"[{ip}]" if ":" in ip else ip


def split_url(url: str, trait: str, *, schemes: tuple[str, ...] = ("http", "https", UNIX)) -> SplitResult:
    """Split a URL from the configuration. Without a scheme it would be taken for a path, which nobody means."""
    parts = urlsplit(url)
    try:
        port_is_a_number = parts.port is None or parts.port >= 0
    except ValueError:
        port_is_a_number = False
    if "://" not in url or parts.scheme not in schemes or not port_is_a_number:
        raise ConfigurationError(
            f"{trait} = {url!r} is not a URL that works here. Write {' or '.join(s + '://' for s in schemes)} and then "
            "HOST:PORT, for example http://127.0.0.1:8000 (no host means all addresses)."
        )
    return parts


def with_path(parts: SplitResult, path: str) -> str:
    return f"{parts.scheme}://{parts.netloc}{path}"


# -- the public side


def bind_url(*, ip: str, port: int, base_url: str, tls: bool) -> str:
    """The URL that the proxy listens on, from the old separate traits."""
    return f"{'https' if tls else 'http'}://{bracketed(ip)}:{port}{base_url}"


def with_scheme_for(url: str, *, tls: bool) -> str:
    """Give ``bind_url`` the scheme that follows from ``ssl_cert``; what it says itself does not count."""
    parts = split_url(url, "JupyterHub.bind_url")
    scheme = parts.scheme if parts.scheme == UNIX else ("https" if tls else "http")
    return f"{scheme}://{parts.netloc}{parts.path}"


def base_url_of(url: str) -> str:
    """The path of a URL with both slashes."""
    path = urlsplit(url).path.strip("/")
    return f"/{path}/" if path else "/"


def public_url(url: str, *, base_url: str) -> str:
    """Check and complete ``public_url``: it ends with ``base_url``, because that is where the hub's pages are."""
    if "://" not in url:
        url = f"https://{url}"
    parts = split_url(url, "JupyterHub.public_url", schemes=("https", "http"))
    path = parts.path if parts.path.endswith("/") else parts.path + "/"
    # With a base_url of / any path is right: something in front of us may take the first part of it away.
    if not parts.hostname or not path.endswith(base_url):
        raise ConfigurationError(
            f"JupyterHub.public_url = {url!r} must name a host and include base_url: {base_url!r}. "
            f"Write {parts.scheme}://{parts.netloc or 'hub.example.org'}{base_url}, or change JupyterHub.base_url."
        )
    return with_path(parts, path)


def subdomain_host(host: str) -> str:
    """Check and complete ``subdomain_host``: ``scheme://host[:port]``, nothing behind."""
    if not host:
        return ""
    if "://" not in host:
        host = f"https://{host}"
    parts = split_url(host, "JupyterHub.subdomain_host", schemes=("https", "http"))
    if not parts.hostname or parts.path.strip("/"):
        raise ConfigurationError(
            f"JupyterHub.subdomain_host = {host!r} must be a host alone, for example https://hub.example.org. "
            "A path belongs into JupyterHub.base_url."
        )
    return f"{parts.scheme}://{parts.netloc}"


def origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


def routespec(spec: str, *, host_routing: bool) -> str:
    """Complete ``hub_routespec``: slashes on both sides; with subdomains a host may stand in front."""
    if not spec.endswith("/"):
        spec += "/"
    return spec if host_routing or spec.startswith("/") else f"/{spec}"


# -- the private side


@dataclass(frozen=True, slots=True, kw_only=True)
class HubAddress:
    """Where the hub listens, and where the others find it."""

    #: the URL to listen on, with the hub's prefix
    bind_url: str
    #: "" for all addresses or a socket
    ip: str
    port: int
    #: path of the UNIX socket, "" for a TCP port
    socket: str
    #: the URL to connect to, with the hub's prefix
    connect_url: str


def hub_address(
    *,
    hub_prefix: str,
    hub_bind_url: str,
    hub_ip: str,
    hub_port: int,
    hub_connect_url: str,
    hub_connect_ip: str,
    hub_connect_port: int,
    internal_ssl: bool = False,
) -> HubAddress:
    """Combine the traits of the hub's own address. A URL beats ip and port; whatever path it has becomes the prefix.

    The scheme follows from ``internal_ssl``, except in ``hub_connect_url``: who sets that knows what is in between.
    """
    path, scheme = "", "https" if internal_ssl else "http"
    if hub_bind_url:
        schemes = ("https", "http", UNIX) if internal_ssl else ("http", UNIX)
        parts = split_url(hub_bind_url, "JupyterHub.hub_bind_url", schemes=schemes)
        if parts.scheme == UNIX:
            path, ip, port = unquote(parts.netloc), "", 0
            if not path:
                raise ConfigurationError(
                    f"JupyterHub.hub_bind_url = {hub_bind_url!r} names no socket. Write http+unix:// and then the path "
                    "with its slashes as %2F: http+unix://%2Frun%2Fjupyterhub.sock"
                )
        else:
            parts = parts._replace(scheme=scheme)
            ip, port = parts.hostname or "", (443 if internal_ssl else 80) if parts.port is None else parts.port
        bound = with_path(parts, hub_prefix)
    else:
        ip, port = hub_ip, hub_port
        bound = f"{scheme}://{bracketed(ip)}:{port}{hub_prefix}"
    if hub_connect_url:
        parts = split_url(hub_connect_url, "JupyterHub.hub_connect_url")
        connect = with_path(parts, hub_prefix)
    elif path:
        connect = bound
    else:
        host = hub_connect_ip or (socket.gethostname() if ip in ALL else ip)
        connect = f"{scheme}://{bracketed(host)}:{hub_connect_port or port}{hub_prefix}"
    return HubAddress(bind_url=bound, ip="" if ip == "*" else ip, port=port, socket=path, connect_url=connect)
