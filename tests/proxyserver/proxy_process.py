"""What the end-to-end tests stand on: the real proxy as a process, a small upstream, a client that sees raw bytes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

LIMIT_S = 10.0
SECRET = "s3cret"


class Proxy:
    """``python -m jupyterhub.proxyserver`` on ports given by the kernel."""

    def __init__(self, *arguments: str, secret: str = SECRET, command: list[str] | None = None) -> None:
        environment = {**os.environ, "CONFIGPROXY_AUTH_TOKEN": secret}
        listen = ["--ip", "127.0.0.1", "--port", "0", "--api-ip", "127.0.0.1", "--api-port", "0"]
        self.secret = secret
        self.log: list[str] = []
        self._heard = threading.Condition()
        self.process = subprocess.Popen(
            command or [sys.executable, "-m", "jupyterhub.proxyserver", *listen, *arguments],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._heard:
                self.log.append(line)
                self._heard.notify_all()
        with self._heard:
            self.log.append("")
            self._heard.notify_all()

    def wait_for_log(self, pattern: str) -> re.Match[str]:
        def found() -> re.Match[str] | None:
            return next((match for line in self.log if (match := re.search(pattern, line))), None)

        with self._heard:
            self._heard.wait_for(lambda: found() or (self.log and self.log[-1] == ""), LIMIT_S)
            match = found()
        assert match, f"no {pattern!r} in the log:\n{''.join(self.log)}"
        return match

    @property
    def port(self) -> int:
        return int(self.wait_for_log(r"Proxying https?://\S+:(\d+) to")[1])

    @property
    def api_port(self) -> int:
        return int(self.wait_for_log(r"Proxy API at https?://\S+:(\d+)/api")[1])

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            status = self.process.wait(LIMIT_S)
        finally:
            self.process.kill()
            self._listener.join(LIMIT_S)
            assert self.process.stderr is not None
            self.process.stderr.close()
        return status

    def __enter__(self) -> Proxy:
        self.wait_for_log("Proxy API at")
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        assert not any("Traceback" in line for line in self.log), "".join(self.log)

    # -- the REST API
    async def api(self, method: str, path: str = "", body: object = None, *, secret: str | None = None) -> Response:
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        token = self.secret if secret is None else secret
        fields = f"Authorization: token {token}\r\n" if token else ""
        head = f"{method} /api/routes{path} HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: {len(data)}\r\n\r\n"
        async with Client(self.api_port) as client:
            await client.send(head.encode() + data)
            return await client.response(method)

    async def add(self, path: str, target: str, **data: object) -> None:
        assert (await self.api("POST", path, {"target": target, **data})).status == 201

    async def last_activity(self, path: str) -> str:
        return str((await self.api("GET", path)).json()["last_activity"])


@dataclass
class Response:
    status: int
    head: bytes
    fields: list[tuple[str, str]]
    body: bytes
    #: as it came, with chunks
    raw_body: bytes = b""

    def __getitem__(self, name: str) -> str | None:
        return next((value for key, value in self.fields if key == name.lower()), None)

    def json(self) -> dict[str, object]:
        return json.loads(self.body)


class Client:
    """A connection of bytes, with a reader of responses that is not the proxy's own."""

    def __init__(self, port: int | str, ssl: object = None) -> None:
        self._port = port
        self._ssl = ssl

    async def __aenter__(self) -> Client:
        async with asyncio.timeout(LIMIT_S):
            if isinstance(self._port, str):
                self.reader, self.writer = await asyncio.open_unix_connection(self._port)
            else:
                self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._ssl)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Leave without a goodbye: a RST. (A FIN might as well come from a client that only stops sending.)"""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        async with asyncio.timeout(LIMIT_S):
            await self.writer.drain()

    async def head(self) -> tuple[int, bytes, list[tuple[str, str]]]:
        async with asyncio.timeout(LIMIT_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")[:-2]
        fields = [(line.partition(":")[0].lower(), line.partition(":")[2].strip()) for line in lines]
        return int(status_line.split()[1]), head, fields

    async def response(self, method: str = "GET") -> Response:
        """Read one response, 1xx included."""
        status, head, fields = await self.head()
        known = dict(fields)
        body = raw = b""
        async with asyncio.timeout(LIMIT_S):
            if method == "HEAD" or status < 200 or status in (204, 304):
                pass
            elif known.get("transfer-encoding") == "chunked":
                while True:
                    line = await self.reader.readuntil(b"\r\n")
                    raw += line
                    size = int(line.split(b";")[0], 16)
                    if size == 0:
                        break
                    data = await self.reader.readexactly(size + 2)
                    raw += data
                    body += data[:-2]
                while (line := await self.reader.readuntil(b"\r\n")) != b"\r\n":
                    raw += line
                raw += line
            elif "content-length" in known:
                body = await self.reader.readexactly(int(known["content-length"]))
            else:
                body = await self.reader.read(-1)
        return Response(status, head, fields, body, raw)

    async def until_eof(self) -> bytes:
        """Read what comes until the end; a reset counts as one."""
        data = b""
        async with asyncio.timeout(LIMIT_S):
            while True:
                try:
                    piece = await self.reader.read(1 << 16)
                except ConnectionError:
                    return data
                if not piece:
                    return data
                data += piece


async def ask(proxy: Proxy | int, data: bytes, method: str = "GET") -> Response:
    """One connection, one request, one response."""
    async with Client(proxy.port if isinstance(proxy, Proxy) else proxy) as client:
        await client.send(data)
        return await client.response(method)


def get(path: str, *fields: str, method: str = "GET", host: str = "pub.example:8000", body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *fields]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@dataclass
class Received:
    """A request as the upstream has seen it, and the connection it came on."""

    line: str
    head: bytes
    fields: list[tuple[str, str]]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    body: bytes = b""

    @property
    def path(self) -> str:
        return self.line.split()[1]

    def __getitem__(self, name: str) -> str | None:
        return next((value for key, value in self.fields if key == name.lower()), None)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name.lower()]

    async def read_body(self) -> bytes:
        if self["transfer-encoding"] == "chunked":
            while size := int((line := await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
                assert line
                self.body += (await self.reader.readexactly(size + 2))[:-2]
            while (line := await self.reader.readuntil(b"\r\n")) != b"\r\n":
                self.fields.append(("trailer-line", line.decode().strip()))
        elif self["content-length"]:
            self.body += await self.reader.readexactly(int(self["content-length"]))
        return self.body

    async def reply(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


Script = Callable[[Received], Awaitable[bool | None]]


async def say_what_came(request: Received) -> bool | None:
    """The default script: answer with the request in JSON."""
    await request.read_body()
    body = json.dumps({"line": request.line, "fields": request.fields, "body": request.body.decode("latin-1")}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    await request.reply(head if request.line.startswith("HEAD") else head + body)
    return True


@dataclass
class Upstream:
    """A server that follows ``script`` for each request; False from it closes the connection."""

    script: Script = say_what_came
    path: str = ""
    ssl: object = None
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    #: set when a connection has ended, from either side
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Upstream:
        self._tasks: set[asyncio.Task[None] | None] = set()
        if self.path:
            self._server = await asyncio.start_unix_server(self._serve, self.path)
        else:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.ssl)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            assert task is not None
            task.cancel()

    @property
    def port(self) -> int:
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        return f"{'https' if self.ssl else 'http'}://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                line, *lines = head.decode("latin-1").split("\r\n")[:-2]
                fields = [(text.partition(":")[0].lower(), text.partition(":")[2].strip()) for text in lines]
                request = Received(line, head, fields, reader, writer)
                self.received.append(request)
                if await self.script(request) is False:
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            self.ended.set()


def replies(data: bytes, *, then_close: bool = False) -> Script:
    """A script that reads the request and answers with these bytes."""

    async def script(request: Received) -> bool:
        await request.read_body()
        await request.reply(data)
        return not then_close

    return script


async def soon(condition: Callable[[], object]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.01)
