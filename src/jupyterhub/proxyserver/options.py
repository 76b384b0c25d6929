"""The command line of configurable-http-proxy (proxy-contract.md §1), read once into frozen settings.

Every flag does what it says or ends the program with a sentence: none is accepted and ignored. Times are milliseconds
on the command line and seconds inside. Secrets come from the environment only.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from jupyterhub.words.version import __version__

from .certificates import HTTP_01, LETS_ENCRYPT, TLS_ALPN_01, Acme
from .limits import CONNECT_TIMEOUT_S, Limits
from .protocol.fields import ForwardingRules
from .protocol.targets import BadTarget, Target, parse_target
from .trust import Trust

LOG_LEVELS = {"debug": "DEBUG", "info": "INFO", "warn": "WARNING", "warning": "WARNING", "error": "ERROR"}

_DNS_NAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*(?<!-)")
_FIELD_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen: a Unix socket if ``socket_path`` is set; ``ip`` ``""`` means all interfaces."""

    ip: str = ""
    port: int = 0
    socket_path: str = ""

    def __str__(self) -> str:
        if self.socket_path:
            return self.socket_path
        return f"{f'[{self.ip}]' if ':' in self.ip else self.ip or '*'}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """One of the three sets of TLS options: public side, REST API, upstreams."""

    key: str = ""
    cert: str = ""
    ca: str = ""
    request_cert: bool = False
    reject_unauthorized: bool = False
    passphrase: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    public: Listen
    api: Listen
    rules: ForwardingRules
    metrics: Listen | None = None
    redirect_port: int | None = None
    #: the port that redirects name
    redirect_to: int = 443
    public_tls: TlsFiles | None = None
    #: further certificates of the public side, for clients that ask for one of their names
    sni_tls: Sequence[TlsFiles] = ()
    #: who certifies ``public_tls``, if nobody gives files
    acme: Acme | None = None
    #: ``--ssl-protocol``, e.g. ``TLSv1_2``; "" for whatever the library holds safe
    tls_protocol: str = ""
    tls_ciphers: str = ""
    tls_dhparam: str = ""
    api_tls: TlsFiles | None = None
    client_tls: TlsFiles = TlsFiles()
    #: certificates of upstreams are verified
    verify_upstreams: bool = True
    host_routing: bool = False
    default_target: str = ""
    error_target: Target | None = None
    error_path: Path | None = None
    pid_file: Path | None = None
    log_level: str = "INFO"
    limits: Limits = field(default_factory=Limits)
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    #: SIGTERM lets running exchanges end for so long; SIGQUIT does it in any case
    drain_timeout_s: float = 0.0
    trust: Trust = field(default_factory=lambda: Trust.parse("private"))
    access_log: bool = False
    #: all of it, for processes that do the same
    command_line: Sequence[str] = ()
    workers: int = 1
    api_secret: str = ""


class UsageError(Exception):
    """The command line cannot be followed. The message is one line for the person who wrote it."""


def read_settings(argv: Sequence[str] | None, environment: Mapping[str, str]) -> Settings:
    """Read the command line. Raises ``UsageError``; ``--help`` and ``--version`` end the program."""
    argv = sys.argv[1:] if argv is None else argv
    options = _parser().parse_args(argv)
    if options.storage_backend:
        raise UsageError("--storage-backend: other stores are Node.js classes. Routes are always kept in memory here")
    if options.ssl_allow_rc4:
        raise UsageError("--ssl-allow-rc4: RC4 is broken and no longer in the TLS library")
    if options.error_target and options.error_path:
        raise UsageError("Cannot specify both error-target and error-path. Pick one.")
    public_tls = _tls_files(options, "", environment.get("CONFIGPROXY_SSL_KEY_PASSPHRASE", ""))
    acme = _acme(options)
    if acme is not None:
        if public_tls is not None:
            raise UsageError("--acme-name and --ssl-cert: the certificate can come from one of both only.")
        public_tls = TlsFiles(key=str(acme.certificate), cert=str(acme.certificate))
    if options.redirect_port is not None and public_tls is None:
        raise UsageError("HTTPS redirection specified but certificates not provided.")
    if options.ssl_sni and public_tls is None:
        raise UsageError("--ssl-sni needs --ssl-key and --ssl-cert, for clients that ask for no name or another one.")
    if options.hsts is None and options.hsts_subdomains:
        raise UsageError("--hsts-subdomains needs --hsts.")
    if options.hsts is not None and public_tls is None:
        raise UsageError("--hsts: the public side is plain HTTP, which must not say it.")
    hsts = b""
    if options.hsts is not None:
        subdomains = b"; includeSubDomains" if options.hsts_subdomains else b""
        hsts = b"max-age=%d%b" % (options.hsts, subdomains)
    if options.redirect_to is not None and options.redirect_port is None:
        raise UsageError("--redirect-to is the destination of --redirect-port, which is missing.")
    client_tls = TlsFiles(
        key=options.client_ssl_key,
        cert=options.client_ssl_cert,
        ca=options.client_ssl_ca,
        request_cert=options.client_ssl_request_cert,
        reject_unauthorized=options.client_ssl_reject_unauthorized,
    )
    if bool(client_tls.key) != bool(client_tls.cert):
        raise UsageError("--client-ssl-key and --client-ssl-cert belong together.")
    public_port = options.port
    api_port = options.api_port
    if api_port is None:
        api_port = public_port + 1 if 0 < public_port < 65535 else 0
    metrics: Listen | None = None
    if options.metrics_port is not None or options.metrics_socket:
        metrics = Listen(_interface(options.metrics_ip), options.metrics_port or 0, options.metrics_socket)
    return Settings(
        public=Listen(_interface(options.ip), public_port, options.socket),
        api=Listen(_interface(options.api_ip), api_port, options.api_socket),
        metrics=metrics,
        redirect_port=options.redirect_port,
        redirect_to=options.redirect_to if options.redirect_to is not None else public_port,
        public_tls=public_tls,
        acme=acme,
        sni_tls=[replace(public_tls, cert=cert, key=key) for cert, key in options.ssl_sni] if public_tls else (),
        tls_protocol=options.ssl_protocol,
        tls_ciphers=options.ssl_ciphers,
        tls_dhparam=options.ssl_dhparam,
        api_tls=_tls_files(options, "api_", environment.get("CONFIGPROXY_API_SSL_KEY_PASSPHRASE", "")),
        client_tls=client_tls,
        verify_upstreams=not options.insecure,
        rules=ForwardingRules(
            x_forward=not options.no_x_forward,
            change_origin=options.change_origin,
            prepend_path=not options.no_prepend_path,
            include_prefix=not options.no_include_prefix,
            auto_rewrite=options.auto_rewrite,
            protocol_rewrite=options.protocol_rewrite.encode(),
            custom_fields=tuple(options.custom_header),
            hsts=hsts,
        ),
        host_routing=options.host_routing,
        default_target=options.default_target,
        error_target=options.error_target,
        error_path=Path(options.error_path) if options.error_path else None,
        pid_file=Path(options.pid_file) if options.pid_file else None,
        log_level=options.log_level,
        limits=Limits(
            first_byte_s=options.first_byte_timeout,
            head_s=options.head_timeout,
            keep_alive_s=options.keep_alive_timeout,
            body_s=options.body_timeout,
            write_s=options.write_timeout,
            silence_s=options.timeout or None,
            upstream_silence_s=options.proxy_timeout or None,
            ping_s=options.websocket_ping_interval,
            max_head_bytes=options.max_head_bytes,
            max_connections=options.max_connections,
            max_connections_per_client=options.max_connections_per_client,
        ),
        connect_timeout_s=options.connect_timeout,
        drain_timeout_s=options.drain_timeout,
        trust=options.trusted_proxies,
        access_log=options.access_log,
        command_line=tuple(argv),
        workers=max(1, options.workers),
        api_secret=environment.get("CONFIGPROXY_AUTH_TOKEN", ""),
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="jupyterhub-proxy",
        description="The public proxy of a JupyterHub. CONFIGPROXY_AUTH_TOKEN in the environment secures its REST API.",
        allow_abbrev=False,
    )
    add = parser.add_argument

    def flag(name: str, help: str) -> None:
        add(name, action="store_true", help=help)

    def text(name: str, metavar: str, help: str, default: str = "") -> None:
        add(name, metavar=metavar, default=default, help=help)

    add("-V", "--version", action="version", version=__version__)
    text("--ip", "IP", "public address; empty means all interfaces (default)")
    add("--port", type=_port, default=8000, metavar="N", help="public port (default 8000)")
    text("--socket", "PATH", "Unix socket to listen on instead of an address and port")
    for prefix, whose in (("", ""), ("api-", " of the REST API"), ("client-", " shown to upstreams")):
        text(f"--{prefix}ssl-key", "FILE", f"TLS key{whose}")
        text(f"--{prefix}ssl-cert", "FILE", f"TLS certificate{whose}")
        text(
            f"--{prefix}ssl-ca",
            "FILE",
            f"TLS certificate authority to verify the other side{whose and ' (' + prefix + ')'}",
        )
        flag(f"--{prefix}ssl-request-cert", "ask the other side for a certificate")
        flag(f"--{prefix}ssl-reject-unauthorized", "refuse the other side without a valid certificate")
    add(
        "--ssl-sni",
        nargs=2,
        action="append",
        default=[],
        metavar=("CERT", "KEY"),
        help="a further certificate, for clients that ask for one of its names; may be repeated",
    )
    text("--ssl-protocol", "NAME", "the one TLS version to speak, e.g. TLSv1_2 (default: 1.2 and newer)")
    text("--ssl-ciphers", "LIST", "`:`-separated ciphers of TLS 1.2")
    flag("--ssl-allow-rc4", "not supported")
    text("--ssl-dhparam", "FILE", "Diffie-Hellman parameters")
    text("--api-ip", "IP", "address of the REST API (default localhost)", default="localhost")
    add("--api-port", type=_port, metavar="N", help="port of the REST API (default: public port + 1)")
    text("--api-socket", "PATH", "Unix socket of the REST API instead of an address and port")
    add("--default-target", type=_target_text, default="", metavar="URL", help="target of the route /")
    add("--error-target", type=_target, default=None, metavar="URL", help="server of pages for errors of the proxy")
    text("--error-path", "DIR", "directory of pages for errors of the proxy: <status>.html, error.html")
    add("--redirect-port", type=_port, metavar="N", help="port on which HTTP is redirected to HTTPS")
    add("--redirect-to", type=_port, metavar="N", help="port to which it is redirected (default: public port)")
    add(
        "--acme-name",
        type=_dns_name,
        action="append",
        default=[],
        metavar="NAME",
        help="fetch and renew a certificate for this host by ACME; may be repeated, for one certificate with all names",
    )
    text("--acme-directory", "DIR", "keep account and certificates there")
    text("--acme-url", "URL", "the directory of the authority (default: Let's Encrypt)", LETS_ENCRYPT)
    flag("--acme-accept-terms", "you have read the authority's terms of service and agree to them")
    text("--acme-email", "ADDRESS", "where the authority can reach you")
    add(
        "--acme-challenge",
        choices=[HTTP_01, TLS_ALPN_01],
        metavar="TYPE",
        help="http-01 (default with --redirect-port, which must be the world's port 80) or tls-alpn-01 (on port 443)",
    )
    add(
        "--hsts",
        type=_count,
        metavar="SECONDS",
        help="browsers shall come by HTTPS only, for so long (Strict-Transport-Security); 0 takes it back",
    )
    flag("--hsts-subdomains", "… and to all subdomains of the host that they have asked")
    text("--pid-file", "FILE", "write our process id to this file")
    flag("--no-x-forward", "do not add X-Forwarded-* to requests")
    flag("--no-prepend-path", "do not put the path of the target before that of the request")
    flag("--no-include-prefix", "take the path of the route off that of the request")
    flag("--auto-rewrite", "rewrite Location of redirects from the target's host to the client's")
    flag("--change-origin", "set Host to that of the target")
    text("--protocol-rewrite", "SCHEME", "rewrite the scheme of such redirects")
    add("--custom-header", type=_header, action="append", default=[], metavar="NAME:VALUE", help="add to requests")
    flag("--insecure", "do not verify certificates of upstreams")
    flag("--host-routing", "the first segment of a route is a host")
    text("--metrics-ip", "IP", "address of the metrics")
    add("--metrics-port", type=_port, metavar="N", help="port of the metrics (default: no metrics)")
    text("--metrics-socket", "PATH", "Unix socket of the metrics instead of an address and port")
    add("--log-level", type=_log_level, default="INFO", metavar="LEVEL", help="debug, info (default), warn, error")
    add("--timeout", type=_milliseconds, metavar="MS", help="drop a client's connection on which nothing moves so long")
    add("--proxy-timeout", type=_milliseconds, metavar="MS", help="give up on an upstream that is silent so long")
    text("--storage-backend", "CLASS", "not supported")
    for name, default, what in (
        ("--keep-alive-timeout", 5_000, "keep idle clients so long"),
        ("--first-byte-timeout", 60_000, "wait so long for the first byte of a new connection"),
        ("--head-timeout", 60_000, "wait so long for the whole head of a request"),
        ("--body-timeout", 300_000, "wait so long between two pieces of a request's body"),
        ("--write-timeout", 300_000, "wait so long for a client to take something of what is sent to it"),
        ("--connect-timeout", 10_000, "wait so long for a connection to an upstream"),
        ("--websocket-ping-interval", 0, "ping clients of WebSockets on which nothing moves so long; 0 for never"),
        ("--drain-timeout", 0, "after SIGTERM let running exchanges end for so long; SIGQUIT does that in any case"),
    ):
        add(name, type=_milliseconds, default=default / 1000, metavar="MS", help=f"{what} (default {default})")
    add("--max-head-bytes", type=_count, default=65536, metavar="N", help="largest head of a request (default 65536)")
    add("--max-connections", type=_count, default=0, metavar="N", help="of clients; 0 for any number (default)")
    add(
        "--max-connections-per-client",
        type=_count,
        default=0,
        metavar="N",
        help="from one address that is no trusted proxy; 0 for any number (default)",
    )
    add(
        "--trusted-proxies",
        type=_trust,
        default="private",
        metavar="LIST",
        help="who may say X-Forwarded-* and Forwarded about others: addresses, networks, private (default), all, none",
    )
    add("--workers", type=_count, default=1, metavar="N", help="processes that proxy (default 1)")
    flag("--access-log", "log a line for each answer, without queries")
    return parser


def _tls_files(options: argparse.Namespace, prefix: str, passphrase: str) -> TlsFiles | None:
    def option(name: str) -> Any:
        return getattr(options, f"{prefix}ssl_{name}")

    flag = f"--{prefix.replace('_', '-')}ssl"
    if bool(option("key")) != bool(option("cert")):
        raise UsageError(f"{flag}-key and {flag}-cert belong together.")
    if not option("key"):
        for name in ("ca", "request_cert", "reject_unauthorized"):
            if option(name):
                raise UsageError(f"{flag}-{name.replace('_', '-')} needs {flag}-key and {flag}-cert.")
        return None
    return TlsFiles(
        key=option("key"),
        cert=option("cert"),
        ca=option("ca"),
        request_cert=option("request_cert"),
        reject_unauthorized=option("reject_unauthorized"),
        passphrase=passphrase,
    )


def _acme(options: argparse.Namespace) -> Acme | None:
    if not options.acme_name:
        for flag in ("directory", "accept_terms", "email", "challenge"):
            if getattr(options, f"acme_{flag}"):
                raise UsageError(f"--acme-{flag.replace('_', '-')} needs --acme-name.")
        return None
    if not options.acme_directory:
        raise UsageError("--acme-name needs --acme-directory: certificates must outlive the proxy.")
    if not options.acme_accept_terms:
        raise UsageError(f"Read the terms of service of {options.acme_url} and agree to them: --acme-accept-terms.")
    if not options.acme_url.startswith("https://"):
        raise UsageError(f"--acme-url: {options.acme_url!r} is not https://…")
    if options.acme_challenge == HTTP_01 and options.redirect_port is None:
        raise UsageError("--acme-challenge http-01 is answered at --redirect-port, which is missing.")
    if importlib.util.find_spec("acme") is None:
        raise UsageError("--acme-name needs a library that is not installed: pip install jupyterhub[acme]")
    return Acme(
        directory_url=options.acme_url,
        names=tuple(dict.fromkeys(options.acme_name)),
        email=options.acme_email,
        challenge=options.acme_challenge or (TLS_ALPN_01 if options.redirect_port is None else HTTP_01),
        root=options.acme_directory,
    )


def _dns_name(text: str) -> str:
    name = text.lower().rstrip(".")
    if not _DNS_NAME.fullmatch(name):
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a host (in ASCII, no wildcard)")
    return name


def _interface(ip: str) -> str:
    return "" if ip == "*" else ip


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def _milliseconds(text: str) -> float:
    """Give seconds."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of milliseconds")
    return int(text) / 1000


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return int(text)


def _trust(text: str) -> Trust:
    try:
        return Trust.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _log_level(text: str) -> str:
    try:
        return LOG_LEVELS[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{text!r} is none of debug, info, warn, error") from None


def _target(text: str) -> Target | None:
    if not text:
        return None
    try:
        return parse_target(text)
    except BadTarget as problem:
        raise argparse.ArgumentTypeError(f"{text!r}: {problem}") from problem


def _target_text(text: str) -> str:
    _target(text)
    return text


def _header(text: str) -> tuple[bytes, bytes]:
    name, colon, value = text.partition(":")
    value = value.strip()
    if not colon or not _FIELD_NAME.fullmatch(name.strip()) or not _FIELD_VALUE.fullmatch(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME:VALUE")
    return name.strip().encode(), value.encode("latin-1")
