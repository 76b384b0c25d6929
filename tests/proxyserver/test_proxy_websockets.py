"""WebSockets through the proxy: real clients and servers, and what happens at the edges of a joined connection."""

from __future__ import annotations

import asyncio

import pytest
from proxy_process import LIMIT_S, Client, Proxy, Received, Upstream, get
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: x")
AGREED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


async def echo(socket: ServerConnection) -> None:
    async for message in socket:
        if message == "close with 4321":
            await socket.close(4321, "as asked")
        else:
            await socket.send(message)


@pytest.fixture
async def url(proxy: Proxy):
    async with serve(
        echo, "127.0.0.1", 0, max_size=None, select_subprotocol=lambda _, offered: offered[-1] if offered else None
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        await proxy.add("/ws", f"http://127.0.0.1:{port}")
        yield f"ws://127.0.0.1:{proxy.port}/ws/x"


async def test_messages_pass_both_ways_and_count_as_activity(proxy: Proxy, url: str):
    async with connect(url, max_size=None) as socket:
        before = await proxy.last_activity("/ws")
        for message in ("text", b"bytes", "x" * 3_000_000):
            await socket.send(message)
            assert await asyncio.wait_for(socket.recv(), LIMIT_S) == message
        assert await proxy.last_activity("/ws") > before


async def test_close_codes_and_subprotocols_pass(url: str):
    async with connect(url, subprotocols=["one", "two"]) as socket:
        assert socket.subprotocol == "two"
        await socket.send("close with 4321")
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(socket.recv(), LIMIT_S)
    assert closed.value.rcvd is not None and (closed.value.rcvd.code, closed.value.rcvd.reason) == (4321, "as asked")


async def test_many_run_side_by_side(url: str):
    sockets = await asyncio.gather(*(connect(url) for _ in range(50)))
    for n, socket in enumerate(sockets):
        await socket.send(str(n))
    assert await asyncio.gather(*(socket.recv() for socket in sockets)) == [str(n) for n in range(50)]
    await asyncio.gather(*(socket.close() for socket in sockets))


async def test_a_websocket_is_not_for_every_server(proxy: Proxy, site: str):
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://127.0.0.1:{proxy.port}{site}")
    assert refused.value.response.status_code == 200


async def test_bytes_sent_with_the_heads_are_not_lost(proxy: Proxy, site: str, upstream: Upstream):
    async def script(request: Received) -> bool:
        await request.reply(AGREED + b"from upstream")
        assert await request.reader.readexactly(11) == b"from client"
        await request.reply(b" got it")
        return False

    upstream.script = script
    async with Client(proxy.port) as client:
        await client.send(get(site, *UPGRADE) + b"from client")
        assert (await client.head())[0] == 101
        assert await client.until_eof() == b"from upstream got it"


async def test_each_direction_may_end_by_itself(proxy: Proxy, site: str, upstream: Upstream):
    async def script(request: Received) -> bool:
        await request.reply(AGREED)
        everything = await request.reader.read()
        await request.reply(b"you said: " + everything)
        return False

    upstream.script = script
    async with Client(proxy.port) as client:
        await client.send(get(site, *UPGRADE))
        await client.head()
        await client.send(b"goodbye")
        client.writer.write_eof()
        assert await client.until_eof() == b"you said: goodbye"


async def test_an_upstream_that_breaks_ends_the_client(proxy: Proxy, site: str, upstream: Upstream):
    async def script(request: Received) -> bool:
        await request.reply(AGREED)
        request.writer.transport.abort()
        return False

    upstream.script = script
    async with Client(proxy.port) as client:
        await client.send(get(site, *UPGRADE))
        await client.head()
        assert await client.until_eof() == b""


async def test_a_client_that_breaks_ends_the_upstream(proxy: Proxy, site: str, upstream: Upstream):
    async def script(request: Received) -> bool:
        await request.reply(AGREED)
        await request.reader.read()
        return False

    upstream.script = script
    async with Client(proxy.port) as client:
        await client.send(get(site, *UPGRADE))
        await client.head()
        client.writer.transport.abort()
        await asyncio.wait_for(upstream.ended.wait(), LIMIT_S)


async def test_a_joined_client_that_does_not_read_stops_the_upstream(proxy: Proxy, site: str, upstream: Upstream):
    written, total, piece = 0, 64 << 20, b"x" * (1 << 20)

    async def flood(request: Received) -> bool:
        nonlocal written
        await request.reply(AGREED)
        while written < total:
            await request.reply(piece)
            written += len(piece)
        return False

    upstream.script = flood
    async with Client(proxy.port) as client:
        await client.send(get(site, *UPGRADE))
        await client.head()
        last = -1
        while last != written:
            last = written
            await asyncio.sleep(0.2)
        assert written < total
        async with asyncio.timeout(30):
            read = 0
            while data := await client.reader.read(1 << 20):
                read += len(data)
        assert read == total
