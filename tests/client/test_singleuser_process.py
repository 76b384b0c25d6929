"""The command ``jupyterhub-singleuser``: what it takes from its environment, and when it gives up."""

import os
import re
import subprocess
import sys

import pytest

from .single_user import COMMAND, SingleUser, browser
from .stub_hub import SERVER_TOKEN
from .test_singleuser_server import ADA, follow, page_config, set_cookies

USER_CONFIG = """
c.ServerApp.port = 1
c.ServerApp.base_url = "/elsewhere/"
c.ServerApp.default_url = "/tree"
c.ServerApp.allow_remote_access = False
c.ServerApp.trust_xheaders = False
c.IdentityProvider.token = "mine"
"""


@pytest.fixture(scope="module", autouse=True)
def hubless(hub, tmp_path_factory):
    """A server whose hub is not there; it takes half a minute to give up, so it begins before the other tests."""
    server = SingleUser(
        hub, tmp_path_factory.mktemp("hubless"), environment={"JUPYTERHUB_API_URL": "http://127.0.0.1:1/hub/api"}
    )
    yield server
    server.stop()


def write_config(home, text=USER_CONFIG):
    (home / ".jupyter").mkdir()
    (home / ".jupyter" / "jupyter_server_config.py").write_text(text)


def names_at_the_root(server):
    return {entry["name"] for entry in server.get("api/contents", ADA).json()["content"]}


def test_the_version_is_printed_without_an_environment(tmp_path):
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 0 and re.fullmatch(r"6\.1\.\d+\n", done.stdout)


@pytest.mark.parametrize("missing", ["JUPYTERHUB_SERVICE_URL", "JUPYTERHUB_API_TOKEN"])
def test_without_what_a_hub_sets_it_gives_up_and_names_it(start, missing):
    server = start(environment={missing: None})
    assert server.process.wait(30) == 1
    assert missing in server.log


def test_contradicting_wishes_are_refused(start):
    server = start(
        environment={
            "JUPYTERHUB_SINGLEUSER_EXTENSION": "1",
            "JUPYTERHUB_SINGLEUSER_APP": "notebook.notebookapp.NotebookApp",
        }
    )
    assert server.process.wait(30) == 1
    assert "JUPYTERHUB_SINGLEUSER_APP" in server.log


def test_the_place_behind_the_hub_outranks_a_users_configuration(start, tmp_path):
    write_config(tmp_path)
    server = start()
    server.wait_until_it_answers()
    assert server.get("api/status", ADA, headers={"Host": "hub.example"}).status_code == 200
    assert server.get("api/status", "mine").status_code == 403
    with browser() as client:
        assert str(follow(client, server.url).url) == server.url + "tree"


def test_the_command_line_outranks_the_hub(start, tmp_path):
    for name in ("of-the-hub", "of-the-command-line"):
        (tmp_path / name / f"{name}.d").mkdir(parents=True)
    server = start(
        f"--ServerApp.root_dir={tmp_path}/of-the-command-line", environment={"JUPYTERHUB_ROOT_DIR": "~/of-the-hub"}
    )
    server.wait_until_it_answers()
    assert names_at_the_root(server) == {"of-the-command-line.d"}


def test_root_directory_and_start_page_come_from_the_hub(start, tmp_path):
    (tmp_path / "work" / "here").mkdir(parents=True)
    server = start(environment={"JUPYTERHUB_ROOT_DIR": "~/work", "JUPYTERHUB_DEFAULT_URL": "/tree/here"})
    server.wait_until_it_answers()
    assert names_at_the_root(server) == {"here"}
    with browser() as client:
        assert str(follow(client, server.url).url) == server.url + "tree/here"


def test_a_users_configuration_can_be_left_out(start, tmp_path):
    write_config(tmp_path, USER_CONFIG + "\nraise SystemExit('never read')")
    server = start(environment={"JUPYTERHUB_DISABLE_USER_CONFIG": "1"})
    server.wait_until_it_answers()
    assert not (tmp_path / ".local/share/jupyter/runtime/jupyter_cookie_secret").exists()
    with browser() as client:
        assert str(follow(client, server.url).url) == server.url + "lab"


def test_other_extensions_can_be_left_out(start):
    server = start(environment={"JUPYTERHUB_SINGLEUSER_LOAD_OTHER_EXTENSIONS": "0"})
    server.wait_until_it_answers()
    assert server.get("lab", ADA).status_code == 404
    assert server.get("api/status", ADA).status_code == 200


def test_cookies_can_be_bound_to_the_host(start):
    server = start(environment={"JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED": "1"})
    server.wait_until_it_answers()
    with browser() as client:
        cookies = set_cookies(client.get(server.url + "lab"))
    assert {"Path=/", "Secure", "HttpOnly"} <= set(cookies["__Host-jupyterhub-user-ada-oauth-state"])


@pytest.mark.parametrize("tokens_in_urls", ["1", "0"])
def test_a_link_with_a_token_logs_a_browser_in_where_that_is_allowed(start, tokens_in_urls):
    server = start(environment={"JUPYTERHUB_ALLOW_TOKEN_IN_URL": tokens_in_urls})
    server.wait_until_it_answers()
    with browser() as client:
        response = client.get(server.url + f"lab?token={ADA}")
        assert response.status_code == (200 if tokens_in_urls == "1" else 302)
        assert ("jupyterhub-user-ada" in client.cookies) is (tokens_in_urls == "1")


# -- the application subclass
@pytest.mark.parametrize(
    ("command", "environment"),
    [
        (COMMAND, {"JUPYTERHUB_SINGLEUSER_EXTENSION": "0"}),
        (COMMAND, {"JUPYTERHUB_SINGLEUSER_APP": "jupyterlab.labhubapp.SingleUserLabApp"}),
        ([sys.executable, "-m", "jupyterlab.labhubapp"], {}),
    ],
    ids=["extension-off", "named", "labhub"],
)
def test_the_application_subclass_logs_people_in_as_the_extension_does(start, hub, command, environment):
    reported = len(hub.activity)
    server = start(command=command, environment=environment)
    assert server.wait_until_it_answers().headers["x-jupyterhub-version"].startswith("6.1.")
    assert server.get("api/status").status_code == 403
    assert server.get("api/status", ADA).status_code == 200
    with browser() as client:
        response = follow(client, server.url + "lab")
        assert response.status_code == 200
        policy = response.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy and f"report-uri {hub.url}/hub/security/csp-report" in policy
        config = page_config(response)
        assert (config["hubUser"], config["hubServerUser"], config["hubPrefix"]) == ("ada", "ada", "/hub/")
        assert client.post(server.url + "api/contents", json={"type": "directory"}).status_code == 403
        assert client.get(server.url + "logout").headers["location"] == f"{hub.url}/hub/logout"
    hub.wait_for_activity(reported + 1)
    assert server.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="about root")
def test_root_must_be_allowed_to_run_it(start):
    server = start(allow_root=False)
    assert server.process.wait(30) == 1


def test_its_own_token_is_not_on_the_command_line_nor_in_the_log(start):
    server = start("--debug")
    server.wait_until_it_answers()
    server.get("api/status", ADA)
    assert SERVER_TOKEN not in server.log


# -- a hub that is not there
@pytest.mark.slow
def test_without_a_hub_it_gives_up(hubless):
    assert hubless.process.wait(80) == 1
    assert hubless.log.count("Trying again") == 4 and "cannot be reached" in hubless.log
