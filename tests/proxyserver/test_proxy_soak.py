"""People never log out: whatever clients and upstreams leave half done, sockets and memory are given back."""

from __future__ import annotations

import asyncio
import os

import pytest
from proxy_process import Client, Proxy, Received, Upstream, get, soon

UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: x")
SWITCH = b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
#: what a client sends before it goes
BEGINNINGS = [
    b"",
    b"GET /a HT",
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
    b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    get("/a/answered"),
    get("/a/answered") * 3,
    get("/a/silent"),
    get("/a/half"),
    get("/a/endless"),
    get("/a/ws", *UPGRADE),
    get("/refused"),
    b"nonsense\r\n\r\n",
]
ROUNDS = int(os.environ.get("SOAK_ROUNDS", "2"))


async def script(request: Received) -> bool:
    if "silent" in request.path:
        await request.reader.read()
        return False
    if "half" in request.path:
        await request.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        return False
    if "endless" in request.path:
        await request.reply(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await request.reply(b"x" * 100_000)
    if "ws" in request.path:
        await request.reply(SWITCH)
        await request.reader.read()
        return False
    await request.read_body()
    await request.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    return True


@pytest.mark.parametrize("leave", ["close", "reset", "stay"])
async def test_abandoned_clients_leave_nothing_behind(upstream: Upstream, leave: str):
    upstream.script = script
    limits = [f"--{name}-timeout=300" for name in ("first-byte", "head", "body", "write", "keep-alive")]
    with Proxy(*limits, "--timeout=1500") as proxy:
        await proxy.add("/a", upstream.url)
        await proxy.add("/refused", "http://127.0.0.1:1")
        folder = f"/proc/{proxy.process.pid}"

        def sockets() -> int:
            return len(os.listdir(f"{folder}/fd"))

        def resident_kib() -> int:
            with open(f"{folder}/statm") as statm:
                return int(statm.read().split()[1]) * 4

        async def abandon(beginning: bytes) -> None:
            async with Client(proxy.port) as client:
                await client.send(beginning)
                if leave == "stay":
                    await client.until_eof()
                elif beginning:
                    await asyncio.sleep(0)
                if leave == "reset":
                    client.reset()

        async def abandon_all() -> None:
            await asyncio.gather(*(abandon(beginning) for beginning in BEGINNINGS for _ in range(10)))

        before = sockets()
        await abandon_all()
        grown = 0
        for _ in range(ROUNDS):
            # Idle connections to the upstream stay for a while; those in use, and all clients, must be gone.
            await soon(lambda: sockets() <= before + 30)
            grown = grown or resident_kib()
            await abandon_all()
        await soon(lambda: sockets() <= before + 30)
        assert resident_kib() < grown + 3 * 1024
