"""Hubs with real plugins in them: from the registry, in an environment of their own (``tools/set-up-plugins``)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.hubs import Hub

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def plugins_bin() -> Path:
    """The ``bin`` of the environment with the plugins; made if it is not there."""
    made = subprocess.run([ROOT / "tools" / "set-up-plugins"], capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    return ROOT / ".venv-plugins" / "bin"


@pytest.fixture
def make_hub(plugins_bin: Path, tmp_path: Path) -> Iterator[Callable[..., Hub]]:
    """Starts hubs in the environment of the plugins; they are stopped when the test ends."""
    hubs: list[Hub] = []

    def make(extra_config: str, **kwargs: object) -> Hub:
        hub = Hub(tmp_path / f"hub{len(hubs)}", extra_config=extra_config, bin=plugins_bin, **kwargs)  # type: ignore[arg-type]
        hubs.append(hub)
        return hub.start()

    yield make
    for hub in hubs:
        hub.stop()
