"""End to end: the real proxy between a client that sends bytes and a small upstream."""

from __future__ import annotations

import asyncio
import json
import os

import httpx
import pytest
from proxy_process import LIMIT_S, Client, Proxy, Received, Upstream, ask, get, replies, soon

MIB = 1 << 20


# -- requests and answers pass
async def test_a_request_arrives_with_its_forwarding_fields(proxy: Proxy, site: str):
    answer = await ask(proxy, get(f"{site}/a%20b//c?x=1&y=%2F", "X-One: 1"))
    seen = answer.json()
    assert answer.status == 200 and seen["line"] == f"GET {site}/a%20b//c?x=1&y=%2F HTTP/1.1"
    assert seen["fields"] == [
        ["host", "pub.example:8000"], ["x-one", "1"], ["x-forwarded-for", "127.0.0.1"], ["x-forwarded-port", "8000"],
        ["x-forwarded-proto", "http"], ["x-forwarded-host", "pub.example:8000"],
    ]  # fmt: skip


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
async def test_every_method_arrives_with_its_body(proxy: Proxy, site: str, method: str):
    answer = await ask(proxy, get(f"{site}/m", method=method, body=b"some \x00\xff bytes"))
    assert answer.json()["line"].startswith(f"{method} ") and answer.json()["body"] == "some \x00\xff bytes"


async def test_a_real_client_library_is_served(proxy: Proxy, site: str):
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{proxy.port}{site}") as client:
        answers = await asyncio.gather(*(client.post(f"/{n}", content=bytes([n]) * 1000) for n in range(20)))
    assert [answer.json()["body"] for answer in answers] == [chr(n) * 1000 for n in range(20)]


async def test_one_client_connection_carries_many_requests_over_one_upstream_connection(
    proxy: Proxy, site: str, upstream: Upstream
):
    async with Client(proxy.port) as client:
        for n in range(20):
            await client.send(get(f"{site}/{n}"))
            assert (await client.response()).json()["line"] == f"GET {site}/{n} HTTP/1.1"
    assert upstream.connections == 1


