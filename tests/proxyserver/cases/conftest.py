from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from proxy_process import Proxy
from wire import Upstream


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as running:
        yield running


@pytest.fixture(scope="session")
def known_flags() -> str:
    command = [sys.executable, "-m", "jupyterhub.proxyserver", "--help"]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "500"}
    ).stdout


class Proxies:
    """A proxy for each set of flags, started when it is first needed."""

    def __init__(self, upstream: Upstream, known_flags: str) -> None:
        self.upstream = upstream
        self.known_flags = known_flags
        self._running: dict[tuple[str, ...], Proxy] = {}

    def port(self, *flags: str) -> int:
        for flag in flags:
            if flag.startswith("--") and flag not in self.known_flags:
                pytest.fail(f"jupyterhub-proxy has no {flag}")
        if flags not in self._running:
            target = f"http://127.0.0.1:{self.upstream.port}"
            proxy = Proxy("--default-target", target, "--log-level", "info", "--keep-alive-timeout", "60000", *flags)
            self._running[flags] = proxy
        return self._running[flags].port

    def stop(self) -> None:
        for proxy in self._running.values():
            proxy.__exit__()


@pytest.fixture(scope="module")
def proxies(upstream: Upstream, known_flags: str) -> Iterator[Proxies]:
    running = Proxies(upstream, known_flags)
    yield running
    running.stop()
