"""Certificates by ACME, end to end: Pebble is the authority, which looks at the proxy as Let's Encrypt would."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pki import make_pair
from proxy_process import LIMIT_S, Client, Proxy, Upstream, get, soon
from test_proxy_certificates import shown

from jupyterhub.proxyserver.certificates import Acme, write
from jupyterhub.proxyserver.options import UsageError, read_settings

NAME = "localhost"
#: who signs what nobody has certified yet
NOBODY = "OU=not certified yet"


@pytest.fixture(scope="module")
def pebble_program() -> str:
    found = shutil.which("pebble")
    if found is None:
        pytest.skip("no pebble: apt-get install pebble")
    return found


class Authority:
    """Pebble, on an address that is known before it starts; it validates at the ports that it is told."""

    def __init__(self, program: str, directory: Path) -> None:
        self._program = program
        self._directory = directory
        self.ca, self._key, self._cert = make_pair(directory, "pebble")
        # It cannot tell which ports the kernel gave it.
        with socket.socket() as a, socket.socket() as b:
            a.bind(("127.0.0.1", 0))
            b.bind(("127.0.0.1", 0))
            self._ports = a.getsockname()[1], b.getsockname()[1]
        self.url = f"https://localhost:{self._ports[0]}/dir"

    @contextlib.contextmanager
    def running(self, *, http_port: int = 1, tls_port: int = 1, life_s: int = 90 * 86400) -> Iterator[None]:
        settings = {
            "listenAddress": f"127.0.0.1:{self._ports[0]}",
            "managementListenAddress": f"127.0.0.1:{self._ports[1]}",
            "certificate": self._cert,
            "privateKey": self._key,
            "httpPort": http_port,
            "tlsPort": tls_port,
            "certificateValidityPeriod": life_s,
        }
        file = self._directory / "pebble.json"
        file.write_text(json.dumps({"pebble": settings}))
        with (self._directory / "pebble.log").open("ab") as log:
            # It refuses a quarter of all nonces, as real ones may.
            environment = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "25"}
            process = subprocess.Popen(
                [self._program, "-config", str(file)], env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            yield
        finally:
            process.terminate()
            process.wait(LIMIT_S)

    def ca_of_certificates(self) -> str:
        """Give the authority's root, which is another one each time it starts."""
        trusting = ssl.create_default_context(cafile=self.ca)
        with urllib.request.urlopen(f"https://localhost:{self._ports[1]}/roots/0", context=trusting) as answer:
            return str(answer.read().decode())

    async def answers(self) -> None:
        def is_there() -> bool:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self._ports[0]), 1).close()
                return True
            return False

        await soon(is_there)


