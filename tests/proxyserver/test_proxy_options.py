"""The command line: every flag does something or says why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyterhub.proxyserver.main import main
from jupyterhub.proxyserver.options import Listen, UsageError, read_settings


def settings(*argv: str, **environment: str):
    return read_settings(argv, environment)


def test_defaults_are_those_of_the_contract():
    read = settings()
    assert read.public == Listen("", 8000) and read.api == Listen("localhost", 8001)
    assert read.metrics is None and read.public_tls is None and read.api_secret == ""
    assert read.limits.keep_alive_s == 5 and read.limits.silence_s is None and read.log_level == "INFO"
    assert read.verify_upstreams and read.rules.x_forward and read.rules.prepend_path and read.rules.include_prefix


def test_the_hubs_own_command_line_is_understood():
    read = settings(
        "--ip", "", "--port", "9000", "--api-ip", "127.0.0.1", "--api-port", "9009", "--error-target",
        "http://127.0.0.1:8081/hub/error", "--log-level", "info", "--host-routing", CONFIGPROXY_AUTH_TOKEN="abc",
    )  # fmt: skip
    assert read.public == Listen("", 9000) and read.api == Listen("127.0.0.1", 9009)
    assert read.error_target is not None and read.error_target.path == b"/hub/error"
    assert read.host_routing and read.api_secret == "abc"


def test_internal_tls_options_are_understood():
    names = ["key", "cert", "ca"]
    flags = [part for prefix in ("api", "client") for name in names for part in (f"--{prefix}-ssl-{name}", f"/{name}")]
    more = [
        f"--{prefix}-ssl-{name}" for prefix in ("api", "client") for name in ("request-cert", "reject-unauthorized")
    ]
    read = settings(*flags, *more)
    assert read.api_tls is not None and read.api_tls.request_cert and read.api_tls.reject_unauthorized
    assert read.client_tls.ca == "/ca"


def test_options_are_read():
    read = settings(
        "--port=0", "--socket", "/p", "--api-socket", "/a", "--metrics-port", "9", "--metrics-ip", "*",
        "--timeout", "1500", "--proxy-timeout", "0", "--keep-alive-timeout", "250",
        "--custom-header", "A: b:c", "--custom-header", "D:e",
        "--no-x-forward", "--no-prepend-path", "--no-include-prefix", "--auto-rewrite", "--change-origin",
        "--protocol-rewrite", "https", "--insecure", "--default-target", "http://h", "--error-path", "/e", "--pid-file",
        "/pid", "--log-level", "WARN",
    )  # fmt: skip
    assert (read.public.socket_path, read.api.socket_path, read.metrics) == ("/p", "/a", Listen("", 9))
    assert (read.limits.silence_s, read.limits.upstream_silence_s, read.limits.keep_alive_s) == (1.5, None, 0.25)
    assert read.rules.custom_fields == ((b"A", b"b:c"), (b"D", b"e"))
    rules = read.rules
    assert rules.auto_rewrite and rules.change_origin and rules.protocol_rewrite == b"https"
    assert not (rules.x_forward or rules.prepend_path or rules.include_prefix or read.verify_upstreams)
    assert (read.error_path, read.pid_file, read.log_level) == (Path("/e"), Path("/pid"), "WARNING")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ("--nope", "--nope"),
        ("stray", "stray"),
        ("--port x", "not a port"),
        ("--port 70000", "not a port"),
        ("--timeout -1", "--timeout"),
        ("--timeout soon", "not a number of milliseconds"),
        ("--log-level loud", "loud"),
        ("--error-target http://x --error-path y", "Pick one"),
        ("--error-target nonsense", "nonsense"),
        ("--default-target nonsense", "nonsense"),
        ("--redirect-port 80", "certificates not provided"),
        ("--redirect-to 80", "--redirect-port"),
        ("--ssl-key x", "--ssl-cert"),
        ("--api-ssl-cert x", "--api-ssl-key"),
        ("--client-ssl-cert x", "--client-ssl-key"),
        ("--ssl-ca x", "--ssl-key"),
        ("--api-ssl-request-cert", "--api-ssl-key"),
        ("--storage-backend x", "in memory"),
        ("--ssl-allow-rc4", "RC4"),
        ("--custom-header x", "NAME:VALUE"),
        ("--custom-header :x", "NAME:VALUE"),
        ("--por 1", "--por"),
    ],
)
def test_what_cannot_be_done_is_said(argv, says, capsys):
    with pytest.raises(UsageError, match=says):
        settings(*argv.split())
    assert main(argv.split()) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ("--ssl-key /none --ssl-cert /none", "--ssl-key"),
        ("--client-ssl-ca /none", "--client-ssl-ca"),
        ("--pid-file /none/x --port 0 --api-port 0 --ip 127.0.0.1", "--pid-file"),
        ("--socket /none/x", "cannot listen on /none/x"),
        ("--ip 203.0.113.1 --port 0", "cannot listen on 203.0.113.1:0"),
    ],
)
def test_files_and_addresses_that_cannot_be_used_are_named(argv, says, capsys):
    assert main([*argv.split(), "--log-level", "error"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and says in error and error.count("\n") == 1


def test_version_and_help_are_told(capsys):
    for flag in ("--version", "--help"):
        with pytest.raises(SystemExit) as ended:
            main([flag])
        assert ended.value.code == 0
    assert "--error-target" in capsys.readouterr().out
