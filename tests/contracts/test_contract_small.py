"""The small public modules: trait types, addresses, slugs, encryption, and what plugins import from ``utils``."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from cryptography.fernet import Fernet
from tornado.httputil import HTTPHeaders
from tornado.web import HTTPError
from traitlets import HasTraits, TraitError
from traitlets.config import Config, Configurable

from jupyterhub import crypto, traitlets, utils
from jupyterhub.auth import Authenticator, DummyAuthenticator, PAMAuthenticator
from jupyterhub.crypto import CryptKeeper, EncryptionUnavailable, NoEncryptionKeys
from jupyterhub.objects import Hub, Server
from jupyterhub.slugs import is_valid_display_name, is_valid_safe_slug, normalise_unicode, safe_slug
from jupyterhub.traitlets import Callable, Command, EntryPointType, URLPrefix

# -- trait types


class Things(Configurable):
    prefix = URLPrefix(help="x").tag(config=True)
    command = Command("one word", help="x").tag(config=True)
    called = Callable(allow_none=True, help="x").tag(config=True)
    plugin = EntryPointType(
        DummyAuthenticator, klass=Authenticator, entry_point_group="jupyterhub.authenticators", help="Who logs in."
    ).tag(config=True)


@pytest.mark.parametrize(("given", "taken"), [("x", "/x/"), ("/", "/"), ("/a/b", "/a/b/"), ("", "/")])
def test_a_prefix_begins_and_ends_with_a_slash(given, taken):
    assert Things(prefix=given).prefix == taken


def test_a_command_is_a_list_of_words():
    assert Things().command == ["one word"]
    assert Things(command="ls").command == ["ls"]
    assert Things(command=["ls", "-l"]).command == ["ls", "-l"]
    with pytest.raises(TraitError):
        Things(command=[])


def test_only_what_can_be_called_is_callable():
    assert Things(called=len).called is len
    with pytest.raises(TraitError):
        Things(called="len")


@pytest.mark.parametrize("name", ["PAM", "pam", "jupyterhub.auth.PAMAuthenticator", PAMAuthenticator])
def test_a_plugin_is_found_by_name_in_any_case_by_path_or_is_itself(name):
    assert Things(config=Config({"Things": {"plugin": name}})).plugin is PAMAuthenticator


@pytest.mark.parametrize("name", ["no-such-plugin", "jupyterhub.spawner.LocalProcessSpawner", "no.such.module"])
def test_what_is_no_plugin_of_the_kind_is_an_error(name):
    with pytest.raises(TraitError, match="plugin"):
        Things(plugin=name)


def test_plugins_that_cannot_be_imported_are_left_out_of_the_help(monkeypatch):
    points = [EntryPoint("Good", "jupyterhub.auth:PAMAuthenticator", "g"), EntryPoint("bad", "no.such:thing", "g")]
    monkeypatch.setattr(traitlets, "_installed", lambda group: points)
    trait = Things.class_traits()["plugin"]
    assert set(trait.load_classes()) == {"good"}
    assert "bad" in trait.describe() and trait.describe().startswith("Who logs in.")


# -- addresses


def test_a_server_is_reached_where_it_listens():
    server = Server.from_url("http://10.0.0.7:8888/user/ada/")
    assert (server.proto, server.ip, server.port, server.base_url) == ("http", "10.0.0.7", 8888, "/user/ada/")
    assert server.host == "http://10.0.0.7:8888" and server.url == "http://10.0.0.7:8888/user/ada/"
    server.port = 9999
    assert server.bind_url == "http://10.0.0.7:9999/user/ada/"


@pytest.mark.parametrize(("url", "port"), [("https://hub.org/", 443), ("http://hub.org/", 80)])
def test_ports_that_go_without_saying(url, port):
    assert Server.from_url(url).port == port


def test_ipv6_is_in_brackets():
    assert Server(ip="fe80::1", port=1).host == "http://[fe80::1]:1"


def test_what_listens_everywhere_is_reached_by_the_name_of_the_machine(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "here")
    assert Server(ip="", port=80).host == Server(ip="0.0.0.0", port=80).host == "http://here:80"
    assert Server(ip="", port=80, connect_ip="10.1.1.1", connect_port=81).host == "http://10.1.1.1:81"


def test_the_hub_knows_its_api():
    hub = Hub(bind_url="http://127.0.0.1:8081/x/hub/")
    assert hub.api_url == "http://127.0.0.1:8081/x/hub/api" and hub.base_url == "/x/hub/"
    hub.connect_url = "http://hub.internal:80"
    assert hub.api_url == "http://hub.internal:80/x/hub/api" and hub.host == "http://hub.internal:80"
    with pytest.warns(DeprecationWarning, match="own server"):
        assert hub.server is hub


def test_no_port_is_given_twice():
    given = [utils.random_port() for _ in range(2000)]
    assert len(set(given)) == len(given)


async def test_waiting_for_a_server_ends_when_it_listens():
    server = Server(ip="127.0.0.1", port=utils.random_port())
    assert not server.is_up()
    with pytest.raises(TimeoutError, match=str(server.port)):
        await server.wait_up(timeout=0.1)
    waiting = asyncio.create_task(server.wait_up(timeout=10))
    listening = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", server.port)
    await waiting
    assert server.is_up()
    listening.close()


@pytest.mark.parametrize(("answer", "up"), [("404 Not Found", True), ("302 Found", True), ("503 Busy", False)])
async def test_any_answer_below_500_is_an_answer(answer, up):
    async def serve(reader: Any, writer: Any) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\nLocation: /x\r\nConnection: close\r\n\r\n".encode())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        server = Server(ip="127.0.0.1", port=listening.sockets[0].getsockname()[1])
        if up:
            assert (await server.wait_up(timeout=5, http=True)).code == int(answer[:3])
        else:
            with pytest.raises(TimeoutError):
                await server.wait_up(timeout=0.2, http=True)


# -- slugs


@pytest.mark.parametrize("name", ["Big GPU", "a--b", "", "1st", "é" * 300, "x" * 31, "-", "ends-"])
def test_every_name_has_a_valid_slug_of_its_own(name):
    assert not is_valid_safe_slug(name)
    assert is_valid_safe_slug(safe_slug(name))
    assert safe_slug(name) != safe_slug(name + "x")


def test_a_valid_name_is_its_own_slug():
    assert safe_slug("gpu-2") == "gpu-2"


def test_labels_are_normalised_and_checked():
    assert normalise_unicode("e\u0301") == "\u00e9"
    assert is_valid_display_name("My server é") and not is_valid_display_name(" x")


# -- encryption

RAW, OTHER = bytes(range(32)), bytes(range(1, 33))


@pytest.fixture
def _no_keeper(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("JUPYTERHUB_CRYPT_KEY", raising=False)
    CryptKeeper.clear_instance()
    yield
    CryptKeeper.clear_instance()


@pytest.mark.parametrize("written", [RAW, RAW.hex(), RAW.hex().encode(), base64.b64encode(RAW).decode()])
def test_keys_are_raw_or_hex_or_base64(written):
    assert CryptKeeper(keys=[written]).keys == [RAW]


def test_keys_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_CRYPT_KEY", f"{RAW.hex()};{base64.urlsafe_b64encode(OTHER).decode()}")
    assert CryptKeeper().keys == [RAW, OTHER]


def test_a_wrong_key_is_an_error_that_does_not_show_it():
    with pytest.raises((ValueError, TraitError)) as caught:
        CryptKeeper(keys=["zz" * 32])
    assert "zzzz" not in str(caught.value) and "openssl" in str(caught.value)


async def test_what_is_encrypted_can_be_read_by_the_original_and_the_other_way_round():
    keeper, theirs = CryptKeeper(keys=[RAW]), Fernet(base64.urlsafe_b64encode(RAW))
    assert theirs.decrypt(await keeper.encrypt({"a": [1]})) == b'{"a": [1]}'
    assert await keeper.decrypt(theirs.encrypt(b'{"b":2}')) == {"b": 2}


async def test_the_first_key_encrypts_and_all_decrypt():
    old = await CryptKeeper(keys=[OTHER]).encrypt("x")
    keeper = CryptKeeper(keys=[RAW, OTHER])
    assert await keeper.decrypt(old) == "x"
    assert await CryptKeeper(keys=[RAW]).decrypt(await keeper.encrypt("y")) == "y"
    with pytest.raises(crypto.InvalidToken):
        await CryptKeeper(keys=[RAW]).decrypt(old)


@pytest.mark.usefixtures("_no_keeper")
async def test_without_keys_nothing_is_encrypted():
    with pytest.raises(NoEncryptionKeys, match="JUPYTERHUB_CRYPT_KEY"):
        await crypto.encrypt({})
    with pytest.raises(EncryptionUnavailable):
        CryptKeeper.instance().check_available()
    CryptKeeper.instance().keys = [RAW]
    assert await crypto.decrypt(await crypto.encrypt({"a": 1})) == {"a": 1}


def test_nobody_pays_for_what_is_not_used():
    """Importing the contracts loads no database, no encryption, no PAM."""
    heavy = ("sqlalchemy", "cryptography", "pamela", "alembic", "aiohttp", "jinja2", "idna", "oauthlib")
    script = (
        "import sys, jupyterhub.auth, jupyterhub.authenticators.shared, jupyterhub.spawner, jupyterhub.crypto; "
        f"import jupyterhub.proxies.builtin, jupyterhub.slugs; print([m for m in {heavy} if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


# -- utils


async def test_maybe_future_awaits_what_can_be_awaited():
    async def later() -> int:
        return 1

    assert await utils.maybe_future(later()) == 1 and await utils.maybe_future(2) == 2


async def test_backoff_ends_with_success_or_with_the_message():
    left = iter([False, None, "yes"])
    assert await utils.exponential_backoff(lambda: next(left), "no", start_wait=0.001) == "yes"
    with pytest.raises(TimeoutError, match="never came"):
        await utils.exponential_backoff(lambda x: False, "never came", 0.001, 2, 0.01, 0.05, 0.1, "an argument")


async def test_iterate_until_gives_what_is_ready_at_the_deadline():
    async def count() -> Any:
        for number in range(3):
            yield number
        await asyncio.sleep(3600)

    deadline = asyncio.get_running_loop().create_future()
    deadline.set_result(None)
    assert [number async for number in utils.iterate_until(deadline, count())] == [0, 1, 2]


async def test_a_shielded_wait_leaves_the_work_alone():
    work = asyncio.create_task(asyncio.sleep(0.05, "done"))
    with pytest.raises(utils.AnyTimeoutError):
        await utils.wait_for_shielded(work, 0.001)
    assert await work == "done"


class Request:
    def __init__(self, **headers: str) -> None:
        self.headers = HTTPHeaders({name.replace("_", "-"): value for name, value in headers.items()})
        self.protocol = "http"


@pytest.mark.parametrize(
    ("headers", "protocol"),
    [
        ({}, "http"),
        ({"X_Forwarded_Proto": "https, http"}, "https"),
        ({"X_Scheme": "https", "X_Forwarded_Proto": "http"}, "https"),
        ({"Forwarded": 'for=1.2.3.4;proto="https", proto=http', "X_Scheme": "http"}, "https"),
        ({"Forwarded": "for=1.2.3.4"}, "http"),
    ],
)
def test_the_browsers_protocol_is_what_the_first_proxy_says(headers, protocol):
    assert utils.get_browser_protocol(Request(**headers)) == protocol  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("accept", "choices", "best"),
    [
        ("text/html;q=0.5, application/json", None, "application/json"),
        ("*/*", ["text/html"], "text/html"),
        ("application/json, */*;q=0.1", ["text/html", "application/json"], "application/json"),
        ("text/*", ["image/png", "text/plain"], "text/plain"),
        ("image/png", ["text/html"], None),
        ("", ["text/html"], None),
    ],
)
def test_the_best_type_is_found_in_an_accept_header(accept, choices, best):
    assert utils.get_accepted_mimetype(accept, choices) == best


@pytest.mark.parametrize(
    ("name", "kind", "host"),
    [
        ("ada", "user", "ada.hub.org"),
        ("al_ice", "user", "u-alice--ca26273.hub.org"),
        ("zo\u00e9", "user", "xn--zo-cja.hub.org"),
        ("grader", "service", "grader--service.hub.org"),
    ],
)
def test_subdomains_are_readable_labels(name, kind, host):
    assert utils.subdomain_hook_idna(name, "hub.org", kind) == host


@pytest.mark.parametrize("name", ["a--b", "xn--zo-cja", "123", "x" * 64, "Ada", "grader--service", "-a", "a.b", "é--b"])
def test_names_that_could_be_taken_for_others_get_a_hash(name):
    label = utils.subdomain_hook_idna(name, "hub.org", "user").removesuffix(".hub.org")
    assert label != name and label.startswith("u-") and "." not in label


def test_old_subdomains_escape_with_underscores():
    assert utils.subdomain_hook_legacy("al_ice", "hub.org", "user") == "al_5fice.hub.org"
    assert utils.subdomain_hook_legacy("x", "hub.org", "service") == "services.hub.org"


def test_hashed_tokens_match_their_token_only():
    hashed = utils.hash_token("secret")
    assert utils.compare_token(hashed, "secret") and not utils.compare_token(hashed, "Secret")
    assert hashed.startswith("sha512:16384:") and len(hashed.split(":")[2]) == 16


def test_merging_goes_inside_and_none_removes():
    target = {"a": {"x": 1, "y": 2}, "b": 1}
    utils.recursive_update(target, {"a": {"x": None, "z": 3}, "b": None, "c": {"d": 4}})
    assert target == {"a": {"y": 2, "z": 3}, "c": {"d": 4}}


def test_what_people_typed_is_logged_short_and_on_one_line():
    assert utils.safe_log("a\nb") == "'a\\nb'"
    assert utils.safe_log("x" * 10**6) == "'" + "x" * 16 + "…'"


class Handler(HasTraits):
    current_user: Any = None

    @utils.authenticated_403
    def page(self, name: str) -> str:
        return name


def test_decorated_methods_refuse_who_is_not_logged_in():
    handler = Handler()
    with pytest.raises(HTTPError, match="403"):
        handler.page("x")
    handler.current_user = "ada"
    assert handler.page(name="x") == "x"


def test_an_ssl_context_needs_key_and_certificate():
    assert utils.make_ssl_context("", "") is None
