"""What the hub told this server through its environment, and what follows from it for jupyter_server's traits."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.client.hub_auth import HubAuth
from jupyterhub.client.hub_connection import VERSION_HEADER
from jupyterhub.words.urls import url_path_join
from jupyterhub.words.version import __version__

DEFAULT_ACTIVITY_INTERVAL_S = 300


class MissingVariable(Exception):
    """The environment lacks what every hub sets: this is no hub's doing. ``str()`` says what is missing."""


def required(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise MissingVariable(
            f"The environment variable {name} is not set. jupyterhub-singleuser is started by a hub, which sets it; to "
            "run a server of your own, use `jupyter lab`."
        )
    return value


def activity_interval_s() -> int:
    value = os.environ.get("JUPYTERHUB_ACTIVITY_INTERVAL", "")
    return int(value) if value else DEFAULT_ACTIVITY_INTERVAL_S


def forced_traits(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Give the traits of a server application that its place behind a hub decides.

    They outrank configuration files, which a user may have written for a server of his own (a port, a password), but
    not the command line, which is the deployment's. Raise :class:`MissingVariable` without an address.
    """
    where = urlsplit(required("JUPYTERHUB_SERVICE_URL"))
    traits: dict[str, Any] = {
        "ip": where.hostname or "",
        "port": where.port if where.port is not None else (443 if where.scheme == "https" else 80),
        # another port would be of no use: the hub waits on this one
        "port_retries": 0,
        "base_url": environ.get("JUPYTERHUB_SERVICE_PREFIX") or where.path or "/",
        "allow_remote_access": True,
        "trust_xheaders": True,
        "open_browser": False,
        "quit_button": False,
        "answer_yes": True,
    }
    for trait, name in (
        ("keyfile", "JUPYTERHUB_SSL_KEYFILE"),
        ("certfile", "JUPYTERHUB_SSL_CERTFILE"),
        ("client_ca", "JUPYTERHUB_SSL_CLIENT_CA"),
    ):
        if environ.get(name):
            traits[trait] = environ[name]
    if environ.get("JUPYTERHUB_ROOT_DIR"):
        traits["root_dir"] = os.path.expanduser(environ["JUPYTERHUB_ROOT_DIR"])
    return traits


def response_headers(present: Mapping[str, str], *, report_uri: str = "") -> dict[str, str]:
    """Add to the headers of every response: our version, and that no page may put this server into a frame."""
    headers = dict(present)
    policy = "frame-ancestors 'none'" + (f"; report-uri {report_uri}" if report_uri else "")
    headers.setdefault("Content-Security-Policy", policy)
    headers.setdefault(VERSION_HEADER, __version__)
    return headers


def template_variables(hub_auth: HubAuth) -> dict[str, str]:
    hub = hub_auth.hub_host + hub_auth.hub_prefix
    return {"logo_url": url_path_join(hub, "logo"), "hub_control_panel_url": url_path_join(hub, "home")}
