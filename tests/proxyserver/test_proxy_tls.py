"""TLS on the public side, the REST API and towards upstreams, with certificates made here."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from proxy_process import LIMIT_S, Client, Proxy, Upstream, get
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve


@dataclass
class Pki:
    """An authority with one certificate for 127.0.0.1, and another authority that nobody should trust."""

    ca: str
    key: str
    cert: str
    other_ca: str
    other_key: str
    other_cert: str

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return context

    def client(self, *, cert: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca)
        if cert:
            context.load_cert_chain(self.cert, self.key)
        return context


def make_pair(directory: Path, prefix: str) -> tuple[str, str, str]:
    now = datetime.datetime.now(datetime.UTC)

    def certificate(name: str, key, issuer_name: str, issuer_key, *, is_ca: bool) -> x509.Certificate:
        def named(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named(issuer_name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        if not is_ca:
            names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(issuer_key, hashes.SHA256())

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    files = {name: directory / f"{prefix}-{name}.pem" for name in ("ca", "key", "cert")}
    pem = serialization.Encoding.PEM
    files["ca"].write_bytes(certificate(f"{prefix} ca", ca_key, f"{prefix} ca", ca_key, is_ca=True).public_bytes(pem))
    files["cert"].write_bytes(certificate("proxy", key, f"{prefix} ca", ca_key, is_ca=False).public_bytes(pem))
    files["key"].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return str(files["ca"]), str(files["key"]), str(files["cert"])


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
