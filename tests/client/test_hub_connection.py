"""Reaching the hub: over sockets and TLS, patiently at the start, and with reports of activity."""

import asyncio
import datetime
import ipaddress
import logging
import ssl
from datetime import UTC

import pytest
from tornado import httpserver, netutil, web

from jupyterhub.client.activity import ActivityReporter
from jupyterhub.client.hub_connection import check_hub
from jupyterhub.client.hub_requests import HubUnreachable, TLSFiles, ask_hub

log = logging.getLogger("test")
NOWHERE = "http://127.0.0.1:1/hub/api"
NO_TLS = TLSFiles()


class Sleeper:
    """Remembers how long it should have slept, and may do something meanwhile."""

    def __init__(self, then=lambda: None):
        self.slept = []
        self.then = then

    async def __call__(self, seconds):
        self.slept.append(seconds)
        self.then()


# -- at the start
async def test_a_hub_that_is_not_there_is_tried_five_times(caplog):
    sleep = Sleeper()
    with pytest.raises(HubUnreachable, match=NOWHERE):
        await check_hub(NOWHERE, tls=NO_TLS, log=log, sleep=sleep)
    assert sleep.slept == [2, 4, 8, 16]


async def test_a_hub_that_comes_up_late_is_found(hub):
    hub.broken = 503
    sleep = Sleeper(then=lambda: setattr(hub, "broken", None))
    await check_hub(hub.api_url, tls=NO_TLS, log=log, sleep=sleep)
    assert sleep.slept == [2]


@pytest.mark.parametrize(("version", "warned"), [("6.0.0", False), ("6.1.100", False), ("5.4.5", True), ("", True)])
async def test_another_major_version_is_warned_of(hub, caplog, monkeypatch, version, warned):
    monkeypatch.setattr(hub, "version", version)
    await check_hub(hub.api_url, tls=NO_TLS, log=log)
    assert bool([r for r in caplog.records if r.levelno == logging.WARNING]) is warned


# -- ways to the hub
class Hello(web.RequestHandler):
    def get(self):
        self.write("hello")


async def test_a_hub_on_a_unix_socket(tmp_path):
    path = str(tmp_path / "hub socket")
    server = httpserver.HTTPServer(web.Application([("/hub/api", Hello)]))
    server.add_socket(netutil.bind_unix_socket(path))
    answer = await ask_hub("http+unix://" + path.replace("/", "%2F").replace(" ", "%20") + "/hub/api")
    server.stop()
    assert (answer.status, answer.body) == (200, b"hello")


async def test_redirects_are_not_followed_with_our_token():
    class Elsewhere(web.RequestHandler):
        def get(self):
            self.redirect("http://127.0.0.1:1/")

    [socket] = netutil.bind_sockets(0, "127.0.0.1")
    server = httpserver.HTTPServer(web.Application([(".*", Elsewhere)]))
    server.add_sockets([socket])
    answer = await ask_hub(f"http://127.0.0.1:{socket.getsockname()[1]}/", token="t")
    server.stop()
    assert answer.status == 302


@pytest.fixture
def certificate(tmp_path):
    """A key and a certificate that vouches for itself; no name in it is ours."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hub")])
    now = datetime.datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("10.9.8.7"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    keyfile, certfile = tmp_path / "hub.key", tmp_path / "hub.crt"
    keyfile.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    certfile.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return str(keyfile), str(certfile)


async def test_internal_tls_needs_both_certificates(certificate):
    keyfile, certfile = certificate
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certfile)
    context.load_cert_chain(certfile, keyfile)
    context.verify_mode = ssl.CERT_REQUIRED
    # a client without a certificate is told so only after its own handshake in TLS 1.3
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    [socket] = netutil.bind_sockets(0, "127.0.0.1")
    server = httpserver.HTTPServer(web.Application([("/", Hello)]), ssl_options=context)
    server.add_sockets([socket])
    url = f"https://127.0.0.1:{socket.getsockname()[1]}/"
    answer = await ask_hub(url, tls=TLSFiles(keyfile=keyfile, certfile=certfile, client_ca=certfile))
    assert answer.status == 200
    with pytest.raises(HubUnreachable):
        await ask_hub(url, tls=TLSFiles(client_ca=certfile))
    with pytest.raises(HubUnreachable):
        await ask_hub(url)
    server.stop()


# -- activity
def reporter(hub, sleep=asyncio.sleep, **changes):
    given = {
        "url": f"{hub.api_url}/users/ada/activity",
        "token": "t",
        "server_name": "gpu",
        "interval_s": 300,
        "last_activity": lambda: datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "tls": NO_TLS,
        "log": log,
    }
    return ActivityReporter(sleep=sleep, **given | changes)


async def test_a_report_names_the_server(hub):
    await reporter(hub).report()
    when = "2026-01-02T03:04:05Z"
    assert hub.activity[-1] == ("ada", "t", {"servers": {"gpu": {"last_activity": when}}, "last_activity": when})


async def test_reports_go_on_with_some_jitter_until_cancelled(hub):
    before = len(hub.activity)

    class Stop(Exception):
        pass

    async def sleep(seconds, slept=[]):  # noqa: B006
        assert 270 <= seconds <= 330
        slept.append(seconds)
        if len(slept) == 3:
            assert len(set(slept)) == 3
            raise Stop

    with pytest.raises(Stop):
        await reporter(hub, sleep=sleep).run()
    assert len(hub.activity) == before + 3


async def test_a_refused_report_is_repeated_with_growing_pauses_for_a_minute(hub):
    hub.broken = 503
    sleep = Sleeper()
    one = reporter(hub, sleep=sleep)
    await one.report()
    assert sleep.slept == [1, 2, 4, 8, 15, 15, 15] and one.last_sent is None
    hub.broken = None
    await one.report()
    assert one.last_sent is not None


@pytest.mark.parametrize("changes", [{"url": ""}, {"interval_s": 0}])
async def test_without_an_address_or_an_interval_nothing_is_reported(hub, changes):
    before = len(hub.activity)
    await reporter(hub, **changes).run()
    assert len(hub.activity) == before
