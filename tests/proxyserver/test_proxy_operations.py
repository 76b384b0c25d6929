"""What people who run the proxy ask of it: ends without a broken answer, many processes, numbers, a log, limits."""

from __future__ import annotations

import asyncio
import os
import re
import signal

import pytest
import websockets
from proxy_process import LIMIT_S, Client, Proxy, Received, Upstream, ask, get, replies, soon

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def waits_for(event: asyncio.Event):
    """A script that answers when the event is set."""

    async def script(request: Received) -> bool:
        await event.wait()
        await request.reply(OK)
        return True

    return script


async def ended(proxy: Proxy) -> int:
    return await asyncio.to_thread(proxy.process.wait, LIMIT_S)


# -- the end
@pytest.mark.parametrize(
    ("number", "flags"), [(signal.SIGQUIT, ()), (signal.SIGTERM, ("--drain-timeout", "9000"))], ids=["QUIT", "TERM"]
)
async def test_a_proxy_that_drains_finishes_what_runs_and_takes_nothing_new(upstream: Upstream, number, flags):
    may_answer = asyncio.Event()
    upstream.script = waits_for(may_answer)
    with Proxy("--default-target", upstream.url, "--keep-alive-timeout", "60000", *flags) as proxy:
        port = proxy.port
        async with Client(port) as busy, Client(port) as idle:
            await busy.send(get("/"))
            await soon(lambda: upstream.received)
            proxy.process.send_signal(number)
            assert await idle.until_eof() == b""
            with pytest.raises(ConnectionRefusedError):
                async with Client(port):
                    pass
            may_answer.set()
            answer = await busy.response()
            assert (answer.status, answer["connection"]) == (200, "close")
            assert await busy.until_eof() == b""
        assert await ended(proxy) == 2


async def test_draining_has_a_deadline(upstream: Upstream):
    upstream.script = waits_for(asyncio.Event())
    with Proxy("--default-target", upstream.url, "--drain-timeout", "100") as proxy:
        async with Client(proxy.port) as client:
            await client.send(get("/"))
            await soon(lambda: upstream.received)
            proxy.process.send_signal(signal.SIGTERM)
            assert await client.until_eof() == b""
        assert await ended(proxy) == 2


# -- workers
def workers_of(proxy: Proxy) -> list[int]:
    with open(f"/proc/{proxy.process.pid}/task/{proxy.process.pid}/children") as children:
        return [int(pid) for pid in children.read().split()]


async def test_workers_share_the_table_the_activity_and_the_counts(upstream: Upstream):
    with Proxy("--workers", "3", "--metrics-port", "0", "--metrics-ip", "127.0.0.1") as proxy:
        assert len(workers_of(proxy)) == 3
        await proxy.add("/a", upstream.url)
        before = await proxy.last_activity("/a")
        answers = await asyncio.gather(*(ask(proxy, get("/a/x")) for _ in range(24)))
        assert {answer.status for answer in answers} == {200}
        assert await proxy.last_activity("/a") > before
        metrics_port = int(proxy.wait_for_log(r"Serve metrics at http://127.0.0.1:(\d+)")[1])
        lines = (await ask(metrics_port, get("/metrics"))).body.decode().splitlines()
        assert {"requests_web 24", 'requests_proxy{status="200"} 24', "proxy_workers 3", "proxy_routes 1"} <= set(lines)
        assert (await proxy.api("DELETE", "/a")).status == 204
        answers = await asyncio.gather(*(ask(proxy, get("/a/x")) for _ in range(12)))
        assert {answer.status for answer in answers} == {404}
    assert proxy.process.returncode == 2


async def test_a_worker_that_is_killed_is_replaced_and_knows_the_table(upstream: Upstream):
    with Proxy("--workers", "2") as proxy:
        await proxy.add("/a", upstream.url)
        first = workers_of(proxy)
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        await soon(lambda: len(set(workers_of(proxy)) - set(first)) == 2)
        assert (await ask(proxy, get("/a/x"))).status == 200  # it waited in the socket's queue
        await proxy.add("/b", upstream.url)
        answers = await asyncio.gather(*(ask(proxy, get("/b")) for _ in range(12)))
        assert {answer.status for answer in answers} == {200}


async def test_workers_end_with_their_keeper():
    with Proxy("--workers", "2") as proxy:
        workers = workers_of(proxy)
        proxy.process.kill()
        await soon(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in workers))


# -- seen from outside
async def test_metrics_tell_routes_statuses_times_and_errors_apart(upstream: Upstream):
    with Proxy("--metrics-port", "0", "--metrics-ip", "127.0.0.1") as proxy:
        await proxy.add("/user/ada", upstream.url, user="ada")
        await proxy.add("/gone", "http://127.0.0.1:1")
        await ask(proxy, get("/user/ada/x", method="POST", body=b"12345"))
        await ask(proxy, get("/nowhere"))
        await ask(proxy, get("/gone"))
        await ask(proxy, b"nonsense\r\n\r\n")
        metrics_port = int(proxy.wait_for_log(r"Serve metrics at http://127.0.0.1:(\d+)")[1])
        lines = (await ask(metrics_port, get("/metrics"))).body.decode().splitlines()
    assert {
        'proxy_answers_total{route="user",status="200"} 1',
        'proxy_answers_total{route="none",status="404"} 1',
        'proxy_answers_total{route="other",status="503"} 1',
        'proxy_answer_seconds_count{route="user"} 1',
        'proxy_answer_seconds_bucket{route="user",le="+Inf"} 1',
        "proxy_received_bytes_total 5",
        'proxy_upstream_errors_total{kind="connect"} 1',
        "proxy_refused_requests_total 1",
        "proxy_open_websockets 0",
        "proxy_workers 1",
    } <= set(lines)


