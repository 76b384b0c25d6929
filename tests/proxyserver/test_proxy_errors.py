"""Errors of the proxy's own and the pages for them, and time limits; each with a proxy of its own command line."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import sys
from collections.abc import Iterator

import pytest
from proxy_process import Client, Proxy, Received, Upstream, ask, get, replies, soon

UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: x")


@contextlib.contextmanager
def nobodys_url() -> Iterator[str]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture(scope="module")
def quick() -> Iterator[Proxy]:
    """Short time limits."""
    with Proxy("--proxy-timeout", "200", "--keep-alive-timeout", "100") as running:
        yield running


async def silence(request: Received) -> None:
    await request.reader.read()


# -- own pages
async def test_without_a_route_the_answer_is_404_and_the_connection_goes_on(proxy: Proxy):
    async with Client(proxy.port) as client:
        for method in ("GET", "HEAD", "GET"):
            await client.send(get("/nowhere", method=method))
            answer = await client.response(method)
            assert answer.status == 404 and answer["content-type"] == "text/html; charset=utf-8"


async def test_who_waits_for_100_continue_is_told_at_once_that_there_is_no_route(proxy: Proxy):
    async with Client(proxy.port) as client:
        await client.send(get("/nowhere", "Expect: 100-continue", "Content-Length: 4", method="POST"))
        answer = await client.response()
        assert (answer.status, answer["connection"]) == (404, "close")
        assert await client.until_eof() == b""


async def test_an_upstream_that_is_not_there_is_503(proxy: Proxy):
    with nobodys_url() as url:
        await proxy.add("/dead", url)
        assert (await ask(proxy, get("/dead/x"))).status == 503
        answer = await ask(proxy, get("/dead/x", method="POST", body=b"abc"))
        assert answer.status == 503
        await proxy.add("/dead-unix", "http+unix://%2Fnone%2Fx.sock")
        assert (await ask(proxy, get("/dead-unix"))).status == 503


async def test_a_target_that_cannot_be_used_is_500(proxy: Proxy):
    await proxy.add("/bad", "nonsense")
    assert (await ask(proxy, get("/bad"))).status == 500


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (b"", 503),
        (b"HTTP/1.1 200", 503),
        (b"HTTP/1.1 200 OK\r\nContent-Le", 503),
        (b"nonsense\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000, 502),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 502),
    ],
)
async def test_an_upstream_that_answers_nothing_or_nonsense_is_its_own_fault(
    proxy: Proxy, site: str, upstream: Upstream, reply: bytes, status: int
):
    upstream.script = replies(reply, then_close=True)
    assert (await ask(proxy, get(site))).status == status


async def test_websocket_errors_are_a_bare_status(proxy: Proxy):
    with nobodys_url() as url:
        await proxy.add("/dead-ws", url)
        for path, status in (("/dead-ws", 503), ("/nowhere", 404)):
            async with Client(proxy.port) as client:
                await client.send(get(path, *UPGRADE))
                answer = await client.response()
                assert (answer.status, answer.body, answer["content-type"]) == (status, b"", None)
                assert await client.until_eof() == b""


async def test_the_health_check_needs_no_route(proxy: Proxy):
    answer = await ask(proxy, get("/_chp_healthz"))
    assert (answer.status, answer.body, answer["content-type"]) == (200, b'{"status":"OK"}', "application/json")


# -- pages from elsewhere
async def test_the_error_target_dresses_errors_without_seeing_the_client(upstream: Upstream):
    page = gzip.compress(b"a page")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/x\r\nContent-Encoding: gzip\r\nX-Hidden: 1\r\nSet-Cookie: a\r\n"
    upstream.script = replies(head + b"Content-Length: %d\r\n\r\n" % len(page) + page)
    with nobodys_url() as url, Proxy("--error-target", f"{upstream.url}/hub/error") as proxy:
        answer = await ask(proxy, get("/no/where?x=1&y=%20", "Cookie: secret=1"))
        assert (answer.status, answer.body) == (404, page)
        assert (answer["content-type"], answer["content-encoding"]) == ("text/x", "gzip")
        assert answer["set-cookie"] is None and answer["x-hidden"] is None
        assert upstream.received[0].path == "/hub/error/404?url=%2Fno%2Fwhere%3Fx%3D1%26y%3D%2520"
        assert upstream.received[0]["cookie"] is None

        await proxy.add("/dead", url)
        assert (await ask(proxy, get("/dead/y", method="POST", body=b"abc"))).status == 503
        assert upstream.received[1].path == "/hub/error/503?url=%2Fdead%2Fy"
        before = len(upstream.received)
        assert (await ask(proxy, get("/dead/ws", *UPGRADE))).body == b""
        assert len(upstream.received) == before


@pytest.mark.parametrize("reply", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx"])
async def test_without_a_page_from_the_error_target_the_answer_is_plain(upstream: Upstream, reply: bytes):
    upstream.script = replies(reply, then_close=True)
    with Proxy("--error-target", upstream.url) as proxy:
        answer = await ask(proxy, get("/nowhere"))
        assert (answer.status, answer.body, answer["content-type"]) == (404, b"Not Found", None)


async def test_pages_may_come_from_a_directory(tmp_path):
    (tmp_path / "404.html").write_text("four")
    with nobodys_url() as url, Proxy("--error-path", str(tmp_path)) as proxy:
        await proxy.add("/dead", url)
        assert (await ask(proxy, get("/x"))).body == b"four"
        assert b"503" in (await ask(proxy, get("/dead"))).body
        (tmp_path / "error.html").write_text("any")
        answer = await ask(proxy, get("/dead"))
        assert (answer.status, answer.body) == (503, b"any")


# -- time
async def test_an_upstream_that_accepts_and_never_answers_is_given_up(quick: Proxy, upstream: Upstream):
    upstream.script = silence
    await quick.add("/silent", upstream.url)
    assert (await ask(quick, get("/silent"))).status == 503
    upstream.script = replies(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx")
    async with Client(quick.port) as client:
        await client.send(get("/silent"))
        assert (await client.until_eof()).endswith(b"\r\n\r\nx")


async def test_idle_clients_are_closed_without_a_word(quick: Proxy, upstream: Upstream):
    await quick.add("/idle", upstream.url)
    async with Client(quick.port) as client:
        await client.send(get("/idle"))
        assert (await client.response()).status == 200
        assert await client.until_eof() == b""


async def test_a_client_on_which_nothing_moves_is_dropped(upstream: Upstream):
    upstream.script = silence
    with Proxy("--timeout", "200") as proxy:
        await proxy.add("/silent", upstream.url)
        async with Client(proxy.port) as client:
            await client.send(get("/silent"))
            assert await client.until_eof() == b""
        await asyncio.wait_for(upstream.ended.wait(), 10)


# -- the rest of the command line
async def test_flags_that_change_what_upstreams_see(upstream: Upstream):
    flags = ["--no-x-forward", "--no-include-prefix", "--change-origin", "--custom-header", "X-One: ours"]
    with Proxy(*flags, "--default-target", f"{upstream.url}/default") as proxy:
        await proxy.add("/a", f"{upstream.url}/inner?k=v")
        seen = (await ask(proxy, get("/a/x?y=1", "X-One: theirs"))).json()
        assert seen["line"] == "GET /inner/x?k=v&y=1 HTTP/1.1"
        assert seen["fields"] == [["host", f"127.0.0.1:{upstream.port}"], ["x-one", "ours"]]
        assert (await ask(proxy, get("/other"))).json()["line"] == "GET /default/other HTTP/1.1"
        assert (await proxy.api("GET")).json()["/"]["target"] == f"{upstream.url}/default"


async def test_redirects_to_the_target_lead_to_the_proxy_on_demand(upstream: Upstream):
    upstream.script = replies(f"HTTP/1.1 302 X\r\nLocation: {upstream.url}/x\r\nContent-Length: 0\r\n\r\n".encode())
    with Proxy("--auto-rewrite", "--protocol-rewrite", "https") as proxy:
        await proxy.add("/", upstream.url)
        assert (await ask(proxy, get("/")))["location"] == "https://pub.example:8000/x"


async def test_hosts_are_routed_on_demand(upstream: Upstream):
    with Proxy("--host-routing") as proxy:
        await proxy.add("/ada.example/user/ada", f"{upstream.url}/ada")
        await proxy.add("/", f"{upstream.url}/root")
        for host, path in (("ada.example:99", "/ada"), ("ADA.example", "/ada"), ("bob.example", "/root")):
            seen = (await ask(proxy, get("/user/ada/x", host=host))).json()
            assert seen["line"] == f"GET {path}/user/ada/x HTTP/1.1"
        assert (await proxy.api("GET")).json()["/ada.example/user/ada"]["host"] == "ada.example"


async def test_sockets_pid_file_metrics_and_the_end(tmp_path, upstream: Upstream):
    paths = {name: str(tmp_path / name) for name in ("public", "api", "metrics", "pid")}
    flags = ["--socket", paths["public"], "--api-socket", paths["api"], "--metrics-socket", paths["metrics"]]
    proxy = Proxy(*flags, "--pid-file", paths["pid"], "--default-target", upstream.url)
    with proxy:
        proxy.wait_for_log("Writing pid")
        assert (tmp_path / "pid").read_text() == str(proxy.process.pid)
        async with Client(paths["public"]) as client:
            await client.send(get("/x"))
            assert ["x-forwarded-for", "unknown"] in (await client.response()).json()["fields"]
        async with Client(paths["api"]) as client:
            await client.send(get("/api/routes", f"Authorization: token {proxy.secret}"))
            assert (await client.response()).status == 200
        async with Client(paths["metrics"]) as client:
            await client.send(get("/metrics"))
            lines = (await client.response()).body.decode().splitlines()
            assert {"requests_web 1", 'requests_proxy{status="200"} 1', "api_route_get 1"} <= set(lines)
            assert "find_target_for_req_count 1" in lines
            await client.send(get("/other"))
            assert (await client.response()).status == 404
        assert proxy.stop() == 2
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_is_said_in_one_line(proxy: Proxy):
    second = Proxy("--port", str(proxy.port))
    second.wait_for_log(f"^error: cannot listen on 127.0.0.1:{proxy.port}: Address already in use$")
    assert second.process.wait(10) == 1
    assert len([line for line in second.log if line]) == 1
    second.stop()


async def test_without_a_secret_the_api_is_open_and_says_so():
    with Proxy(secret="") as proxy:
        proxy.wait_for_log("REST API is not authenticated")
        assert (await proxy.api("GET")).status == 200


async def test_the_standard_event_loop_serves_too(upstream: Upstream):
    program = "import sys; sys.modules['uvloop'] = None; from jupyterhub.proxyserver.main import main; sys.exit(main())"
    ports = ["--ip", "127.0.0.1", "--port", "0", "--api-ip", "127.0.0.1", "--api-port", "0"]
    with Proxy(command=[sys.executable, "-c", program, *ports]) as proxy:
        await proxy.add("/", upstream.url)
        async with Client(proxy.port) as client:
            for _ in range(3):
                await client.send(get("/x", method="POST", body=b"abc"))
                assert (await client.response()).json()["body"] == "abc"
        await soon(lambda: upstream.received)
        assert proxy.stop() == 2