@pytest.fixture
def authority(pebble_program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    made = Authority(pebble_program, tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", made.ca)  # by which private authorities are trusted
    return made


def flags_for(authority: Authority, *more: str) -> list[str]:
    directory = str(authority._directory / "acme")
    return [
        "--acme-name",
        NAME,
        "--acme-directory",
        directory,
        "--acme-url",
        authority.url,
        "--acme-accept-terms",
        *more,
    ]


def files_of(authority: Authority) -> Acme:
    acme = read_settings(flags_for(authority), {}).acme
    assert acme is not None
    return acme


async def test_tls_alpn_01_gives_every_worker_a_certificate(authority: Authority):
    async with Upstream() as upstream:
        with Proxy(*flags_for(authority), "--workers", "2", "--default-target", upstream.url) as proxy:
            # The authority is not there yet: it is said, it will be tried again, and the proxy serves.
            proxy.wait_for_log(r"error: no certificate by ACME, next attempt in \d+ s: .*refused")
            assert shown(proxy.port, NAME) == NOBODY
            with authority.running(tls_port=proxy.port):
                await authority.answers()
                os.kill(proxy.process.pid, signal.SIGHUP)
                proxy.wait_for_log("a certificate for localhost was fetched")
                await soon(lambda: all("Pebble" in shown(proxy.port, NAME) for _ in range(12)))
                trusting = ssl.create_default_context(cadata=authority.ca_of_certificates())
                with socket.create_connection(("127.0.0.1", proxy.port), LIMIT_S) as sock:
                    trusting.wrap_socket(sock, server_hostname=NAME).close()
            acme = files_of(authority)
            for path in acme.directory.rglob("*"):
                assert not stat.S_IMODE(path.stat().st_mode) & 0o077 or path.name == "lock"
            assert stat.S_IMODE(acme.directory.stat().st_mode) == 0o700
            assert list(acme.offers.iterdir()) == []
            assert acme.due_at() > datetime.now(UTC) + timedelta(days=5)


async def test_http_01_renews_what_is_about_to_end_and_connections_go_on(authority: Authority):
    acme = files_of(authority)
    acme.prepare()
    _, key, cert = make_pair(authority._directory, "old", lives=(timedelta(days=-80), timedelta(days=10)))
    write(acme.certificate, Path(key).read_bytes() + Path(cert).read_bytes())
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    async with Upstream() as upstream:
        with Proxy(*flags_for(authority), "--redirect-port", "0", "--default-target", upstream.url) as proxy:
            proxy.wait_for_log("no certificate by ACME")
            assert shown(proxy.port, NAME) == "CN=old ca"
            port = int(proxy.wait_for_log(r"redirection from \S+:(\d+)")[1])
            async with Client(proxy.port, ssl=trusting) as client:
                await client.send(get("/before"))
                assert (await client.response()).status == 200
                with authority.running(http_port=port):
                    await authority.answers()
                    os.kill(proxy.process.pid, signal.SIGHUP)
                    proxy.wait_for_log("a certificate for localhost was fetched")
                    await soon(lambda: "Pebble" in shown(proxy.port, NAME))
                await client.send(get("/after"))
                assert (await client.response()).status == 200
            # An authority that has forgotten the account gets another one; here, because the certificate is gone.
            known = acme.account.read_text()
            write(acme.certificate, Path(key).read_bytes() + Path(cert).read_bytes())
            proxy.log.clear()
            with authority.running(http_port=port):
                await authority.answers()
                os.kill(proxy.process.pid, signal.SIGHUP)
                proxy.wait_for_log("a certificate for localhost was fetched")
            assert acme.account.read_text() != known


async def test_a_certificate_that_is_due_at_once_is_used_and_does_not_make_us_ask_for_ever(authority: Authority):
    with Proxy(*flags_for(authority)) as proxy, authority.running(tls_port=proxy.port, life_s=1):
        await authority.answers()
        os.kill(proxy.process.pid, signal.SIGHUP)
        proxy.wait_for_log(r"no certificate by ACME, next attempt in \d+ s: what was fetched is due already")
        await soon(lambda: "Pebble" in shown(proxy.port, NAME))


def test_names_that_the_authority_adds_make_no_certificate_due(tmp_path: Path):
    _, key, cert = make_pair(tmp_path, "more", names=("hub.example", "www.hub.example"))
    for wanted, is_due in (("hub.example",), False), (("hub.example", "other.example"), True):
        acme = Acme(directory_url="https://x", names=wanted, email="", challenge="http-01", root=str(tmp_path))
        acme.prepare()
        write(acme.certificate, Path(key).read_bytes() + Path(cert).read_bytes())
        assert (acme.due_at() <= datetime.now(UTC)) is is_due


async def test_what_the_authority_says_when_it_cannot_reach_us_is_in_the_log(authority: Authority):
    with authority.running(http_port=1):
        await authority.answers()
        with Proxy(*flags_for(authority), "--redirect-port", "0") as proxy:
            proxy.wait_for_log(r"no certificate by ACME, next attempt in \d+ s: localhost: .*refused")
            assert shown(proxy.port, NAME) == NOBODY
            port = int(proxy.wait_for_log(r"redirection from \S+:(\d+)")[1])
            for path in ("nothing", "..%2faccount.json", "../account.json"):
                async with Client(port) as client:
                    await client.send(get(f"/.well-known/acme-challenge/{path}"))
                    assert (await client.response()).status in (301, 400)


def test_flags_say_what_is_missing(tmp_path: Path):
    name = ["--acme-name", "hub.example"]
    kept = [*name, "--acme-directory", str(tmp_path)]
    agreed = [*kept, "--acme-accept-terms"]
    for flags, problem in (
        (name, "--acme-directory"),
        (kept, "--acme-accept-terms"),
        (["--acme-accept-terms"], "needs --acme-name"),
        ([*agreed, "--acme-url", "http://x"], "https"),
        ([*agreed, "--acme-challenge", "http-01"], "--redirect-port"),
        ([*agreed, "--acme-challenge", "dns-01"], "invalid choice"),
        ([*agreed, "--ssl-key", "/k", "--ssl-cert", "/c"], "one of both"),
        (["--acme-name", "*.example"], "no wildcard"),
        (["--acme-name", "../x"], "name of a host"),
    ):
        with pytest.raises(UsageError, match=problem):
            read_settings(flags, {})
    settings = read_settings([*agreed, "--redirect-port", "80"], {})
    assert settings.acme is not None and settings.acme.challenge == "http-01"
    assert Acme.from_json(settings.acme.as_json()) == settings.acme
