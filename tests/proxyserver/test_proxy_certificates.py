"""Which certificate a client sees: by the name it asks for, and as the files are now."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from pki import make_pair
from proxy_process import LIMIT_S, Client, Proxy, Upstream, get, soon

from jupyterhub.proxyserver.options import UsageError, read_settings
from jupyterhub.proxyserver.tls import LOOK_S, public_tls


def issuer(der: bytes) -> str:
    return str(x509.load_der_x509_certificate(der).issuer.rfc4514_string())


def shake_hands(port: int, name: str | None = None, **limits: object) -> ssl.SSLSocket:
    """Give a connection that has been made by somebody who trusts everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    for limit, value in limits.items():
        setattr(context, limit, value)
    with socket.create_connection(("127.0.0.1", port), LIMIT_S) as sock:
        return context.wrap_socket(sock, server_hostname=name)


def shown(port: int, name: str | None = None) -> str:
    """Give who has signed the certificate that is shown to a client that asks for this name."""
    with shake_hands(port, name) as connection:
        return issuer(connection.getpeercert(binary_form=True) or b"")


class Pairs:
    """Certificate and key files, which can be written anew."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def new(self, prefix: str, *names: str) -> list[str]:
        _, key, cert = make_pair(self.directory, prefix, names or ("localhost",))
        return ["--ssl-key", key, "--ssl-cert", cert]

    def renew(self, flags: list[str], prefix: str) -> None:
        """Put others in the place of the files, as certbot does: a rename for each."""
        _, key, cert = make_pair(self.directory, prefix)
        os.replace(key, flags[1])
        os.replace(cert, flags[3])


@pytest.fixture
def pairs(tmp_path: Path) -> Pairs:
    return Pairs(tmp_path)


async def sees(port: int, name: str | None, wanted: str) -> None:
    await soon(lambda: shown(port, name) == f"CN={wanted} ca")


def test_clients_get_the_certificate_of_the_name_they_ask_for(pairs: Pairs):
    main = pairs.new("main")
    other = pairs.new("other", "Other.Example", "*.wild.example")
    with Proxy(*main, "--ssl-sni", other[3], other[1]) as proxy:
        asked = ["other.example", "OTHER.example", "a.wild.example", "a.b.wild.example", "wild.example", "main.example"]
        got = {name: shown(proxy.port, name) for name in (*asked, None)}
    assert got == {
        "other.example": "CN=other ca",
        "OTHER.example": "CN=other ca",
        "a.wild.example": "CN=other ca",
        "a.b.wild.example": "CN=main ca",
        "wild.example": "CN=main ca",
        "main.example": "CN=main ca",
        None: "CN=main ca",
    }


def test_what_is_agreed_on_is_modern(pairs: Pairs):
    with Proxy(*pairs.new("main")) as proxy:
        with shake_hands(proxy.port) as connection:
            assert (connection.version(), connection.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")
        with shake_hands(proxy.port, maximum_version=ssl.TLSVersion.TLSv1_2) as connection:
            cipher = connection.cipher()
            assert cipher is not None and cipher[0].startswith("ECDHE-") and "GCM" in cipher[0]
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ECDHE-ECDSA-AES128-SHA256")
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with socket.create_connection(("127.0.0.1", proxy.port), LIMIT_S) as sock, pytest.raises(ssl.SSLError):
            old.wrap_socket(sock)


def test_a_session_is_resumed_although_the_certificate_is_chosen_late(pairs: Pairs):
    with Proxy(*pairs.new("main")) as proxy:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # 1.3 sends its tickets only with data
        with socket.create_connection(("127.0.0.1", proxy.port), LIMIT_S) as sock, context.wrap_socket(sock) as first:
            session = first.session
        with (
            socket.create_connection(("127.0.0.1", proxy.port), LIMIT_S) as sock,
            context.wrap_socket(sock, session=session) as second,
        ):
            assert second.session_reused


async def test_files_that_change_are_noticed_and_connections_go_on(pairs: Pairs):
    flags = pairs.new("old")
    async with Upstream() as upstream:
        with Proxy(*flags, "--default-target", upstream.url) as proxy:
            trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
            async with Client(proxy.port, ssl=trusting) as client:
                await client.send(get("/before"))
                assert (await client.response()).status == 200
                pairs.renew(flags, "new")
                await sees(proxy.port, None, "new")
                await client.send(get("/after"))
                assert (await client.response()).status == 200
    assert LOOK_S < LIMIT_S


async def test_sighup_reaches_all_workers(pairs: Pairs):
    main = pairs.new("main")
    other = pairs.new("other", "other.example")
    with Proxy(*main, "--ssl-sni", other[3], other[1], "--workers", "2") as proxy:
        pairs.renew(main, "main2")
        os.kill(proxy.process.pid, signal.SIGHUP)
        await soon(lambda: sum("certificates loaded" in line for line in proxy.log) == 3)
        # the kernel spreads connections over the workers
        assert {shown(proxy.port) for _ in range(20)} == {"CN=main2 ca"}
        assert shown(proxy.port, "other.example") == "CN=other ca"
        assert proxy.process.poll() is None


async def test_a_broken_file_changes_nothing_and_is_spoken_of(pairs: Pairs):
    flags = pairs.new("good")
    with Proxy(*flags) as proxy:
        Path(flags[3]).write_text("-----BEGIN CERTIFICATE-----\nnot much\n")
        os.kill(proxy.process.pid, signal.SIGHUP)
        proxy.wait_for_log(r"error: certificates cannot be loaded, those in use stay: --ssl-key, --ssl-cert: ")
        assert shown(proxy.port) == "CN=good ca"
        pairs.renew(flags, "mended")
        await sees(proxy.port, None, "mended")


async def test_a_key_of_another_certificate_changes_nothing(pairs: Pairs):
    flags = pairs.new("good")
    with Proxy(*flags) as proxy:
        os.replace(pairs.new("stranger")[1], flags[1])
        os.kill(proxy.process.pid, signal.SIGHUP)
        proxy.wait_for_log("those in use stay: .*KEY_VALUES_MISMATCH")
        assert shown(proxy.port) == "CN=good ca"


async def test_hsts_is_said_with_every_answer_and_once(pairs: Pairs):
    async def own_idea(request) -> None:
        await request.reply(
            b"HTTP/1.1 200 OK\r\nstrict-transport-security: max-age=1\r\nContent-Length: 0\r\nX-Kept: 1\r\n\r\n"
        )

    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    flags = [*pairs.new("main"), "--hsts", "31536000", "--hsts-subdomains", "--redirect-port", "0"]
    async with Upstream(script=own_idea) as upstream:
        with Proxy(*flags) as proxy:
            await proxy.add("/up", upstream.url)
            for request, status in ((get("/up"), 200), (get("/nowhere"), 404), (b"x y z\r\n\r\n", 400)):
                async with Client(proxy.port, ssl=trusting) as client:
                    await client.send(request)
                    answer = await client.response()
                said = [value for name, value in answer.fields if name == "strict-transport-security"]
                assert (answer.status, said) == (status, ["max-age=31536000; includeSubDomains"])
                assert status != 200 or answer["x-kept"] == "1"
            # … but never in clear (RFC 6797 §7.2)
            port = int(proxy.wait_for_log(r"redirection from \S+:(\d+)")[1])
            async with Client(port) as client:
                await client.send(get("/"))
                answer = await client.response()
                assert (answer.status, answer["strict-transport-security"]) == (301, None)


def test_flags_that_need_certificates_say_so():
    for flags, problem in (
        (["--ssl-sni", "/cert", "/key"], "--ssl-sni needs"),
        (["--hsts", "1"], "plain HTTP"),
        (["--hsts-subdomains"], "needs --hsts"),
    ):
        with pytest.raises(UsageError, match=problem):
            read_settings(flags, {})


def test_a_certificate_without_names_cannot_be_chosen_by_name(pairs: Pairs):
    main = pairs.new("main")
    assert public_tls(read_settings(main, {})) is not None
    _, key, cert = make_pair(pairs.directory, "nameless", ())
    with pytest.raises(UsageError, match=r"--ssl-sni \S+: the certificate is for no DNS name"):
        public_tls(read_settings([*main, "--ssl-sni", cert, key], {}))


async def test_without_certificates_sighup_ends_the_proxy_as_ever():
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, by those who are started too
    try:
        with Proxy() as proxy:
            os.kill(proxy.process.pid, signal.SIGHUP)
            assert await asyncio.to_thread(proxy.process.wait, LIMIT_S) == -signal.SIGHUP
    finally:
        signal.signal(signal.SIGHUP, before)
