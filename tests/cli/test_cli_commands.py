"""What the command does beside running a hub: help, version, a complete configuration file, its log."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys

import pytest

from jupyterhub.words.version import __version__

CLASSES = [
    "JupyterHub",
    "Spawner",
    "LocalProcessSpawner",
    "SimpleLocalProcessSpawner",
    "Authenticator",
    "LocalAuthenticator",
    "PAMAuthenticator",
    "DummyAuthenticator",
    "SharedPasswordAuthenticator",
    "Proxy",
    "ConfigurableHTTPProxy",
    "CryptKeeper",
]


@pytest.mark.parametrize("args", [["--version"], ["token", "--version"]])
def test_the_version_is_printed_alone(jupyterhub, tmp_path, args):
    done = jupyterhub(*args)
    assert done.returncode == 0 and done.stdout == f"{__version__}\n" and list(tmp_path.iterdir()) == []


def test_saying_the_version_and_reading_a_configuration_take_little_time(tmp_path):
    def cpu_s(*args: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "jupyterhub", *args], cwd=tmp_path, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # Generous: 0.04 s and 0.25 s on the machine where this was written; one heavy import more breaks it.
    assert min(cpu_s("--version") for _ in range(2)) < 0.2
    assert min(cpu_s("--show-config") for _ in range(3)) < 0.6


def test_reading_a_configuration_loads_none_of_the_heavy_libraries(tmp_path):
    program = (
        "import sys; from jupyterhub.cli.app import JupyterHub; JupyterHub().initialize([]);"
        "print([m for m in ('sqlalchemy', 'alembic', 'cryptography', 'oauthlib', 'jupyter_events', 'pamela', 'jinja2',"
        " 'jupyter_server', 'jupyterhub.cli.build') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_help_names_the_options_and_subcommands(jupyterhub):
    brief = jupyterhub("--help").stdout
    for option in (
        "--config",
        "--db",
        "--debug",
        "--generate-config",
        "--log-level",
        "--ip",
        "--port",
        "--url",
        "--base-url",
        "--ssl-key",
        "--ssl-cert",
        "--upgrade-db",
        "--no-db",
        "--pid-file",
        "--log-file",
        "token",
        "upgrade-db",
    ):
        assert option in brief, option


@pytest.mark.parametrize("command", ["token", "upgrade-db"])
def test_the_subcommands_have_a_help_of_their_own(jupyterhub, command):
    done = jupyterhub(command, "--help")
    assert done.returncode == 0 and "--config" in done.stdout and "Failed" not in done.stdout


def test_upgrading_makes_the_tables_of_a_new_database_and_has_nothing_to_do_afterwards(jupyterhub, tmp_path):
    first, second = jupyterhub("upgrade-db", "--db", "hub.sqlite"), jupyterhub("upgrade-db", "--db", "hub.sqlite")
    assert (first.returncode, second.returncode, second.stdout) == (0, 0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["hub.sqlite"], "no copy of what did not change"


def test_the_full_help_names_every_class(jupyterhub):
    full = jupyterhub("--help-all").stdout
    assert [name for name in CLASSES if f"--{name}." not in full] == []


def test_a_generated_configuration_is_complete_and_changes_nothing(jupyterhub, tmp_path):
    done = jupyterhub("--generate-config")
    path = tmp_path / "jupyterhub_config.py"
    assert done.returncode == 0 and f"Writing default config to: {path}" in done.stdout
    text = path.read_text()
    assert [name for name in CLASSES if f"\n# c.{name}." not in text] == []
    assert [line for line in text.splitlines() if line and not line.startswith(("#", "c = get_config()"))] == []
    again = jupyterhub("--show-config")
    assert again.returncode == 0 and "[W" not in again.stdout


def test_a_generated_configuration_is_the_same_each_time_and_valid_with_all_comments_taken_away(jupyterhub, tmp_path):
    path = tmp_path / "jupyterhub_config.py"
    jupyterhub("--generate-config")
    first = path.read_text()
    jupyterhub("--generate-config", "-y=True")
    assert path.read_text() == first
    compile(re.sub(r"^# (?=c\.)", "", first, flags=re.M), str(path), "exec")


@pytest.mark.parametrize(
    ("answer", "args", "status", "kept"),
    [
        ("n\n", [], 0, True),
        ("\n", [], 0, True),
        ("y\n", [], 0, False),
        ("", [], 1, True),
        ("", ["-y=True"], 0, False),
    ],
)
def test_an_existing_configuration_is_overwritten_only_if_somebody_says_so(
    jupyterhub, tmp_path, answer, args, status, kept
):
    path = tmp_path / "jupyterhub_config.py"
    path.write_text("# mine")
    done = jupyterhub("--generate-config", *args, input=answer)
    assert done.returncode == status and (path.read_text() == "# mine") is kept and "Traceback" not in done.stdout


def test_a_configuration_is_not_generated_into_a_folder_that_is_not_there(jupyterhub):
    done = jupyterhub("--generate-config", "-f", "no/such/config.py")
    assert done.returncode == 1 and "does not exist" in done.stdout


def test_the_configuration_is_shown_as_text_and_as_json(jupyterhub):
    config = "c.JupyterHub.port = 9000\nc.Spawner.args.append('-v')"
    assert ".port = 9001" in jupyterhub("--show-config", "--port=9001", config=config).stdout
    assert '"port": 9001' in jupyterhub("--show-config-json", "--port=9001", config=config).stdout


def test_json_beside_the_python_file_counts_too(jupyterhub, tmp_path):
    (tmp_path / "jupyterhub_config.json").write_text('{"JupyterHub": {"port": 9002}}')
    assert ".port = 9002" in jupyterhub("--show-config", config="c.JupyterHub.port = 9000").stdout


def test_handlers_of_ones_own_get_the_log(jupyterhub, tmp_path):
    config = """
