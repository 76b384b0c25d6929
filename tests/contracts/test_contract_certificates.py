"""Certificates of ``internal_ssl`` on disk: layout, who trusts whom, renewal, authorities of others, the way back."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from certipy import Certipy
from contract_world import make_spawner
from cryptography import x509
from traitlets.config import Config

from jupyterhub import certificates
from jupyterhub.certificates import AUTHORITIES, STANDING_PAIRS, issue, name_of, prepare
from jupyterhub.spawner import SimpleLocalProcessSpawner
from jupyterhub.words.errors import ConfigurationError


def loaded(path: str | Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(Path(path).read_bytes())[0]


def names(path: str | Path) -> set[str]:
    found = loaded(path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(each.value) for each in found}


def shake_hands(server: tuple[str, str, str], client: tuple[str, str, str] | None, ask_for: str = "localhost") -> None:
    """A TLS handshake in memory, both sides with (key, cert, bundle); SSLError if either does not like the other."""
    listening = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=server[2])
    listening.verify_mode = ssl.CERT_REQUIRED
    listening.load_cert_chain(server[1], server[0])
    calling = ssl.create_default_context(cafile=client[2] if client else server[2])
    if client:
        calling.load_cert_chain(client[1], client[0])
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = calling.wrap_bio(to_client, to_server, server_hostname=ask_for)
    theirs = listening.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue


class World:
    """A directory of certificates, and who shows what."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.folder = folder
        self.made = prepare(folder, **options)  # type: ignore[arg-type]

    def standing(self, name: str) -> tuple[str, str, str]:
        files = self.made.pairs[name]["files"]
        return files["key"], files["cert"], self.made.trust_bundles[STANDING_PAIRS[name]]

    def server(self, name: str) -> tuple[str, str, str]:
        alt_names = ["DNS:localhost", "IP:127.0.0.1"]
        return *issue(self.folder, name, alt_names=alt_names), self.made.trust_bundles["notebooks-ca"]


def test_the_directory_is_as_the_original_has_it(tmp_path):
    World(tmp_path / "internal-ssl", hub_names=["DNS:hub.example"])
    found = {str(path.relative_to(tmp_path / "internal-ssl")) for path in tmp_path.rglob("*") if path.is_file()}
    pairs = [*AUTHORITIES, *STANDING_PAIRS]
    assert found == {
        "certipy.json",
        *(f"{name}_trust.crt" for name in AUTHORITIES),
        *(f"{name}/{name}.{kind}" for name in pairs for kind in ("key", "crt")),
    }
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert path.stat().st_mode & 0o777 == (0o600 if path.suffix == ".key" else 0o644), path
    hub = tmp_path / "internal-ssl/hub-internal/hub-internal.crt"
    assert names(hub) == {"127.0.0.1", "::1", "localhost", "hub.example"}
    records = json.loads((tmp_path / "internal-ssl/certipy.json").read_text())
    assert records["hub-internal"]["parent_ca"] == "hub-ca" and records["hub-ca"]["signees"] == {"hub-internal": 1}


def test_all_that_talk_to_each_other_trust_each_other_and_nobody_else(tmp_path):
    world = World(tmp_path)
    hub, api, proxy = map(world.standing, ("hub-internal", "proxy-api", "proxy-client"))
    ada, bob = world.server("user-ada"), world.server("user-bob")
    for server, client in [(hub, proxy), (hub, ada), (api, hub), (ada, hub), (ada, proxy)]:
        shake_hands(server, client)
    for server, client in [(ada, bob), (hub, None), (api, None), (ada, None)]:
        with pytest.raises(ssl.SSLError):
            shake_hands(server, client)
    with pytest.raises(ssl.SSLError, match="Hostname mismatch"):
        shake_hands(ada, hub, ask_for="elsewhere.example")


def test_a_second_start_changes_nothing(tmp_path):
    World(tmp_path)
    before = {path: path.stat() for path in tmp_path.rglob("*")}
    World(tmp_path)
    assert {path: path.stat() for path in tmp_path.rglob("*")} == before


def test_a_name_that_is_missing_is_added_with_the_same_authority(tmp_path):
    before = World(tmp_path)
    authority = loaded(tmp_path / "hub-ca/hub-ca.crt")
    after = World(tmp_path, hub_names=["DNS:hub.example", "IP:10.0.0.7"])
    assert {"hub.example", "10.0.0.7"} <= names(after.standing("hub-internal")[1])
    assert loaded(tmp_path / "hub-ca/hub-ca.crt") == authority
    shake_hands(after.standing("hub-internal"), before.server("user-ada"), ask_for="hub.example")


