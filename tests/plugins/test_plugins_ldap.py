"""LDAPAuthenticator against a real directory server (slapd, from Debian)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hubs import free_ports
from tests.support.waiting import wait_until

from .visitors import Visitor

SLAPD = shutil.which("slapd", path=f"{os.environ['PATH']}:/usr/sbin")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(SLAPD is None, reason="needs slapd: apt-get install slapd")]

CONFIGURATION = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile {folder}/pid
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
suffix "dc=example,dc=org"
rootdn "cn=admin,dc=example,dc=org"
rootpw admin
directory {folder}/data
access to attrs=userPassword by anonymous auth by * none
access to * by * read
"""
PEOPLE = """
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: uid=ada,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: ada
cn: Ada
sn: Lovelace
userPassword: notes

dn: uid=bob,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: Builder
userPassword: bricks

dn: cn=staff,dc=example,dc=org
objectClass: groupOfNames
cn: staff
member: uid=ada,ou=people,dc=example,dc=org
"""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    """The port of a running directory server with two people."""
    [port] = free_ports(1)
    (tmp_path / "data").mkdir()
    (tmp_path / "slapd.conf").write_text(CONFIGURATION.format(folder=tmp_path))
    (tmp_path / "people.ldif").write_text(PEOPLE.lstrip())
    assert SLAPD is not None
    add = [
        str(Path(SLAPD).with_name("slapadd")),
        "-f",
        str(tmp_path / "slapd.conf"),
        "-l",
        str(tmp_path / "people.ldif"),
    ]
    subprocess.run(add, check=True, capture_output=True)
    url = f"ldap://127.0.0.1:{port}"
    server = subprocess.Popen([SLAPD, "-f", str(tmp_path / "slapd.conf"), "-h", url, "-d", "0"])
    wait_until(lambda: (tmp_path / "pid").exists(), within_s=10, what="slapd")
    yield port
    server.terminate()
    server.wait(10)


def test_people_of_the_allowed_group_log_in(make_hub, directory):
    hub = make_hub(
        f"""
c.JupyterHub.authenticator_class = "ldap"
c.LDAPAuthenticator.server_address = "127.0.0.1"
c.LDAPAuthenticator.server_port = {directory}
c.LDAPAuthenticator.tls_strategy = "insecure"
c.LDAPAuthenticator.bind_dn_template = ["uid={{username}},ou=people,dc=example,dc=org"]
c.LDAPAuthenticator.allowed_groups = ["cn=staff,dc=example,dc=org"]
c.LDAPAuthenticator.user_search_base = "ou=people,dc=example,dc=org"
c.LDAPAuthenticator.user_attribute = "uid"
c.Authenticator.allow_all = False
c.Authenticator.admin_users = set()
"""
    )
    with Visitor(hub) as ada, Visitor(hub) as bob:
        ada.log_in("ada", "wrong")
        assert ada.name is None
        ada.log_in("ada", "notes")
        assert ada.name == "ada", hub.log[-3000:]
        bob.log_in("bob", "bricks")
        assert bob.name is None
