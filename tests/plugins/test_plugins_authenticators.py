"""Real authenticators from the registry: somebody logs in, and the hub knows what the plugin said about them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from oauthlib.oauth1 import SIGNATURE_TYPE_BODY, Client

from tests.support.hubs import free_ports
from tests.support.waiting import wait_until

from .visitors import Visitor

pytestmark = pytest.mark.slow

CLAIMS = {"sub": "ada", "login": "ada", "username": "ada", "email": "ada@example.org", "groups": ["staff", "wheel"]}


@pytest.fixture(scope="module")
def provider(plugins_bin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running OpenID provider: its address."""
    [port] = free_ports(1)
    with (tmp_path_factory.mktemp("oidc") / "log").open("wb") as log:
        process = subprocess.Popen(
            [plugins_bin / "oidc-provider-mock", "-p", str(port), "--user-claims", json.dumps(CLAIMS)],
            stdout=log,
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: answers(f"{url}/.well-known/openid-configuration"), within_s=20, what="the OpenID provider")
    yield url
    process.terminate()
    process.wait(10)


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.HTTPError:
        return False


OAUTH = """
import os
os.environ["JUPYTERHUB_CRYPT_KEY"] = "{key}"
c.JupyterHub.authenticator_class = "{name}"
c.OAuthenticator.client_id = "hub"
c.OAuthenticator.client_secret = "s3cret"
c.OAuthenticator.authorize_url = "{provider}/oauth2/authorize"
c.OAuthenticator.token_url = "{provider}/oauth2/token"
c.OAuthenticator.userdata_url = "{provider}/userinfo"
c.OAuthenticator.oauth_callback_url = c.JupyterHub.bind_url + "hub/oauth_callback"
c.OAuthenticator.scope = ["openid", "profile", "email"]
c.Authenticator.admin_users = set()
c.Authenticator.enable_auth_state = True
c.OAuthenticator.allow_all = True
"""
GENERIC = """
c.GenericOAuthenticator.username_claim = "sub"
c.GenericOAuthenticator.manage_groups = True
c.GenericOAuthenticator.auth_state_groups_key = "oauth_user.groups"
c.GenericOAuthenticator.admin_groups = {"wheel"}
"""


def log_in_at_provider(visitor: Visitor) -> httpx.Response:
    visitor.visit("hub/oauth_login?next=%2Fhub%2Fhome")
    return visitor.submit(sub="ada")


def test_generic_oauth_brings_groups_and_admins(make_hub, provider):
    hub = make_hub(OAUTH.format(key="00" * 32, name="generic-oauth", provider=provider) + GENERIC)
    with Visitor(hub) as ada:
        page = log_in_at_provider(ada)
        assert page.status_code == 200 and page.url.path == "/hub/home", hub.log[-3000:]
        assert ada.name == "ada"
    user = hub.api("GET", "users/ada").json()
    assert set(user["groups"]) == {"staff", "wheel"}
    assert user["admin"] is True


@pytest.mark.parametrize("name", ["github", "gitlab"])
def test_oauth_of_a_service(make_hub, provider, name):
    hub = make_hub(OAUTH.format(key="00" * 32, name=name, provider=provider))
    with Visitor(hub) as ada:
        assert name.lower() in ada.visit("hub/login").text.lower()
        log_in_at_provider(ada)
        assert ada.name == "ada", hub.log[-3000:]
        ada.visit("hub/logout")
        assert ada.name is None


REFUSING = """
c.OAuthenticator.allow_all = False
c.OAuthenticator.allowed_users = {"bob"}
c.GenericOAuthenticator.admin_groups = set()
"""


def test_oauth_refuses_whoever_is_not_allowed(make_hub, provider):
    hub = make_hub(OAUTH.format(key="00" * 32, name="generic-oauth", provider=provider) + GENERIC + REFUSING)
    with Visitor(hub) as ada:
        assert log_in_at_provider(ada).status_code == 403
        assert ada.name is None


