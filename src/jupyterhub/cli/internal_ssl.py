"""``internal_ssl`` at the start of a hub: has the certificates made, and says in the traits of the hub where they are.

Only loaded when it is wanted: cryptography takes longer to import than the rest of a hub to start. The certificates
themselves are the matter of ``jupyterhub/certificates.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from jupyterhub import certificates

from . import addresses, settings

if TYPE_CHECKING:
    from .app import JupyterHub


def prepare(app: JupyterHub, *, recreate: bool) -> None:
    """Make what is missing and set the traits that plugins and ``HubSettings`` read. Again, it changes nothing."""
    settings.settle(app)
    made = certificates.prepare(
        app.internal_certs_location,
        external=app.external_ssl_authorities,
        hub_names=hub_names(app),
        recreate=recreate,
    )
    app.internal_ssl_authorities = dict(made.authorities)
    app.internal_ssl_components_trust = {name: list(trusted) for name, trusted in certificates.TRUST.items()}
    app.internal_trust_bundles = dict(made.trust_bundles)
    app.internal_proxy_certs = {name: made.pairs[name] for name in ("proxy-api", "proxy-client")}
    hub = made.pairs["hub-internal"]["files"]
    app.internal_ssl_key, app.internal_ssl_cert = hub["key"], hub["cert"]
    app.internal_ssl_ca = made.trust_bundles["hub-ca"]


def hub_names(app: JupyterHub) -> list[str]:
    """The names that the hub's and the proxy's certificates are for, besides those of this machine for itself."""
    address = settings.hub_address(app)
    urls = [url for url in (address.connect_url, address.bind_url) if not url.startswith(addresses.UNIX)]
    hosts = [host for host in (urlsplit(url).hostname for url in urls) if host and host not in addresses.ALL]
    return [*map(certificates.host_name, hosts), *app.trusted_alt_names]
