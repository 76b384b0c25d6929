"""Addresses as plugins read them: ``spawner.server``, ``spawner.hub``, ``service.server``.

Values with observers, no workflow. The hub makes them from its own models (``hub/plugin_views.py``) and reads none
back, except what a Spawner has set.
"""

from __future__ import annotations

import socket
import warnings
from typing import Any, Self
from urllib.parse import unquote, urlsplit, urlunsplit

from traitlets import Any as AnyTrait
from traitlets import HasTraits, Integer, Unicode, default, observe, validate

from .traitlets import URLPrefix
from .utils import can_connect, fmt_ip_url, random_port, url_path_join, wait_for_http_server, wait_for_server

#: a server that listens on all interfaces is reached by the name of this machine
ALL_INTERFACES = ("", "0.0.0.0", "::")
#: the fields that follow from ``bind_url`` and the other way round
_ADDRESS = ("proto", "ip", "port", "base_url")


class Server(HasTraits):
    """Where an HTTP server listens (``ip``, ``port``, ``bind_url``) and how one gets there (``connect_*``, ``url``)."""

    #: the row of the original's ORM in tests of plugins; the hub's own objects have none
    orm_server = AnyTrait()

    ip = Unicode()
    connect_ip = Unicode()
    connect_port = Integer()
    proto = Unicode("http")
    port = Integer()
    base_url = URLPrefix("/")
    cookie_name = Unicode("")
    connect_url = Unicode("")
    connect_addr = Unicode()
    bind_url = Unicode("")
    certfile = Unicode()
    keyfile = Unicode()
    cafile = Unicode()
    socket_mode = Integer(0)

    _following = False

    def __init__(self, orm_server: Any = None, **kwargs: Any) -> None:
        if orm_server is not None:
            fields = ("proto", "ip", "port", "base_url", "cookie_name")
            kwargs = {**{name: getattr(orm_server, name) for name in fields}, **kwargs}
            kwargs["orm_server"] = orm_server
        super().__init__(**{name: value for name, value in kwargs.items() if value is not None})

    @classmethod
    def from_orm(cls, orm_server: Any) -> Self:
        """Make one from a row with ``proto``, ``ip``, ``port``, ``base_url`` and ``cookie_name``."""
        return cls(orm_server=orm_server)

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Make one that is bound to ``url``; the path is its ``base_url``."""
        return cls(bind_url=url)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(url={self.url}, bind_url={self.bind_url})"

    # -- bind_url on one side, proto, ip, port and base_url on the other

    @default("port")
    def _any_port(self) -> int:
        return random_port()

    @default("bind_url")
    def _compose_bind_url(self) -> str:
        return str(urlunsplit((self.proto, f"{fmt_ip_url(self.ip)}:{self.port}", self.base_url, "", "")))

    @observe("bind_url")
    def _follow_bind_url(self, change: Any) -> None:
        if self._following:
            return
        self._following = True
        try:
            parts = urlsplit(change["new"])
            self.proto = parts.scheme
            if self.is_unix:
                self.base_url = parts.path or "/"
                return
            self.ip = parts.hostname or ""
            self.port = parts.port or (443 if parts.scheme == "https" else 80)
            self.base_url = parts.path or "/"
        finally:
            self._following = False

    @observe(*_ADDRESS, "cookie_name")
    def _follow_field(self, change: Any) -> None:
        name, value = change["name"], change["new"]
        if self.orm_server is not None and getattr(self.orm_server, name, None) != value:
            setattr(self.orm_server, name, value)
        if name in _ADDRESS and not self._following and not self.bind_url.startswith("http+unix://"):
            self._following = True
            try:
                self.bind_url = self._compose_bind_url()
            finally:
                self._following = False

    # -- how one gets there

    @property
    def is_unix(self) -> bool:
        """Whether it listens on a Unix socket (``http+unix://%2Fpath``)."""
        return self.bind_url.startswith("http+unix://")

    @property
    def socket_path(self) -> str:
        """The Unix socket; "" if there is none."""
        return unquote(urlsplit(self.bind_url).netloc) if self.is_unix else ""

    @validate("connect_url")
    def _check_connect_url(self, proposal: Any) -> str:
        """With a path it is the whole address; without one only the host, and ``base_url`` comes behind it."""
        url = str(proposal["value"])
        if not url or urlsplit(url).path in ("", "/"):
            return url.rstrip("/")
        return url if url.endswith("/") else url + "/"

    @default("connect_addr")
    def _default_connect_addr(self) -> str:
        return self._reachable_ip

    @property
    def _reachable_ip(self) -> str:
        ip = self.connect_ip or self.ip
        return socket.gethostname() if ip in ALL_INTERFACES else ip

    @property
    def _reachable_port(self) -> int:
        return self.connect_port or self.port

    @property
    def host(self) -> str:
        """``proto://ip:port``, as a client on this network uses it."""
        if self.connect_url:
            parts = urlsplit(self.connect_url)
            return f"{parts.scheme}://{parts.netloc}"
        if self.is_unix:
            parts = urlsplit(self.bind_url)
            return f"{parts.scheme}://{parts.netloc}"
        return f"{self.proto}://{fmt_ip_url(self._reachable_ip)}:{self._reachable_port}"

    @property
    def url(self) -> str:
        """``host`` with the base URL."""
        return self.connect_url if urlsplit(self.connect_url).path else self.host + self.base_url

    async def wait_up(
        self,
        timeout: float = 10,  # noqa: ASYNC109 (the original's interface)
        http: bool = False,
        ssl_context: Any = None,
        extra_path: str = "",
    ) -> Any:
        """Wait until it accepts connections, or with ``http`` answers with a status below 500. TimeoutError."""
        if http:
            return await wait_for_http_server(
                url_path_join(self.url, extra_path) if extra_path else self.url,
                timeout=timeout,
                ssl_context=ssl_context,
            )
        if self.is_unix:
            return await wait_for_server(self.socket_path, 0, timeout=timeout, unix_socket=True)
        return await wait_for_server(self._reachable_ip, self._reachable_port, timeout=timeout)

    def is_up(self) -> bool:
        """Say whether it accepts connections now; blocks for up to a second."""
        if self.is_unix:
            return can_connect(self.socket_path, 0, unix_socket=True)
        return can_connect(self._reachable_ip, self._reachable_port)


class Hub(Server):
    """The hub as spawners, authenticators and proxies see it; its ``base_url`` ends with ``hub/``."""

    cookie_name = Unicode("jupyterhub-hub-login")
    #: scheme and host that browsers use, "" when that is not configured
    public_host = Unicode()
    #: where its route in the proxy is
    routespec = Unicode()

    @property
    def server(self) -> Hub:
        """Itself (deprecated)."""
        warnings.warn("Hub.server is deprecated: the hub is its own server object", DeprecationWarning, stacklevel=2)
        return self

    @property
    def api_url(self) -> str:
        """The REST API, as servers reach it; no slash at the end."""
        return url_path_join(self.url, "api")