async def test_the_access_log_names_the_request_and_never_its_query(upstream: Upstream):
    with Proxy("--access-log") as proxy:
        await proxy.add("/a", upstream.url)
        await ask(proxy, get("/a/x?token=s3cr3t", "X-Request-ID: r1", "Referer: http://x/?token=s3cr3t"))
        line = proxy.wait_for_log(r"127\.0\.0\.1 GET /a/x 200 \d+ \d+\.\d{3} /a r1")
        assert line and upstream.received[0]["x-request-id"] == "r1"
    assert not re.search("s3cr3t", "".join(line for line in proxy.log))


# -- who is believed
@pytest.mark.parametrize(
    ("trusted", "seen"), [("private", ["9.9.9.9,127.0.0.1"]), ("none", ["127.0.0.1"]), ("10.0.0.0/8", ["127.0.0.1"])]
)
async def test_forwarding_fields_are_believed_only_from_trusted_proxies(upstream: Upstream, trusted, seen):
    with Proxy("--default-target", upstream.url, "--trusted-proxies", trusted) as proxy:
        fields = ["X-Forwarded-For: 9.9.9.9", "x-forwarded-proto: https", "Forwarded: for=9.9.9.9"]
        await ask(proxy, get("/", *fields))
        request = upstream.received[0]
        is_trusted = trusted == "private"
        assert request.all("x-forwarded-for") == seen
        assert request.all("x-forwarded-proto") == (["https,http"] if is_trusted else ["http"])
        assert request.all("forwarded") == (["for=9.9.9.9"] if is_trusted else [])


# -- limits
async def test_connections_are_limited_in_total_and_by_address(upstream: Upstream):
    flags = ["--trusted-proxies", "none", "--max-connections-per-client", "1"]
    for limit in (["--max-connections", "1"], flags):
        with Proxy("--default-target", upstream.url, *limit) as proxy:
            async with Client(proxy.port) as first:
                await first.send(get("/"))
                assert (await first.response()).status == 200
                async with Client(proxy.port) as second:
                    assert (await second.response()).status == 503
                    assert await second.until_eof() == b""
            async with asyncio.timeout(LIMIT_S):  # once the first one is gone
                while (await ask(proxy, get("/"))).status != 200:
                    pass


async def test_heads_are_limited_to_what_is_configured(upstream: Upstream):
    with Proxy("--default-target", upstream.url, "--max-head-bytes", "500") as proxy:
        assert (await ask(proxy, get("/", "X: " + "a" * 300))).status == 200
        assert (await ask(proxy, get("/", "X: " + "a" * 500))).status == 431


async def test_an_upstream_that_accepts_nobody_is_given_up_after_the_configured_time():
    with Proxy("--default-target", "http://192.0.2.1", "--connect-timeout", "100") as proxy:
        assert (await ask(proxy, get("/"))).status == 503


async def test_a_client_that_takes_nothing_is_dropped(upstream: Upstream):
    body = b"x" * (64 << 20)
    upstream.script = replies(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    with Proxy("--default-target", upstream.url, "--write-timeout", "200") as proxy:
        async with Client(proxy.port) as client:
            client.writer.transport.pause_reading()
            await client.send(get("/"))
            await asyncio.to_thread(proxy.wait_for_log, "took nothing")
            await upstream.ended.wait()


# -- WebSockets
async def test_idle_clients_are_pinged_between_frames_and_their_pongs_are_no_activity(upstream: Upstream):
    async def echo(connection):
        async for message in connection:
            await connection.send(message)

    async with websockets.serve(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with Proxy("--websocket-ping-interval", "100") as proxy:
            await proxy.add("/a", f"http://127.0.0.1:{port}")
            async with Client(proxy.port) as client:
                await client.send(get("/a", "Connection: Upgrade", "Upgrade: websocket", *HANDSHAKE))
                await client.head()
                before = await proxy.last_activity("/a")
                async with asyncio.timeout(LIMIT_S):
                    assert await client.reader.readexactly(2) == b"\x89\x00"
                    await client.send(b"\x8a\x80\x00\x00\x00\x00")
                    assert await client.reader.readexactly(2) == b"\x89\x00"
                assert await proxy.last_activity("/a") == before
            # a library's client answers pings by itself
            async with websockets.connect(f"ws://127.0.0.1:{proxy.port}/a", ping_interval=None) as library:
                for size in (1, 200, 70_000):
                    await library.send("x" * size)
                    assert len(await library.recv()) == size


HANDSHAKE = ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
