from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from proxy_process import Proxy, Upstream


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    """One proxy for the tests of a module; each test uses a path of its own."""
    with Proxy() as running:
        yield running


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as running:
        yield running


@pytest.fixture
async def site(proxy: Proxy, upstream: Upstream) -> AsyncIterator[str]:
    """The path of a route to ``upstream``; it differs from test to test."""
    path = f"/site-{upstream.port}"
    await proxy.add(path, upstream.url)
    yield path
    await proxy.api("DELETE", path)