async def test_pipelined_requests_are_answered_one_by_one_in_order(proxy: Proxy, site: str, upstream: Upstream):
    at_once = 0

    async def one_at_a_time(request: Received) -> None:
        nonlocal at_once
        at_once += 1
        assert at_once == 1
        body = (await request.read_body()) or request.path.encode()
        at_once -= 1
        await request.reply(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    upstream.script = one_at_a_time
    async with Client(proxy.port) as client:
        await client.send(
            get(f"{site}/1") + get(f"{site}/2", method="POST", body=b"two") + get("/_chp_healthz") + get(f"{site}/4")
        )
        bodies = [(await client.response()).body for _ in range(4)]
    assert bodies == [f"{site}/1".encode(), b"two", b'{"status":"OK"}', f"{site}/4".encode()]


async def test_hundreds_of_small_requests_in_one_packet_are_answered(proxy: Proxy):
    async with Client(proxy.port) as client:
        await client.send(get("/_chp_healthz") * 1000)
        for _ in range(1000):
            assert (await client.response()).status == 200


async def test_a_request_in_single_bytes_is_read(proxy: Proxy, site: str):
    async with Client(proxy.port) as client:
        data = get(f"{site}/slow", "Transfer-Encoding: chunked", method="POST") + b"3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"
        for at in range(len(data)):
            await client.send(data[at : at + 1])
            await asyncio.sleep(0)
        seen = (await client.response()).json()
    assert seen["body"] == "abc" and ["trailer-line", "X-T: 1"] in seen["fields"]


async def test_chunked_answers_pass_with_extensions_and_trailers(proxy: Proxy, site: str, upstream: Upstream):
    body = b"5;x=1\r\nfirst\r\n4\r\nlast\r\n0\r\nX-Sum: 1\r\n\r\n"
    upstream.script = replies(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" + body)
    answer = await ask(proxy, get(site))
    assert answer.raw_body == body and answer["trailer"] == "X-Sum"


async def test_an_answer_without_length_ends_with_the_connection(proxy: Proxy, site: str, upstream: Upstream):
    upstream.script = replies(b"HTTP/1.0 200 OK\r\n\r\nall of it", then_close=True)
    answer = await ask(proxy, get(site))
    assert answer.body == b"all of it" and answer["connection"] == "close"


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_body_leave_the_connection_usable(
    proxy: Proxy, site: str, upstream: Upstream, status: int
):
    upstream.script = replies(f"HTTP/1.1 {status} X\r\nETag: x\r\n\r\n".encode())
    async with Client(proxy.port) as client:
        for _ in range(2):
            await client.send(get(site))
            assert (await client.response()).status == status
    assert upstream.connections == 1


async def test_the_answer_to_head_has_a_length_and_no_body(proxy: Proxy, site: str, upstream: Upstream):
    upstream.script = replies(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
    async with Client(proxy.port) as client:
        for _ in range(2):
            await client.send(get(site, method="HEAD"))
            assert (await client.response("HEAD"))["content-length"] == "1234"


async def test_http_1_0_clients_get_plain_bodies(proxy: Proxy, site: str, upstream: Upstream):
    upstream.script = replies(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n"
    )
    async with Client(proxy.port) as client:
        await client.send(f"GET {site} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode())
        answer = await client.response()
    assert answer.body == b"abcde" and answer["connection"] == "close" and answer["transfer-encoding"] is None
    assert upstream.received[0]["host"] == f"127.0.0.1:{upstream.port}"


async def test_http_1_0_clients_may_keep_a_connection(proxy: Proxy, site: str):
    async with Client(proxy.port) as client:
        for _ in range(2):
            await client.send(f"GET {site} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode())
            assert (await client.response())["connection"] == "keep-alive"


async def test_the_first_part_of_an_answer_passes_before_the_last_exists(proxy: Proxy, site: str, upstream: Upstream):
    gate = asyncio.Event()

    async def script(request: Received) -> None:
        await request.reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await gate.wait()
        await request.reply(b"4\r\nlast\r\n0\r\n\r\n")

    upstream.script = script
    async with Client(proxy.port) as client:
        await client.send(get(site))
        await client.head()
        assert await client.reader.readexactly(10) == b"5\r\nfirst\r\n"
        before = await proxy.last_activity(site)
        gate.set()
        assert await client.reader.readexactly(14) == b"4\r\nlast\r\n0\r\n\r\n"
    assert before <= await proxy.last_activity(site)


async def test_the_first_part_of_a_request_passes_before_the_last_exists(proxy: Proxy, site: str, upstream: Upstream):
    got = asyncio.Event()

    async def script(request: Received) -> None:
        assert await request.reader.readexactly(5) == b"first"
        got.set()
        assert await request.reader.readexactly(4) == b"last"
        await request.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    upstream.script = script
    async with Client(proxy.port) as client, asyncio.timeout(LIMIT_S):
        await client.send(get(site, "Content-Length: 9", method="POST") + b"first")
        await got.wait()
        await client.send(b"last")
        assert (await client.response()).status == 200


async def test_interim_answers_pass(proxy: Proxy, site: str, upstream: Upstream):
    async def script(request: Received) -> None:
        assert request["expect"] == "100-continue"
        await request.reply(b"HTTP/1.1 100 Continue\r\n\r\n")
        await request.read_body()
        await request.reply(b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    upstream.script = script
    async with Client(proxy.port) as client:
        await client.send(get(site, "Expect: 100-continue", "Content-Length: 4", method="POST"))
        assert (await client.response()).status == 100
        await client.send(b"body")
        assert [(await client.response()).status for _ in range(2)] == [103, 200]


async def test_an_answer_before_the_end_of_the_request_is_seen_although_the_client_goes_on(
    proxy: Proxy, site: str, upstream: Upstream
):
    async def script(request: Received) -> bool:
        await request.reply(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        return False

    upstream.script = script
    async with Client(proxy.port) as client:
        await client.send(get(site, f"Content-Length: {64 * MIB}", method="POST") + b"x" * MIB)
        answer = await client.response()
        assert (answer.status, answer.body, answer["connection"]) == (413, b"big", "close")
        await client.send(b"x" * 1000)
        assert await client.until_eof() == b""


async def test_a_client_that_has_shut_down_its_side_still_gets_its_answer(proxy: Proxy, site: str, upstream: Upstream):
    gate = asyncio.Event()

    async def script(request: Received) -> None:
        await gate.wait()
        await request.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")

    upstream.script = script
    async with Client(proxy.port) as client:
        await client.send(get(site))
        client.writer.write_eof()
        await soon(lambda: upstream.received)
        gate.set()
        assert (await client.until_eof()).endswith(b"late")


# -- bulk and back-pressure
async def test_large_bodies_pass_unchanged_both_ways(proxy: Proxy, site: str, upstream: Upstream):
    data = os.urandom(8 * MIB)

    async def echo(request: Received) -> None:
        body = await request.read_body()
        await request.reply(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    upstream.script = echo
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"http://127.0.0.1:{proxy.port}{site}", content=data, timeout=LIMIT_S)
    assert answer.content == data


def resident_bytes(proxy: Proxy) -> int:
    with open(f"/proc/{proxy.process.pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_a_client_that_does_not_read_stops_the_upstream(proxy: Proxy, site: str, upstream: Upstream):
    written, before, total = 0, resident_bytes(proxy), 96 * MIB

    async def flood(request: Received) -> None:
        nonlocal written
        await request.reply(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        while written < total:
            await request.reply(b"x" * MIB)
            written += MIB

    upstream.script = flood
    async with Client(proxy.port) as client:
        await client.send(get(site))
        await client.head()
        last = -1
        while last != written:  # until nothing moves any more
            last = written
            await asyncio.sleep(0.2)
        assert written < total and resident_bytes(proxy) - before < 16 * MIB
        read = 0
        async with asyncio.timeout(30):
            while read < total:
                read += len(await client.reader.read(MIB))
    assert read == total


async def test_an_upstream_that_does_not_read_stops_the_client(proxy: Proxy, site: str, upstream: Upstream):
    gate, before, sent, total = asyncio.Event(), resident_bytes(proxy), 0, 96 * MIB

    async def script(request: Received) -> None:
        await gate.wait()
        left = total
        while left:
            left -= len(await request.reader.read(MIB))
        await request.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def pour(client: Client) -> None:
        nonlocal sent
        while sent < total:
            client.writer.write(b"x" * MIB)
            await client.writer.drain()
            sent += MIB

    upstream.script = script
    async with Client(proxy.port) as client, asyncio.timeout(30):
        await client.send(get(site, f"Content-Length: {total}", method="POST"))
        pouring = asyncio.create_task(pour(client))
        last = -1
        while last != sent:
            last = sent
            await asyncio.sleep(0.2)
        assert sent < total and resident_bytes(proxy) - before < 16 * MIB
        gate.set()
        assert (await client.response()).status == 200
        await pouring


# -- what is refused
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70_000, 431),
    ],
)
async def test_what_could_be_read_in_two_ways_is_refused_and_the_connection_closed(
    proxy: Proxy, data: bytes, status: int
):
    async with Client(proxy.port) as client:
        await client.send(data + get("/_chp_healthz"))
        answer = await client.response()
        assert (answer.status, answer["connection"]) == (status, "close")
        assert await client.until_eof() == b""


async def test_a_broken_chunk_ends_the_request_and_the_upstream_never_sees_its_end(
    proxy: Proxy, site: str, upstream: Upstream
):
    async with Client(proxy.port) as client:
        await client.send(get(site, "Transfer-Encoding: chunked", method="POST") + b"3\r\nabc\r\n")
        await soon(lambda: upstream.received)
        await client.send(b"xyz\r\n0\r\n\r\n" + get("/_chp_healthz"))
        assert (await client.response()).status == 400
        assert await client.until_eof() == b""
    await asyncio.wait_for(upstream.ended.wait(), LIMIT_S)


async def test_bytes_behind_a_refused_upgrade_are_a_request_of_their_own(proxy: Proxy, site: str, upstream: Upstream):
    """Not data for the upstream: an upgrade that was not agreed to must not open a tunnel."""
    async with Client(proxy.port) as client:
        await client.send(get(site, "Connection: Upgrade", "Upgrade: websocket") + get(f"{site}/next"))
        assert [(await client.response()).status for _ in range(2)] == [200, 200]
    assert [request.path for request in upstream.received] == [site, f"{site}/next"]


# -- connections to upstreams
async def test_a_get_that_meets_a_stale_connection_is_sent_again(proxy: Proxy, site: str, upstream: Upstream):
    async def script(request: Received) -> bool:
        if upstream.connections == 1 and len(upstream.received) == 2:
            return False  # as if it had closed while the request was on its way
        await request.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return True

    upstream.script = script
    async with Client(proxy.port) as client:
        for _ in range(2):
            await client.send(get(site))
            assert (await client.response()).status == 200
    assert (upstream.connections, len(upstream.received)) == (2, 3)


async def test_a_post_is_never_sent_twice(proxy: Proxy, site: str, upstream: Upstream):
    async def script(request: Received) -> bool:
        await request.read_body()
        if request.line.startswith("POST"):
            return False
        await request.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return True

    upstream.script = script
    async with Client(proxy.port) as client:
        await client.send(get(site))
        assert (await client.response()).status == 200
        await client.send(get(site, method="POST", body=b"x"))
        assert (await client.response()).status == 503
    assert [request.line.split()[0] for request in upstream.received] == ["GET", "POST"]


async def test_a_client_that_leaves_ends_the_upstreams_work(proxy: Proxy, site: str, upstream: Upstream):
    async def script(request: Received) -> bool:
        await request.reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        await request.reader.read()
        return False

    upstream.script = script
    async with Client(proxy.port) as client:
        await client.send(get(site))
        await client.head()
        client.reset()
        await asyncio.wait_for(upstream.ended.wait(), LIMIT_S)


async def test_an_answer_that_breaks_off_is_seen_as_broken(proxy: Proxy, site: str, upstream: Upstream):
    upstream.script = replies(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this", then_close=True)
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"http://127.0.0.1:{proxy.port}{site}")


async def test_a_route_that_changes_while_a_request_is_on_its_way_changes_nothing_for_it(
    proxy: Proxy, site: str, upstream: Upstream
):
    gate = asyncio.Event()

    async def script(request: Received) -> None:
        await gate.wait()
        await request.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold")

    upstream.script = script
    async with Client(proxy.port) as client:
        await client.send(get(site))
        await soon(lambda: upstream.received)
        await proxy.api("DELETE", site)
        assert (await ask(proxy, get(site))).status == 404
        gate.set()
        assert (await client.response()).body == b"old"


async def test_targets_on_unix_sockets_are_reached(proxy: Proxy, tmp_path):
    path = str(tmp_path / "up.sock")
    async with Upstream(path=path) as upstream:
        for n, scheme in enumerate(["http+unix", "unix+http"]):
            await proxy.add(f"/unix{n}", f"{scheme}://{path.replace('/', '%2F')}/inner")
            assert (await ask(proxy, get(f"/unix{n}/x"))).status == 200
        assert [request.path for request in upstream.received] == ["/inner/unix0/x", "/inner/unix1/x"]


# -- activity
async def test_of_plain_requests_only_those_that_succeed_move_a_routes_last_activity(
    proxy: Proxy, site: str, upstream: Upstream
):
    at_first = await proxy.last_activity(site)
    for status in (302, 404, 500):
        upstream.script = replies(f"HTTP/1.1 {status} X\r\nContent-Length: 1\r\n\r\nx".encode())
        await ask(proxy, get(site))
    assert await proxy.last_activity(site) == at_first
    upstream.script = replies(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    await ask(proxy, get(site))
    assert await proxy.last_activity(site) > at_first


async def test_the_api_serves_whole_tables_over_one_connection(proxy: Proxy, site: str):
    async with Client(proxy.api_port) as client:
        for n in range(50):
            body = json.dumps({"target": "http://127.0.0.1:1", "n": n}).encode()
            await client.send(
                get(f"/api/routes/many/{n}", f"Authorization: token {proxy.secret}", method="POST", body=body)
            )
            assert (await client.response()).status == 201
        await client.send(get("/api/routes", f"Authorization: token {proxy.secret}"))
        table = (await client.response()).json()
    assert {f"/many/{n}" for n in range(50)} <= set(table)
    for n in range(50):
        assert (await proxy.api("DELETE", f"/many/{n}")).status == 204


@pytest.mark.parametrize("secret", ["", "wrong"])
async def test_routes_are_for_those_with_the_secret(proxy: Proxy, site: str, secret: str):
    for method in ("GET", "POST", "DELETE"):
        body = {"target": "http://127.0.0.1:1"} if method == "POST" else None
        assert (await proxy.api(method, site, body, secret=secret)).status == 403
    assert (await proxy.api("GET", site)).status == 200


async def test_an_upstream_that_closes_at_once_is_an_error_and_not_a_wait(proxy: Proxy):
    """The close may come before the proxy has got as far as to use the connection."""

    async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(slam, "127.0.0.1", 0)
    async with server:
        path = f"/slam-{server.sockets[0].getsockname()[1]}"
        await proxy.add(path, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        answers = await asyncio.gather(*(ask(proxy, get(path)) for _ in range(50)))
        assert {answer.status for answer in answers} == {503}
