"""What the tests of plugins do with a hub in their process: users, tokens, requests, addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from jupyterhub import orm, roles
from jupyterhub.utils import url_path_join


class _AsyncRequests:
    """``requests``, whose calls run in threads and are awaited."""

    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(max_workers=4)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        import requests  # what runs the tests has it; a hub needs it for nothing

        function = getattr(requests, name)

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return asyncio.wrap_future(self.executor.submit(function, *args, **kwargs))

        return call


async_requests = _AsyncRequests()


class AsyncSession:
    """``requests.Session``, whose calls run in threads and are awaited."""

    def __init__(self) -> None:
        import requests

        self.session = requests.Session()

    def request(self, *args: Any, **kwargs: Any) -> Any:
        return asyncio.wrap_future(async_requests.executor.submit(self.session.request, *args, **kwargs))

    def get(self, url: str, **kwargs: Any) -> Any:
        return self.request("GET", url, **kwargs)

    def post(self, url: str, **kwargs: Any) -> Any:
        return self.request("POST", url, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)


def ssl_setup(cert_dir: str, authority_name: str) -> dict[str, Any]:
    """Make the certificates of ``internal_ssl`` in a directory, and one for the public proxy, of the same authority.

    Gives that one's record: ``{"files": {"key", "cert", "ca"}}``.
    """
    from jupyterhub import certificates

    ca = certificates.prepare(cert_dir).authorities[authority_name]["files"]["cert"]
    key, cert = certificates.issue(cert_dir, "external", authority=authority_name, alt_names=certificates.LOCAL_NAMES)
    return {"files": {"key": key, "cert": cert, "ca": ca}}


def skip_if_ssl(function: Any) -> Any:
    """Give the test as it is: there is no internal TLS that could stand in its way."""
    return function


def check_db_locks(function: Any) -> Any:
    """Give the function as it is: no transaction of the hub is open while it waits."""
    return function


def find_user(db: Any, name: str, app: Any = None) -> Any:
    """Give the row of a user, or with ``app`` the user; None if there is none."""
    row = orm.User.find(db, name)
    return row if row is None or app is None else app.users[row.id]


def add_user(db: Any, app: Any = None, **values: Any) -> Any:
    """Add a user, or change one; give the row, or with ``app`` the user."""
    row = orm.User.find(db, values["name"])
    if row is None:
        row = orm.User(**values)
        db.add(row)
    else:
        for name, value in values.items():
            setattr(row, name, value)
    db.commit()
    if db.query(orm.Role).filter_by(name="user").count():
        roles.assign_default_roles(db, row)
    return row if app is None else app.users[row.id]


def auth_header(db: Any, name: str) -> dict[str, str]:
    """Give the header with a new token of a user, who is made if there is none."""
    user = find_user(db, name)
    if user is None:
        raise KeyError(f"No such user: {name}")
    return {"Authorization": f"token {user.new_api_token()}"}


async def api_request(
    app: Any, *path: str, method: str = "get", noauth: bool = False, bypass_proxy: bool = False, **kwargs: Any
) -> Any:
    """Ask the API of a hub, as ``admin`` unless the headers say otherwise."""
    base = app.hub.url if bypass_proxy else public_url(app, path="hub/")
    headers = kwargs.setdefault("headers", {})
    if "Authorization" not in headers and not noauth and "cookies" not in kwargs:
        if find_user(app.db, "admin") is None:
            add_user(app.db, app, name="admin", admin=True)
        headers.update(auth_header(app.db, "admin"))
    if "cookies" in kwargs:
        headers.setdefault("Referer", base)
        if "_xsrf" in kwargs["cookies"]:
            headers.setdefault("X-XSRFToken", kwargs["cookies"]["_xsrf"])
    url = url_path_join(base, "api", *path)
    return await getattr(async_requests, method)(url, **kwargs)


def get_page(path: str, app: Any, hub: bool = True, **kwargs: Any) -> Any:
    """Ask for a page of the hub, or with ``hub`` False for anything below the base URL."""
    return async_requests.get(public_url(app, path=f"hub/{path}" if hub else path), **kwargs)


def public_host(app: Any) -> str:
    """Give scheme, host and port at which browsers find a hub."""
    if app.subdomain_host:
        return str(app.subdomain_host)
    parts = urlsplit(app.bind_url)
    return f"{parts.scheme}://{parts.hostname or '127.0.0.1'}:{parts.port}"


def public_url(app: Any, user_or_service: Any = None, path: str = "") -> str:
    """Give the address of a hub, or of what belongs to a user or service there."""
    host, prefix = public_host(app), str(app.base_url)
    if user_or_service is not None:
        host = getattr(user_or_service, "host", "") or host
        prefix = str(getattr(user_or_service, "prefix", None) or user_or_service.server.base_url)
    return host + url_path_join(prefix, path) if path else host + prefix
