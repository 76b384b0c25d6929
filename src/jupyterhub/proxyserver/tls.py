"""TLS contexts from the command line's files: for the public side, the REST API and the connections to upstreams."""

from __future__ import annotations

import ssl
from typing import NoReturn

from .options import Settings, TlsFiles, UsageError

_PROTOCOLS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1_0": ssl.TLSVersion.TLSv1,
    "TLSv1_1": ssl.TLSVersion.TLSv1_1,
    "TLSv1_2": ssl.TLSVersion.TLSv1_2,
    "TLSv1_3": ssl.TLSVersion.TLSv1_3,
}


def public_context(settings: Settings) -> ssl.SSLContext | None:
    """Give the context of the public port, or None for plain HTTP. Raises ``UsageError``."""
    if settings.public_tls is None:
        return None
    context = _server_context(settings.public_tls, "--ssl")
    if settings.tls_protocol:
        # OpenSSL's spelling of a version has been used with and without the suffix of a method.
        name = settings.tls_protocol.removesuffix("_method")
        if name not in _PROTOCOLS:
            raise UsageError(f"--ssl-protocol: {name!r} is none of {', '.join(_PROTOCOLS)}")
        context.minimum_version = context.maximum_version = _PROTOCOLS[name]
    try:
        if settings.tls_ciphers:
            context.set_ciphers(settings.tls_ciphers)
    except ssl.SSLError as error:
        raise UsageError(f"--ssl-ciphers: {error.reason or error}") from error
    try:
        if settings.tls_dhparam:
            context.load_dh_params(settings.tls_dhparam)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"--ssl-dhparam: {error}") from error
    # Nobody may choose HTTP/2 by ALPN: we do not speak it.
    context.set_alpn_protocols(["http/1.1"])
    return context


def api_context(settings: Settings) -> ssl.SSLContext | None:
    """Give the context of the REST API, or None for plain HTTP. Raises ``UsageError``."""
    return None if settings.api_tls is None else _server_context(settings.api_tls, "--api-ssl")


def upstream_context(settings: Settings) -> ssl.SSLContext:
    """Give the context for connections to https targets. Raises ``UsageError``.

    Upstreams are verified unless ``--insecure`` is given, against ``--client-ssl-ca`` or the system's authorities.
    """
    files = settings.client_tls
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if files.key:
        _load_pair(context, files, "--client-ssl")
    if not settings.verify_upstreams:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif files.ca:
        _load_ca(context, files, "--client-ssl")
    else:
        context.load_default_certs()
    return context


def _server_context(files: TlsFiles, flag: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load_pair(context, files, flag)
    if files.ca:
        _load_ca(context, files, flag)
    if files.request_cert:
        context.verify_mode = ssl.CERT_REQUIRED if files.reject_unauthorized else ssl.CERT_OPTIONAL
    return context


def _load_pair(context: ssl.SSLContext, files: TlsFiles, flag: str) -> None:
    def passphrase() -> str:
        # Without this function OpenSSL would ask at the terminal and a service would hang.
        if not files.passphrase:
            _refuse(f"{flag}-key: the key is encrypted and there is no passphrase in the environment")
        return files.passphrase

    try:
        context.load_cert_chain(files.cert, files.key, password=passphrase)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"{flag}-key, {flag}-cert: {_reason(error)}") from error


def _load_ca(context: ssl.SSLContext, files: TlsFiles, flag: str) -> None:
    try:
        context.load_verify_locations(files.ca)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"{flag}-ca: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    return str(error.strerror or getattr(error, "reason", "") or error)


def _refuse(message: str) -> NoReturn:
    raise UsageError(message)
