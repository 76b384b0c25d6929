"""Time limits that have no flag, with a public server inside the test and limits of a fraction of a second."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable

import pytest
from proxy_process import LIMIT_S, Client, Received, Upstream, get, replies

from jupyterhub.proxyserver.counters import Counters
from jupyterhub.proxyserver.error_pages import OwnPages
from jupyterhub.proxyserver.limits import Limits
from jupyterhub.proxyserver.protocol.fields import ForwardingRules
from jupyterhub.proxyserver.protocol.routes import RouteTable
from jupyterhub.proxyserver.server import PublicServer
from jupyterhub.proxyserver.upstreams import Upstreams

SHORT = 0.15
LONG = 60.0
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: x")


@pytest.fixture
async def serve(upstream: Upstream) -> AsyncIterator[Callable[..., object]]:
    """Start a public server with these limits in front of ``upstream``; gives its port."""
    async with asyncio.TaskGroup() as tasks:
        started: list[tuple[asyncio.Server, asyncio.Task[None]]] = []

        async def start(**limits: float) -> int:
            routes = RouteTable()
            routes.add("/", {"target": upstream.url}, now=time.time())
            public = PublicServer(
                routes=routes,
                rules=ForwardingRules(),
                limits=Limits(**limits),
                upstreams=Upstreams(tls=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)),
                error_pages=OwnPages(),
                counters=Counters(),
                is_tls=False,
            )
            server = await asyncio.get_running_loop().create_server(public.connection, "127.0.0.1", 0)
            started.append((server, tasks.create_task(public.run())))
            return int(server.sockets[0].getsockname()[1])

        yield start
        for server, keeper in started:
            server.close()
            keeper.cancel()


@pytest.mark.parametrize("start", [b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX-"])
async def test_a_head_that_does_not_come_is_given_up_with_408(serve, start: bytes):
    async with Client(await serve(head_s=SHORT, keep_alive_s=LONG)) as client:
        await client.send(start)
        answer = await client.response()
        assert (answer.status, answer["connection"]) == (408, "close")


async def test_dripping_bytes_do_not_prolong_the_time_for_a_head(serve):
    async with Client(await serve(head_s=SHORT, keep_alive_s=LONG)) as client:
        answering = asyncio.create_task(client.response())
        async with asyncio.timeout(LIMIT_S):
            while not answering.done():
                client.writer.write(b"G")
                await asyncio.sleep(0.01)
        assert (await answering).status == 408


async def test_a_connection_without_a_request_is_closed_without_a_word(serve):
    async with Client(await serve(first_byte_s=SHORT)) as client:
        assert await client.until_eof() == b""


async def test_a_body_that_does_not_come_is_given_up_with_408_and_the_upstream_is_let_go(serve, upstream: Upstream):
    async with Client(await serve(body_s=SHORT)) as client:
        await client.send(get("/", "Content-Length: 9", method="POST") + b"abc")
        assert (await client.response()).status == 408
        assert await client.until_eof() == b""
    await asyncio.wait_for(upstream.ended.wait(), LIMIT_S)


async def test_a_client_that_sends_for_ever_behind_an_answer_is_cut_off(serve, upstream: Upstream):
    upstream.script = replies(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    async with Client(await serve(linger_s=SHORT)) as client:
        await client.send(b"nonsense\r\n\r\n")
        assert (await client.response()).status == 400
        with pytest.raises(ConnectionError):
            await send_for_ever(client)


async def send_for_ever(client: Client) -> None:
    async with asyncio.timeout(LIMIT_S):
        while True:
            await client.send(b"x")
            await asyncio.sleep(0.01)


async def silence(request: Received) -> None:
    await request.reader.read()


async def test_half_closed_clients_wait_only_for_a_while(serve, upstream: Upstream):
    upstream.script = silence
    async with Client(await serve(half_closed_s=SHORT)) as client:
        await client.send(get("/"))
        client.writer.write_eof()
        assert await client.until_eof() == b""
    await asyncio.wait_for(upstream.ended.wait(), LIMIT_S)


async def test_half_closed_clients_may_read_as_long_as_something_comes(serve, upstream: Upstream):
    async def drip(request: Received) -> bool:
        await request.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
        for _ in range(20):
            await request.reply(b"x")
            await asyncio.sleep(SHORT / 10)
        return True

    upstream.script = drip
    async with Client(await serve(half_closed_s=SHORT)) as client:
        await client.send(get("/"))
        client.writer.write_eof()
        assert (await client.until_eof()).endswith(b"\r\n\r\n" + b"x" * 20)


async def test_a_slow_upstream_is_no_fault_of_a_waiting_client(serve, upstream: Upstream):
    async def slow(request: Received) -> bool:
        await request.read_body()
        await asyncio.sleep(SHORT * 3)
        await request.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return True

    upstream.script = slow
    async with Client(await serve(head_s=SHORT, body_s=SHORT, keep_alive_s=SHORT, half_closed_s=SHORT)) as client:
        await client.send(get("/", method="POST", body=b"abc"))
        assert (await client.response()).status == 200


async def test_idle_websockets_are_left_alone(serve, upstream: Upstream):
    async def script(request: Received) -> bool:
        await request.reply(b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        await asyncio.sleep(SHORT * 3)
        await request.reply(b"still here")
        return False

    upstream.script = script
    limits = dict.fromkeys(
        ("first_byte_s", "head_s", "body_s", "keep_alive_s", "linger_s", "upstream_silence_s"), SHORT
    )
    async with Client(await serve(**limits)) as client:
        await client.send(get("/", *UPGRADE))
        await client.head()
        assert await client.until_eof() == b"still here"
