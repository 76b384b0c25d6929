"""Two WebSocket libraries as clients and servers, all four pairs, through the proxy."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
import wsproto
import wsproto.events
from proxy_process import LIMIT_S, Proxy
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from wsproto.extensions import Extension, PerMessageDeflate

#: RFC 6455 §7.4: those that may be sent. (wsproto does not know 1014, which IANA has added.)
CODES = [1000, 1001, 1002, 1003, *range(1007, 1014), 3000, 3001, 3999, 4000, 4001, 4321, 4999]
MIB = 1 << 20


class WsprotoPeer:
    """wsproto and a socket: sends messages whole or in fragments, waits for whole messages."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_client: bool) -> None:
        self.reader = reader
        self.writer = writer
        kind = wsproto.ConnectionType.CLIENT if is_client else wsproto.ConnectionType.SERVER
        self.ws = wsproto.WSConnection(kind)
        self.offered: list[Extension] = []
        self._parts: list[str | bytes] = []

    async def send(self, event: wsproto.events.Event) -> None:
        self.writer.write(self.ws.send(event))
        await self.writer.drain()

    async def send_message(self, message: str | bytes, fragments: int = 1) -> None:
        size = max(1, -(-len(message) // fragments))
        for at in range(0, max(1, len(message)), size):
            is_last = at + size >= len(message)
            part = message[at : at + size]
            if isinstance(part, str):
                await self.send(wsproto.events.TextMessage(data=part, message_finished=is_last))
            else:
                await self.send(wsproto.events.BytesMessage(data=part, message_finished=is_last))

    async def receive(self) -> AsyncIterator[wsproto.events.Event | str | bytes]:
        """Whole messages as str or bytes, everything else as the event."""
        while True:
            data = await self.reader.read(1 << 16)
            self.ws.receive_data(data or None)
            for event in self.ws.events():
                if isinstance(event, wsproto.events.Message):
                    self._parts.append(event.data)
                    if event.message_finished:
                        empty = "" if isinstance(event.data, str) else b""
                        yield empty.join(self._parts)  # type: ignore[arg-type]
                        self._parts = []
                else:
                    yield event
            if not data:
                return


async def echo_with_websockets(socket: ServerConnection) -> None:
    async for message in socket:
        if isinstance(message, str) and message.startswith("close with "):
            await socket.close(int(message[11:]), "as asked")
        elif message == "abort":
            socket.transport.abort()
        else:
            await socket.send(message)


async def echo_with_wsproto(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    peer = WsprotoPeer(reader, writer, is_client=False)
    try:
        async for event in peer.receive():
            match event:
                case wsproto.events.Request():
                    await peer.send(wsproto.events.AcceptConnection(extensions=[PerMessageDeflate()]))
                case wsproto.events.Ping():
                    await peer.send(event.response())
                case str() if event.startswith("close with "):
                    await peer.send(wsproto.events.CloseConnection(code=int(event[11:]), reason="as asked"))
                case "abort":
                    writer.transport.abort()
                case str() | bytes():
                    await peer.send_message(event, fragments=3)
                case wsproto.events.CloseConnection():
                    SEEN_CODES.append(event.code)
                    if peer.ws.state is wsproto.connection.ConnectionState.REMOTE_CLOSING:
                        await peer.send(event.response())
                    return
    except ConnectionError:
        pass
    finally:
        ENDED.set()
        writer.close()


SEEN_CODES: list[int] = []
ENDED = asyncio.Event()


@dataclass
class Closed:
    code: int
    reason: str


class WebsocketsClient:
    """The websockets library, through the few calls the tests need."""

    def __init__(self, url: str) -> None:
        self._connecting = connect(url, max_size=None)

    async def __aenter__(self) -> WebsocketsClient:
        self.socket = await self._connecting
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.socket.transport.abort()

    async def send(self, message: str | bytes, fragments: int = 1) -> None:
        if fragments == 1:
            await self.socket.send(message)
        else:
            size = -(-len(message) // fragments)
            await self.socket.send(message[at : at + size] for at in range(0, len(message), size))

    async def receive(self) -> str | bytes | Closed:
        try:
            return await self.socket.recv()
        except ConnectionClosed as closed:
            return Closed(closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else Closed(1006, "")

    async def ping(self, payload: bytes) -> None:
        await (await self.socket.ping(payload))

    async def close(self, code: int) -> None:
        await self.socket.close(code, "from the client")

    def abort(self) -> None:
        self.socket.transport.abort()

    @property
    def is_compressed(self) -> bool:
        return bool(self.socket.protocol.extensions)


class WsprotoClient:
    """wsproto, through the same calls."""

    def __init__(self, url: str) -> None:
        self._host, _, path = url.removeprefix("ws://").partition("/")
        self._path = "/" + path

    async def __aenter__(self) -> WsprotoClient:
        host, port = self._host.split(":")
        self.peer = WsprotoPeer(*await asyncio.open_connection(host, int(port)), is_client=True)
        request = wsproto.events.Request(host=self._host, target=self._path, extensions=[PerMessageDeflate()])
        await self.peer.send(request)
        self.events = self.peer.receive()
        accepted = await anext(self.events)
        assert isinstance(accepted, wsproto.events.AcceptConnection), accepted
        self.is_compressed = any(extension.enabled() for extension in accepted.extensions)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.events.aclose()
        self.peer.writer.close()

    async def send(self, message: str | bytes, fragments: int = 1) -> None:
        await self.peer.send_message(message, fragments)

    async def receive(self) -> str | bytes | Closed:
        async for event in self.events:
            match event:
                case str() | bytes():
                    return event
                case wsproto.events.Ping():
                    await self.peer.send(event.response())
                case wsproto.events.CloseConnection():
                    if self.peer.ws.state is wsproto.connection.ConnectionState.REMOTE_CLOSING:
                        await self.peer.send(event.response())
                    return Closed(event.code, event.reason or "")
        return Closed(1006, "")

    async def ping(self, payload: bytes) -> None:
        await self.peer.send(wsproto.events.Ping(payload=payload))
        pong = await anext(self.events)
        assert isinstance(pong, wsproto.events.Pong) and bytes(pong.payload) == payload

    async def close(self, code: int) -> None:
        await self.peer.send(wsproto.events.CloseConnection(code=code, reason="from the client"))
        assert await self.receive() == Closed(code, "from the client")
        # The server goes first (RFC 6455 §7.1.1), as far as its half is concerned; it waits for ours.
        self.peer.writer.close()

    def abort(self) -> None:
        self.peer.writer.transport.abort()


@dataclass
class Pair:
    client: Callable[[str], WebsocketsClient | WsprotoClient]
    url: str
    codes: list[int]
    ended: asyncio.Event

    def __call__(self) -> WebsocketsClient | WsprotoClient:
        return self.client(self.url)


@pytest.fixture(params=["websockets", "wsproto"])
async def server_port(request: pytest.FixtureRequest) -> AsyncIterator[int]:
    SEEN_CODES.clear()
    global ENDED
    ENDED = asyncio.Event()
    if request.param == "wsproto":
        server = await asyncio.start_server(echo_with_wsproto, "127.0.0.1", 0)
        yield server.sockets[0].getsockname()[1]
        server.close()
        return

    async def handler(socket: ServerConnection) -> None:
        try:
            await echo_with_websockets(socket)
        except ConnectionClosed:
            pass
        finally:
            if socket.close_code is not None:
                SEEN_CODES.append(socket.close_code)
            ENDED.set()

    async with serve(handler, "127.0.0.1", 0, max_size=None) as running:
        yield next(iter(running.sockets)).getsockname()[1]


@pytest.fixture(params=[WebsocketsClient, WsprotoClient], ids=["websockets", "wsproto"])
async def pair(request: pytest.FixtureRequest, proxy: Proxy, server_port: int) -> Pair:
    path = f"/peer-{server_port}"
    await proxy.add(path, f"http://127.0.0.1:{server_port}")
    return Pair(request.param, f"ws://127.0.0.1:{proxy.port}{path}", SEEN_CODES, ENDED)


async def within(call: Awaitable[str | bytes | Closed]) -> str | bytes | Closed:
    return await asyncio.wait_for(call, 3 * LIMIT_S)


async def test_text_bytes_and_fragments_come_back(pair: Pair):
    messages = ["", b"", "text", "grüße 🦉", b"\x00\xff" * 10, "x" * 125, "x" * 126, b"y" * 65535, b"y" * 65536]
    async with pair() as client:
        for fragments in (1, 5):
            for message in messages:
                await client.send(message, fragments if message else 1)
                assert await within(client.receive()) == message


async def test_a_message_of_16_mib_comes_back(pair: Pair):
    message = os.urandom(MIB) * 16
    async with pair() as client:
        sending = asyncio.create_task(client.send(message))
        assert await within(client.receive()) == message
        await sending


async def test_compression_is_agreed_upon_through_the_proxy(pair: Pair):
    async with pair() as client:
        assert client.is_compressed
        await client.send("a" * MIB)
        assert await within(client.receive()) == "a" * MIB


async def test_pings_are_answered_by_the_other_end(pair: Pair):
    async with pair() as client:
        for payload in (b"", b"payload", b"x" * 125):
            await asyncio.wait_for(client.ping(payload), LIMIT_S)


async def test_every_close_code_of_the_server_reaches_the_client(pair: Pair):
    for code in CODES:
        async with pair() as client:
            await client.send(f"close with {code}")
            assert await within(client.receive()) == Closed(code, "as asked")


async def test_every_close_code_of_the_client_reaches_the_server(pair: Pair):
    for code in CODES:
        pair.ended.clear()
        async with pair() as client:
            await asyncio.wait_for(client.close(code), LIMIT_S)
            await asyncio.wait_for(pair.ended.wait(), LIMIT_S)
    assert pair.codes == CODES


async def test_a_server_that_goes_without_a_word_leaves_no_client_waiting(pair: Pair):
    async with pair() as client:
        await client.send("abort")
        assert await within(client.receive()) == Closed(1006, "")


async def test_a_client_that_goes_without_a_word_leaves_no_server_waiting(pair: Pair):
    async with pair() as client:
        await client.send("hello")
        await within(client.receive())
        client.abort()
        await asyncio.wait_for(pair.ended.wait(), LIMIT_S)
    assert pair.codes in ([], [1006])