def test_what_ends_soon_is_renewed_and_what_runs_goes_on(tmp_path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patched:
        patched.setattr(certificates, "VALID_FOR", timedelta(days=300))
        before = World(tmp_path)
        running = before.server("user-ada")
    bundle = tmp_path / "bundle-in-the-memory-of-the-server.crt"
    bundle.write_bytes(Path(running[2]).read_bytes())
    after = World(tmp_path)
    for name in (*AUTHORITIES, *STANDING_PAIRS):
        assert loaded(tmp_path / name / f"{name}.crt").not_valid_after_utc > datetime.now(UTC) + timedelta(days=1000)
    shake_hands((*running[:2], str(bundle)), after.standing("hub-internal"))
    shake_hands(after.standing("hub-internal"), (*running[:2], str(bundle)))


def test_made_anew_nothing_of_before_is_accepted(tmp_path):
    before = World(tmp_path).server("user-ada")
    after = World(tmp_path, recreate=True)
    with pytest.raises(ssl.SSLError):
        shake_hands(before, after.standing("hub-internal"))


# -- to and from the original


def test_a_directory_of_certipy_is_taken_over_with_its_authorities(tmp_path):
    theirs = Certipy(store_dir=str(tmp_path))
    theirs.trust_from_graph({name: list(trusted) for name, trusted in certificates.TRUST.items()})
    theirs.create_signed_pair("hub-internal", "hub-ca", alt_names=list(certificates.LOCAL_NAMES))
    theirs.create_signed_pair("user-ada", "notebooks-ca", alt_names=["DNS:localhost"])
    kept = [tmp_path / name / f"{name}.crt" for name in (*AUTHORITIES, "hub-internal", "user-ada")]
    before = [loaded(path) for path in kept]
    world = World(tmp_path)
    assert [loaded(path) for path in kept] == before
    ada = (tmp_path / "user-ada/user-ada.key", tmp_path / "user-ada/user-ada.crt", world.server("user-bob")[2])
    shake_hands(tuple(map(str, ada)), world.standing("hub-internal"))
    assert "user-ada" in json.loads((tmp_path / "certipy.json").read_text())


def test_certipy_goes_on_with_a_directory_of_ours(tmp_path):
    world = World(tmp_path)
    theirs = Certipy(store_dir=str(tmp_path))
    assert theirs.store.get_record("hub-ca")["is_ca"]
    files = theirs.create_signed_pair("user-ada", "notebooks-ca", alt_names=["DNS:localhost"])["files"]
    bundles = theirs.trust_from_graph({name: list(trusted) for name, trusted in certificates.TRUST.items()})
    shake_hands((files["key"], files["cert"], bundles["notebooks-ca"]), world.standing("hub-internal"))


# -- authorities of others


@pytest.fixture
def company(tmp_path) -> dict[str, str]:
    """An authority below the root of a company, made with openssl."""
    folder = tmp_path / "company"
    folder.mkdir()

    def openssl(command: str) -> None:
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)

    (folder / "ca.ext").write_text("basicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash\n")
    openssl("req -x509 -newkey rsa:2048 -nodes -days 4000 -subj /CN=root -keyout root.key -out root.crt")
    openssl("req -newkey rsa:2048 -nodes -subj /CN=servers -keyout servers.key -out servers.csr")
    openssl(
        "x509 -req -in servers.csr -CA root.crt -CAkey root.key -CAcreateserial -days 3000 -extfile ca.ext "
        "-out servers.crt"
    )
    return {"key": str(folder / "servers.key"), "cert": str(folder / "servers.crt"), "ca": str(folder / "root.crt")}


def test_an_authority_of_somebody_else_signs_and_is_trusted_up_to_its_root(tmp_path, company):
    world = World(tmp_path / "internal-ssl", external={"notebooks-ca": company})
    ada = world.server("user-ada")
    assert loaded(ada[1]).issuer.rfc4514_string() == "CN=servers"
    shake_hands(ada, world.standing("hub-internal"))
    shake_hands(world.standing("hub-internal"), ada)
    assert not (tmp_path / "internal-ssl/notebooks-ca").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda files: {"no-ca": files}, "no-ca"),
        (lambda files: {"hub-ca": {"key": files["key"]}}, "no 'cert'"),
        (lambda files: {"hub-ca": {**files, "key": files["key"] + ".gone"}}, "servers.key.gone cannot be read"),
        (lambda files: {"hub-ca": {**files, "key": files["ca"]}}, "no unencrypted PEM key"),
        (lambda files: {"hub-ca": {**files, "cert": files["ca"]}}, "does not belong"),
        (lambda files: {"hub-ca": {"key": files["key"], "cert": files["cert"]}}, "up to the root"),
    ],
)
def test_files_that_are_no_authority_are_refused_by_name(
    tmp_path, company, change: Callable[[dict[str, str]], dict[str, dict[str, str]]], told: str
):
    with pytest.raises(ConfigurationError, match="external_ssl_authorities") as refused:
        prepare(tmp_path / "internal-ssl", external=change(company))
    assert told in str(refused.value)


def test_a_damaged_index_is_said_to_be_one(tmp_path):
    (tmp_path / "certipy.json").write_text("{")
    with pytest.raises(ConfigurationError, match=r"certipy\.json is damaged"):
        prepare(tmp_path)


# -- names


def test_no_name_leads_out_of_the_directory_and_no_two_are_the_same():
    parts = [("a/../../b",), ("a", "b"), ("a+b",), ("a-b",), ("ü" * 100,), ("ü" * 101,), ("..",)]
    made = [name_of("user", *each) for each in parts]
    assert len(set(made)) == len(made)
    assert all("/" not in name and name.startswith("user-") and len(name) <= 64 for name in made)


@pytest.mark.parametrize("name", ["hub.example", "DNS:", "IP:hub.example", "NAME:hub"])
def test_an_alternative_name_that_cannot_be_one_is_refused(tmp_path, name):
    with pytest.raises(ConfigurationError, match="alternative name"):
        prepare(tmp_path, hub_names=[name])


# -- a spawner's


def test_a_server_is_certified_for_what_its_spawner_says(tmp_path):
    made = prepare(tmp_path)
    given = {"internal_certs_location": str(tmp_path), "internal_trust_bundles": dict(made.trust_bundles)}
    plain = make_spawner(SimpleLocalProcessSpawner, **given).create_certs()
    assert names(plain["certfile"]) == {"localhost", "127.0.0.1", "::1"}
    assert plain["cafile"] == made.trust_bundles["notebooks-ca"]
    told = Config(Spawner={"ssl_alt_names": lambda spawner: [f"DNS:{spawner.user.name}.example"]})
    told.Spawner.ssl_alt_names_include_local = False
    assert names(make_spawner(SimpleLocalProcessSpawner, config=told, **given).create_certs()["certfile"]) == {
        "ada.example"
    }