def test_native_authenticator_signs_people_up(make_hub):
    """Pages of a plugin, its own table beside the hub's, and the hub's scopes in front of its admin pages."""
    hub = make_hub(
        """
import nativeauthenticator
c.JupyterHub.authenticator_class = "native"
c.JupyterHub.template_paths = [f"{nativeauthenticator.__path__[0]}/templates/"]
c.Authenticator.admin_users = {"root"}
c.Authenticator.allow_all = True
"""
    )

    def sign_up(visitor, name, password):
        assert visitor.visit("hub/signup").status_code == 200
        return visitor.submit(username=name, signup_password=password, signup_password_confirmation=password)

    with Visitor(hub) as root, Visitor(hub) as ada:
        sign_up(root, "root", "a long password")
        assert root.log_in("root", "a long password").status_code == 200
        assert root.name == "root", hub.log[-3000:]
        assert "sent to the admin" in sign_up(ada, "ada", "another password").text
        ada.log_in("ada", "another password")
        assert ada.name is None
        assert ada.visit("hub/authorize").status_code in (403, 200) and "/hub/login" in str(ada.page.url)
        assert "ada" in root.visit("hub/authorize").text
        root.visit("hub/authorize/ada")
        ada.log_in("ada", "another password")
        assert ada.name == "ada"
        ada.visit("hub/change-password")
        ada.submit(old_password="another password", new_password="a third one", new_password_confirmation="a third one")
    with Visitor(hub) as ada:
        assert ada.log_in("ada", "another password").status_code in (200, 403) and ada.name is None
        ada.log_in("ada", "a third one")
        assert ada.name == "ada"
    # the table of the plugin is there for the next life of the hub
    hub.stop()
    hub.start()
    with Visitor(hub) as ada:
        ada.log_in("ada", "a third one")
        assert ada.name == "ada"


def test_firstuse_authenticator_keeps_the_first_password(make_hub):
    hub = make_hub(
        """
c.JupyterHub.authenticator_class = "firstuse"
c.FirstUseAuthenticator.create_users = True
c.FirstUseAuthenticator.dbm_path = "passwords.dbm"
"""
    )
    with Visitor(hub) as ada, Visitor(hub) as impostor:
        ada.log_in("ada", "a long password")
        assert ada.name == "ada", hub.log[-3000:]
        impostor.log_in("ada", "what is it?")
        assert impostor.name is None
        ada.visit("hub/auth/change-password")
        assert ada.submit(password="a new password").status_code == 200
    with Visitor(hub) as ada:
        ada.log_in("ada", "a new password")
        assert ada.name == "ada"


def test_tmp_authenticator_makes_somebody_new_each_time(make_hub):
    hub = make_hub('c.JupyterHub.authenticator_class = "tmp"\n')
    with Visitor(hub) as one, Visitor(hub) as other:
        one.visit("hub/home")
        other.visit("hub/home")
        assert one.name and other.name and one.name != other.name, hub.log[-3000:]
        first = one.name
        one.visit("hub/tmplogin?next=%2Fhub%2Fhome")
        assert one.name not in (None, first)


def test_lti_launch_logs_a_student_in(make_hub):
    """A signed form from another site, without our XSRF token: the plugin says that it needs none."""
    hub = make_hub(
        """
c.JupyterHub.authenticator_class = "ltiauthenticator.LTIAuthenticator"
c.LTI11Authenticator.consumers = {"school": "shared secret"}
c.LTI11Authenticator.username_key = "lis_person_name_given"
"""
    )
    launch = hub.url + "hub/lti/launch"

    def signed(secret: str) -> str:
        client = Client("school", client_secret=secret, signature_type=SIGNATURE_TYPE_BODY)
        fields = {
            "lti_message_type": "basic-lti-launch-request",
            "lti_version": "LTI-1p0",
            "resource_link_id": "course",
            "user_id": "17",
            "lis_person_name_given": "ada",
            "custom_next": "/hub/home",
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return str(client.sign(launch, "POST", body=fields, headers=headers)[2])

    with Visitor(hub) as ada, Visitor(hub) as impostor:
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "https://school.example.org"}
        page = ada.client.post(launch, content=signed("shared secret"), headers=headers)
        assert ada.name == "ada", (page.status_code, hub.log[-3000:])
        impostor.client.post(launch, content=signed("a guess"), headers=headers)
        assert impostor.name is None
