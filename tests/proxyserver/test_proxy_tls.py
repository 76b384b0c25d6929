"""TLS on the public side, the REST API and towards upstreams, with certificates made here."""

from __future__ import annotations

import contextlib
import ssl

import pytest
from pki import Pki, make_pair
from proxy_process import LIMIT_S, Client, Proxy, Upstream, get
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    directory = tmp_path_factory.mktemp("pki")
    return Pki(*make_pair(directory, "good"), *make_pair(directory, "other"))


@pytest.fixture(scope="module")
def tls_proxy(pki: Pki):
    """Public side and API over TLS, as with internal TLS; upstreams are verified against our authority."""
    flags = ["--ssl-key", pki.key, "--ssl-cert", pki.cert, "--ssl-protocol", "TLSv1_2", "--redirect-port", "0"]
    flags += ["--redirect-to", "443", "--api-ssl-key", pki.key, "--api-ssl-cert", pki.cert, "--api-ssl-ca", pki.ca]
    flags += ["--api-ssl-request-cert", "--api-ssl-reject-unauthorized", "--client-ssl-key", pki.key]
    flags += ["--client-ssl-cert", pki.cert, "--client-ssl-ca", pki.ca, "--client-ssl-reject-unauthorized"]
    with Proxy(*flags) as running:
        yield running


async def add(proxy: Proxy, pki: Pki, path: str, target: str) -> int:
    async with Client(proxy.api_port, ssl=pki.client(cert=True)) as client:
        body = f'{{"target": "{target}"}}'.encode()
        await client.send(get(f"/api/routes{path}", f"Authorization: token {proxy.secret}", method="POST", body=body))
        return (await client.response()).status


async def test_https_clients_reach_an_https_upstream(tls_proxy: Proxy, pki: Pki):
    async with Upstream(ssl=pki.server()) as upstream:
        assert await add(tls_proxy, pki, "/tls", upstream.url) == 201
        async with Client(tls_proxy.port, ssl=pki.client()) as client:
            assert client.writer.get_extra_info("ssl_object").version() == "TLSv1.2"
            for n in range(3):
                await client.send(get(f"/tls/{n}", host="pub.example", method="POST", body=b"x" * 100_000))
                seen = (await client.response()).json()
                assert len(seen["body"]) == 100_000
        assert ["x-forwarded-proto", "https"] in seen["fields"] and ["x-forwarded-port", "443"] in seen["fields"]
        assert upstream.connections == 1


async def test_an_upstream_that_nobody_vouches_for_is_not_spoken_to(tls_proxy: Proxy, pki: Pki):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.other_cert, pki.other_key)
    async with Upstream(ssl=context) as upstream:
        await add(tls_proxy, pki, "/other", upstream.url)
        async with Client(tls_proxy.port, ssl=pki.client()) as client:
            await client.send(get("/other"))
            assert (await client.response()).status == 503
        assert upstream.received == []
        with Proxy("--insecure", "--default-target", upstream.url) as careless:
            async with Client(careless.port) as client:
                await client.send(get("/x"))
                assert (await client.response()).status == 200


async def test_the_api_speaks_only_to_those_with_a_certificate(tls_proxy: Proxy, pki: Pki):
    answer = b""
    with contextlib.suppress(ssl.SSLError, ConnectionError):  # in TLS 1.3 clients learn of it after their handshake
        async with Client(tls_proxy.api_port, ssl=pki.client()) as client:
            await client.send(get("/api/routes", f"Authorization: token {tls_proxy.secret}"))
            answer = await client.reader.read()
    assert answer == b""


async def test_websockets_pass_through_tls(tls_proxy: Proxy, pki: Pki):
    async def echo(socket) -> None:
        async for message in socket:
            await socket.send(message)

    async with serve(echo, "127.0.0.1", 0, ssl=pki.server(), max_size=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        await add(tls_proxy, pki, "/wss", f"https://127.0.0.1:{port}")
        url = f"wss://127.0.0.1:{tls_proxy.port}/wss"
        async with connect(url, ssl=pki.client(), max_size=None, open_timeout=LIMIT_S) as socket:
            await socket.send("x" * 1_000_000)
            assert await socket.recv() == "x" * 1_000_000


async def test_plain_http_on_the_tls_port_and_tls_on_a_plain_port_end_quickly(tls_proxy: Proxy, proxy: Proxy, pki: Pki):
    async with Client(tls_proxy.port) as client:
        await client.send(get("/"))
        assert b"200" not in await client.until_eof()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await Client(proxy.port, ssl=pki.client()).__aenter__()


async def test_http_is_redirected_to_https(tls_proxy: Proxy):
    port = int(tls_proxy.wait_for_log(r"redirection from \S+:(\d+)")[1])
    async with Client(port) as client:
        await client.send(get("/a/b?c=d", host="foo.example:80"))
        answer = await client.response()
        assert (answer.status, answer["location"]) == (301, "https://foo.example/a/b?c=d")
