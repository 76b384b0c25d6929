"""Clients that take their time, as slowhttptest plays them: each wait ends, and what it held is given back.

``README.md`` says how to run slowhttptest itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import psutil
import pytest
from proxy_process import LIMIT_S, Client, Proxy, Received, Upstream, ask, get, soon

MANY = 40
#: connections to one upstream that the proxy keeps open for later
MOST_POOLED = 256
MIB = 1 << 20
TIMES = ("--first-byte-timeout", "--head-timeout", "--body-timeout", "--write-timeout")
QUICK = [word for name in TIMES for word in (name, "600")]


@pytest.fixture(scope="module")
def quick() -> Iterator[Proxy]:
    with Proxy(*QUICK) as running:
        yield running


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """One that answers by itself; that of the table says what it is told."""
    async with Upstream() as running:
        yield running


@pytest.fixture
async def quick_site(quick: Proxy, upstream: Upstream) -> str:
    path = f"/site-{upstream.port}"
    await quick.add(path, upstream.url)
    await ask(quick, get(path))
    return path


class Held:
    """Many connections that have sent the same beginning, and what the proxy held before them."""

    def __init__(self, proxy: Proxy, beginning: bytes, count: int = MANY) -> None:
        self.proxy = proxy
        self.beginning = beginning
        self.count = count
        self.process = psutil.Process(proxy.process.pid)
        self.clients: list[Client] = []

    async def __aenter__(self) -> Held:
        self.files_before = self.process.num_fds()
        self._stack = contextlib.AsyncExitStack()
        for _ in range(self.count):
            client = await self._stack.enter_async_context(Client(self.proxy.port))
            self.clients.append(client)
            await client.send(self.beginning)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()

    async def drip(self, data: bytes) -> None:
        """Send a byte on each connection again and again, until all are closed."""
        while not all(client.reader.at_eof() for client in self.clients):
            for client in self.clients:
                if not client.reader.at_eof():
                    client.writer.write(data)
            await asyncio.sleep(0.05)

    async def all_closed(self) -> list[bytes]:
        return await asyncio.gather(*(client.until_eof() for client in self.clients))

    async def all_given_back(self, *, pooled: int = 1) -> None:
        """The proxy's files are as before, but for so many connections to upstreams that it may keep."""
        await soon(lambda: self.process.num_fds() <= self.files_before + pooled)


@pytest.mark.parametrize(
    "beginning", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: "], ids=["none", "one byte", "half"]
)
async def test_heads_that_do_not_come_are_given_up(quick: Proxy, quick_site: str, beginning: bytes):
    async with Held(quick, beginning) as held:
        assert (await ask(quick, get(quick_site))).status == 200, "others are served meanwhile"
        answers = await held.all_closed()
        await held.all_given_back()
    assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers) or not any(answers)


async def test_heads_that_drip_are_given_up(quick: Proxy, quick_site: str):
    async with Held(quick, b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ") as held:
        dripping = asyncio.create_task(held.drip(b"a"))
        await held.all_closed()
        await held.all_given_back()
        dripping.cancel()


@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
async def test_bodies_that_do_not_come_are_given_up_and_the_upstream_too(
    quick: Proxy, quick_site: str, upstream: Upstream, framing: str
):
    async with Held(quick, get(quick_site, framing, method="POST") + b"5\r\nh") as held:
        answers = await held.all_closed()
        await held.all_given_back()
    assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)
    await soon(lambda: len(upstream._tasks) <= 1)


async def test_answers_that_nobody_reads_are_given_up_and_cost_little(
    quick: Proxy, quick_site: str, upstream: Upstream
):
    async def pour(request: Received) -> None:
        await request.reply(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MIB * 50))
        for _ in range(50):
            await request.reply(b"x" * MIB)

    upstream.script = pour
    process = psutil.Process(quick.process.pid)
    before = process.memory_info().rss
    async with contextlib.AsyncExitStack() as stack:
        files_before = process.num_fds()
        for _ in range(10):
            client = await stack.enter_async_context(Client(quick.port))
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await client.send(get(quick_site))
        await soon(lambda: process.num_fds() >= files_before + 15)
        await soon(lambda: process.num_fds() <= files_before + 1)
    assert process.memory_info().rss - before < 60 * MIB


async def test_a_client_that_reads_slowly_but_reads_gets_all(quick: Proxy, quick_site: str, upstream: Upstream):
    body = b"x" * (4 * MIB)

    async def pour(request: Received) -> None:
        await request.reply(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    upstream.script = pour
    async with Client(quick.port) as client:
        await client.send(get(quick_site))
        await client.head()
        got = 0
        while got < len(body):
            async with asyncio.timeout(LIMIT_S):
                got += len(await client.reader.read(64 * 1024))
            await asyncio.sleep(0.01)
    assert got == len(body)


@pytest.fixture
async def patient(upstream: Upstream) -> AsyncIterator[Proxy]:
    with Proxy("--default-target", upstream.url, "--keep-alive-timeout", "60000") as running:
        yield running


async def test_a_thousand_idle_connections_are_cheap(patient: Proxy):
    process = psutil.Process(patient.process.pid)
    for _ in range(20):
        await ask(patient, get("/"))
    before = process.memory_info().rss
    async with Held(patient, get("/"), count=1000) as held:
        for client in held.clients:
            assert (await client.response()).status == 200
        assert process.memory_info().rss - before < 16 * MIB
        used = sum(process.cpu_times()[:2])
        for _ in range(100):
            assert (await ask(patient, get("/"))).status == 200
        assert sum(process.cpu_times()[:2]) - used < 0.5, "idle connections cost time of others"
    await held.all_given_back(pooled=MOST_POOLED)
