"""A mistake in the configuration ends the start with one message: the file, the line or trait, and the remedy."""

from __future__ import annotations

import socket

import pytest

from jupyterhub.cli.config_mistakes import edit_distance, similar
from jupyterhub.cli.listening import open_sockets
from jupyterhub.hub.settings import HubSettings
from jupyterhub.words.errors import ConfigurationError

HERE = "jupyterhub_config.py, line "


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("\nc.JupyterHub.hub_port = 'eighty'", [HERE + "2", "hub_port", "int", "eighty"]),
        ("c.JupyterHub.services = 'one'", [HERE + "1", "services"]),
        ("c.JupyterHub.allow_named_servers = 'perhaps'", [HERE + "1", "allow_named_servers", "boolean"]),
        ("c.JupyterHub.load_groups = {'a': 3}", [HERE + "1", "load_groups"]),
        ("c.JupyterHub.cookie_secret = 'not hex'", [HERE + "1", "cookie_secret", "hexadecimal"]),
        ("c.Authenticator.allowed_users = 17", [HERE + "1", "c.Authenticator.allowed_users", "set"]),
        ("c.Spawner.start_timeout = 'soon'", [HERE + "1", "c.Spawner.start_timeout", "int"]),
        ("c.JupyterHub.spawner_class = 'nosuch'", [HERE + "1", "nosuch", "localprocess, simple"]),
        (
            "c.JupyterHub.authenticator_class = 'jupyterhub.spawner.LocalProcessSpawner'",
            [HERE + "1", "authenticator_class", "shared-password"],
        ),
        ("c.JupyterHub.alow_named_servers = True", [HERE + "1", "Did you mean c.JupyterHub.allow_named_servers?"]),
        ("c.Spawner.start_timout = 3", [HERE + "1", "Did you mean c.Spawner.start_timeout?"]),
        ("x = c.Spawner\nc.Spawner.agrs.append('-v')", [HERE + "2", "Did you mean c.Spawner.args?"]),
        (
            "c.JupyterHub.authenticator_class = 'dummy'\nc.DummyAuthenticator.pasword = 'x'",
            [HERE + "2", "Did you mean c.DummyAuthenticator.password?"],
        ),
        ("c.JupyterHub.ssl_cert = '/no/such.crt'", [HERE + "1", "ssl_cert", "/no/such.crt does not exist"]),
        ("c.JupyterHub.db_url = '/no/such/hub.sqlite'", [HERE + "1", "db_url", "/no/such does not exist", "Create"]),
        ("c.JupyterHub.bind_url = '127.0.0.1:80'", ["JupyterHub.bind_url", "http://"]),
        (
            "import threading\nc.JupyterHub.template_vars = {'a': threading.Lock()}",
            [HERE + "2", "template_vars", "copied"],
        ),
        ("\n\nc.JupyterHub.port = = 3", [HERE + "3", "SyntaxError"]),
        ("def f():\n    return 1 / 0\n\nf()", [HERE + "4", "line 2, in f", "ZeroDivisionError"]),
    ],
)
def test_a_mistake_ends_the_start_with_one_message(jupyterhub, tmp_path, config, told):
    done = jupyterhub(config=config)
    assert done.returncode == 1, done.stdout
    assert [each for each in told if each not in done.stdout] == [], done.stdout
    assert done.stdout.count("JupyterHub app:") == 1 and "site-packages" not in done.stdout
    assert "/src/jupyterhub/" not in done.stdout, "our own lines are of no use to who wrote the configuration"
    assert not (tmp_path / "jupyterhub.sqlite").exists()


def test_a_mistake_in_a_file_that_the_first_one_loads_is_found_there(jupyterhub, tmp_path):
    (tmp_path / "more.py").write_text("c = get_config()\n\nc.JupyterHub.hub_port = 'eighty'\n")
    done = jupyterhub(config="load_subconfig('more.py')")
    assert done.returncode == 1 and "more.py, line 3" in done.stdout


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("c.JupyterHub.no_such_knob = 1", ["`no_such_knob` not recognized by `JupyterHub`", HERE + "1"]),
        ("c.Spawner.no_such_knob = 1", ["`no_such_knob` not recognized by `LocalProcessSpawner`", HERE + "1"]),
        ("c.JupyterHub.spawn_throttle_retry_range = (1, 2)", []),
        ("c.Spawer.args = []", ["c.Spawer", HERE + "1", "Did you mean c.Spawner?"]),
        ("c.jupyterhub.port = 1", ["c.jupyterhub", HERE + "1", "Did you mean c.JupyterHub?"]),
        ("c.SomebodyElses.trait = 1", ["c.SomebodyElses"]),
        ("c.JupyterHubApp.port = 1", ["c.JupyterHubApp"]),
    ],
)
def test_a_name_that_may_mean_something_elsewhere_is_warned_of(jupyterhub, config, told):
    done = jupyterhub("--show-config", config=config)
    assert done.returncode == 0 and [each for each in told if each not in done.stdout] == [], done.stdout


def test_plugins_that_are_installed_but_not_in_use_may_stay_in_the_configuration(jupyterhub):
    done = jupyterhub("--show-config", config="c.DummyAuthenticator.password = 'x'\nc.EventLogger.handlers = []")
    assert done.returncode == 0 and "[W" not in done.stdout


@pytest.mark.parametrize(
    ("args", "status", "told"),
    [
        (["-f", "missing.py"], 1, "ERROR: Failed to find specified config file: missing.py"),
        (["--no-such-option"], 2, "--no-such-option"),
        (["-y"], 2, "expected one argument"),
        (["stray", "words"], 1, "Unrecognized command-line arguments: 'stray words'"),
        (["--port=eighty"], 1, "Bad config encountered during initialization: The 'port' trait"),
        (["--JupyterHub.alow_named_servers=1"], 1, "on the command line"),
        (["token", "ada", "bert"], 1, "Must specify exactly one username"),
    ],
)
def test_a_command_line_that_cannot_work_says_so(jupyterhub, tmp_path, args, status, told):
    done = jupyterhub(*args)
    assert done.returncode == status and told in done.stdout and "Traceback" not in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_option_with_a_value_is_only_warned_of(jupyterhub):
    done = jupyterhub("--show-config", "--nosuch=3")
    assert done.returncode == 0 and "Unrecognized alias: 'nosuch', it will have no effect." in done.stdout


def test_a_port_in_use_is_told_with_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"port {port} of 127.0.0.1.*hub_port"):
            open_sockets(HubSettings(hub_bind_port=port))


def test_an_address_of_another_machine_is_told_with_what_to_do():
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1.*hub_connect_ip"):
        open_sockets(HubSettings(hub_bind_ip="192.0.2.1"))


def test_the_socket_of_the_hub_has_the_rights_it_should(tmp_path):
    path = tmp_path / "hub.sock"
    sockets = open_sockets(HubSettings(hub_bind_socket=str(path), hub_socket_mode=0o660))
    assert path.stat().st_mode & 0o777 == 0o660
    for each in sockets:
        each.close()


def test_likeness_is_not_a_slip():
    traits = {"allowed_users", "password", "port", "ip", "admin_users", "services"}
    assert similar("alowed_users", traits) == "allowed_users"
    assert similar("admin_user", traits) == "admin_users"
    assert similar("pasword", traits) == "password"
    assert similar("allowed_groups", traits) == "", "a trait of other authenticators"
    assert similar("user", traits) == "" and similar("serve", traits) == ""


def test_swapped_letters_are_one_slip():
    assert (edit_distance("args", "agrs"), edit_distance("", "abc"), edit_distance("kitten", "sitting")) == (1, 3, 3)
