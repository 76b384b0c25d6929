"""Sign: names that suites of plugins import from here. They live in ``jupyterhub.tests.utils``; no tests are here."""

from .utils import AsyncSession, add_user, api_request, async_requests, auth_header, find_user, public_url

__all__ = ["AsyncSession", "add_user", "api_request", "async_requests", "auth_header", "find_user", "public_url"]
