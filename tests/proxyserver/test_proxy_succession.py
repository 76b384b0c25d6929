"""SIGUSR2: the proxy is replaced by itself, and neither clients nor upstreams nor whoever has started it notice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator

import pytest
import websockets
from proxy_process import Client, Proxy, Received, Upstream, ask, get, soon

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def succeed(proxy: Proxy) -> None:
    """Send the signal and wait until the successor serves."""
    before = served(proxy)
    proxy.process.send_signal(signal.SIGUSR2)
    await soon(lambda: served(proxy) > before)


def served(proxy: Proxy) -> int:
    return sum("Proxy API at" in line for line in proxy.log)


@contextlib.asynccontextmanager
async def echo() -> AsyncIterator[str]:
    async def reply(connection) -> None:
        async for message in connection:
            await connection.send(message)

    async with websockets.serve(reply, "127.0.0.1", 0, ping_interval=None) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_websockets_idle_clients_routes_and_activity_go_over(upstream: Upstream, workers: str):
    async with echo() as url:
        flags = [
            "--keep-alive-timeout",
            "60000",
            "--workers",
            workers,
            "--metrics-port",
            "0",
            "--metrics-ip",
            "127.0.0.1",
        ]
        with Proxy(*flags) as proxy:
            pid, port = proxy.process.pid, proxy.port
            await proxy.add("/ws", url)
            await proxy.add("/a", upstream.url, user="ada")
            async with contextlib.AsyncExitStack() as opened:
                sockets = [
                    await opened.enter_async_context(
                        websockets.connect(f"ws://127.0.0.1:{port}/ws", ping_interval=None)
                    )
                    for _ in range(8)
                ]
                clients = [await opened.enter_async_context(Client(port)) for _ in range(4)]
                for client in clients:
                    await client.send(get("/a/1"))
                    assert (await client.response()).status == 200
                await clients[0].send(b"GET /a/slow HTTP/1.1\r\nHo")  # half a head
                activity = await proxy.last_activity("/a")
                for _ in range(2):
                    await succeed(proxy)
                    for number, websocket in enumerate(sockets):
                        await websocket.send(f"after {number}")
                        assert await websocket.recv() == f"after {number}"
                assert await proxy.last_activity("/a") == activity
                await clients[0].send(b"st: x\r\n\r\n")
                for client in clients[1:]:
                    await client.send(get("/a/2"))
                assert [(await client.response()).status for client in clients] == [200] * 4
                metrics_port = int(proxy.wait_for_log(r"Serve metrics at http://127.0.0.1:(\d+)")[1])
                lines = (await ask(metrics_port, get("/metrics"))).body.decode().splitlines()
                assert {"requests_web 8", "requests_ws 8", "proxy_open_websockets 8"} <= set(lines)
            assert proxy.process.pid == pid and proxy.process.poll() is None
            assert len({line.split("Proxying")[1] for line in proxy.log if "Proxying" in line}) == 1
            await proxy.add("/b", upstream.url)
            answers = await asyncio.gather(*(ask(proxy, get("/b")) for _ in range(8)))
            assert {answer.status for answer in answers} == {200}
        assert proxy.process.returncode == 2


async def test_an_exchange_that_runs_ends_before_and_new_clients_wait(upstream: Upstream):
    may_answer = asyncio.Event()

    async def script(request: Received) -> bool:
        await may_answer.wait()
        await request.reply(OK)
        return True

    upstream.script = script
    with Proxy("--default-target", upstream.url) as proxy:
        async with Client(proxy.port) as busy:
            await busy.send(get("/1"))
            await soon(lambda: upstream.received)
            proxy.process.send_signal(signal.SIGUSR2)
            # The listening sockets close only when the successor was found able to start; then who comes waits.
            await asyncio.to_thread(proxy.wait_for_log, "giving way")
            waiting = asyncio.create_task(ask(proxy, get("/2")))
            may_answer.set()
            assert (await busy.response()).status == 200
            assert (await waiting).status == 200
            await busy.send(get("/3"))
            assert (await busy.response()).status == 200


async def test_a_successor_that_cannot_start_is_not_given_way_to(upstream: Upstream, tmp_path):
    program = tmp_path / "proxy.py"
    program.write_text("import sys; from jupyterhub.proxyserver.main import main; sys.exit(main())")
    listen = ["--ip", "127.0.0.1", "--port", "0", "--api-ip", "127.0.0.1", "--api-port", "0"]
    command = [sys.executable, str(program), *listen, "--default-target", upstream.url]
    with Proxy(command=command) as proxy:
        program.write_text("raise SystemExit('an update that went wrong')")
        proxy.process.send_signal(signal.SIGUSR2)
        await asyncio.to_thread(proxy.wait_for_log, "cannot start; this process goes on")
        assert (await ask(proxy, get("/"))).status == 200
        program.write_text("import sys; from jupyterhub.proxyserver.main import main; sys.exit(main())")
        await succeed(proxy)
        assert (await ask(proxy, get("/"))).status == 200


async def test_it_works_on_the_standard_loop_too(tmp_path):
    program = tmp_path / "proxy.py"
    program.write_text(
        "import sys; sys.modules['uvloop'] = None; from jupyterhub.proxyserver.main import main; sys.exit(main())"
    )
    listen = ["--ip", "127.0.0.1", "--port", "0", "--api-ip", "127.0.0.1", "--api-port", "0"]
    async with echo() as url:
        with Proxy(command=[sys.executable, str(program), *listen, "--default-target", url]) as proxy:
            async with websockets.connect(f"ws://127.0.0.1:{proxy.port}/", ping_interval=None) as websocket:
                await succeed(proxy)
                await websocket.send("after")
                assert await websocket.recv() == "after"


async def test_no_socket_is_left_over_after_many_successions(upstream: Upstream):
    with Proxy("--default-target", upstream.url, "--keep-alive-timeout", "60000") as proxy:
        counts = []
        async with Client(proxy.port) as client:
            for _ in range(4):
                await client.send(get("/"))
                assert (await client.response()).status == 200
                await succeed(proxy)
                counts.append(len(os.listdir(f"/proc/{proxy.process.pid}/fd")))
        assert len(set(counts)) == 1, counts