import logging
handler = logging.FileHandler("hub.log")
handler.setLevel("DEBUG")
c.JupyterHub.extra_log_handlers = [handler]
c.JupyterHub.no_such_knob = 1
c.JupyterHub.default_server_name = "x"
"""
    program = (
        "import logging; from jupyterhub.cli.app import JupyterHub; app = JupyterHub(); app.initialize([]);"
        "logging.getLogger('jupyterhub.some.room').debug('only for the file'); app.log.warning('for both')"
    )
    (tmp_path / "jupyterhub_config.py").write_text(config)
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, env=os.environ)
    logged = (tmp_path / "hub.log").read_text()
    assert re.search(r"^\[W \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} JupyterHub <string>:1\] for both$", logged, re.M)
    assert re.search(r"^\[D .* JupyterHub <string>:1\] only for the file$", logged, re.M)
    assert "for both" in done.stderr and "only for the file" not in done.stderr


def test_the_format_of_the_log_can_be_chosen(jupyterhub):
    done = jupyterhub(
        "--show-config",
        config="c.JupyterHub.log_format = '<<%(levelname)s>> %(message)s'\nc.JupyterHub.no_such_knob = 1",
    )
    assert "<<WARNING>> Config option `no_such_knob`" in done.stdout


def test_certificates_are_made_beforehand_and_kept(jupyterhub, tmp_path):
    done = jupyterhub("--generate-certs", config="c.JupyterHub.trusted_alt_names = ['DNS:hub.example']")
    assert done.returncode == 0 and "internal_ssl is off" in done.stdout, done.stdout
    assert "Certificates written to directory `internal-ssl`" in done.stdout
    made = {path: path.read_bytes() for path in tmp_path.glob("internal-ssl/*/*")}
    assert tmp_path / "internal-ssl/hub-internal/hub-internal.key" in made and len(made) == 16
    assert not (tmp_path / "jupyterhub.sqlite").exists()
    again = jupyterhub("--generate-certs", "--JupyterHub.internal_ssl=True")
    assert again.returncode == 0 and "[W" not in again.stdout, again.stdout
    assert {path: path.read_bytes() for path in made} == made
    jupyterhub("--generate-certs", "--JupyterHub.recreate_internal_certs=True")
    assert all(path.read_bytes() != before for path, before in made.items())


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("c.JupyterHub.external_ssl_authorities = {'hub-ca': {}}", ["external_ssl_authorities['hub-ca']", "'key'"]),
        ("c.JupyterHub.internal_certs_location = '/proc/none'", ["internal_certs_location", "/proc/none"]),
        ("c.JupyterHub.trusted_alt_names = ['hub.example']", ["'hub.example'", "DNS:hub.example.org"]),
    ],
)
def test_certificates_that_cannot_be_made_end_the_start_with_one_message(jupyterhub, config, told):
    done = jupyterhub(config=config + "\nc.JupyterHub.internal_ssl = True")
    assert done.returncode == 1 and "Traceback" not in done.stdout, done.stdout
    assert [each for each in told if each not in done.stdout] == [], done.stdout


def test_a_proxy_whose_api_would_be_reached_in_clear_is_refused(jupyterhub):
    config = "c.JupyterHub.internal_ssl = True\nc.ConfigurableHTTPProxy.api_url = 'http://127.0.0.1:1'\n"
    done = jupyterhub(config=config + "c.JupyterHub.authenticator_class = 'null'\nc.JupyterHub.hub_port = 0")
    assert done.returncode == 1 and "set it to 'https://127.0.0.1:1'" in done.stdout, done.stdout
