"""Where the cookie secret comes from, and when it is refused (startup-and-state.md §2)."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest

from jupyterhub.cli.pid_file import pid_file
from jupyterhub.cli.secrets import cookie_secret
from jupyterhub.words.errors import ConfigurationError

HEX = "ab" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "secret"


def found(path: Path, configured: bytes | str = b"", **environ: str) -> bytes:
    return cookie_secret(configured, str(path), environ=environ)


def test_the_configuration_comes_before_environment_and_file_and_is_not_written(path):
    path.write_text("cd" * 32)
    path.chmod(0o600)
    assert found(path, b"x" * 32, JPY_COOKIE_SECRET="ef" * 32) == b"x" * 32
    assert found(path, HEX) == bytes.fromhex(HEX)
    assert found(path, JPY_COOKIE_SECRET="ef" * 32) == b"\xef" * 32
    assert found(path) == b"\xcd" * 32


def test_a_new_secret_is_written_in_hexadecimal_for_the_owner_only_and_found_again(path):
    secret = found(path)
    assert len(secret) == 32 and path.read_text() == secret.hex() + "\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert found(path) == secret


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o660])
def test_the_group_may_share_the_file(path, mode):
    path.write_text(HEX)
    path.chmod(mode)
    assert found(path) == bytes.fromhex(HEX)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o644, 0o666])
def test_a_file_that_others_may_use_is_refused_with_its_name_and_the_remedy(path, mode):
    path.write_text(HEX)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=r"invalid cookie_secret_file.*others may use it.*chmod o=") as refused:
        found(path)
    assert str(path) in str(refused.value) and HEX not in str(refused.value)


def test_an_old_secret_in_base64_is_read_with_a_warning(path, hub_log):
    path.write_bytes(base64.b64encode(b"o" * 32))
    path.chmod(0o600)
    assert found(path) == b"o" * 32 and "base64" in hub_log.text


@pytest.mark.parametrize("content", [b"not hexadecimal at all!", b"", b"\xff\xfe\xfd", b"xy" * 32])
def test_a_file_without_a_secret_in_it_is_refused(path, content):
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="invalid cookie_secret_file"):
        found(path)


def test_a_secret_that_is_not_hexadecimal_is_refused_without_being_shown(path):
    for configured, environ in (("nearly-ab", {}), (b"", {"JPY_COOKIE_SECRET": "nearly-ab"}), ("abc", {})):
        with pytest.raises(ConfigurationError, match=r"cookie_secret|COOKIE_SECRET") as refused:
            found(path, configured, **environ)
        assert "nearly" not in str(refused.value)


def test_a_secret_of_another_length_is_used_with_a_warning(path, hub_log):
    assert found(path, b"s" * 80) == b"s" * 80
    assert "80 bytes" in hub_log.text and "should have 32" in hub_log.text


def test_a_folder_that_is_not_there_is_named(path):
    with pytest.raises(ConfigurationError, match="cookie_secret_file"):
        found(path / "deeper" / "secret")


def test_the_pid_file_is_there_while_the_hub_runs(path):
    with pid_file(str(path)):
        assert path.read_text().isdigit()
    assert not path.exists()


def test_a_pid_file_that_another_hub_has_written_since_is_left(path):
    with pid_file(str(path)):
        path.write_text("1")
    assert path.read_text() == "1"


def test_a_pid_file_that_cannot_be_written_is_named(path):
    with pytest.raises(ConfigurationError, match="pid_file"), pid_file(str(path / "deeper")):
        pass
