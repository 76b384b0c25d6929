"""The ``jupyterhub`` command, run as a process of its own in an empty folder."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def jupyterhub(tmp_path: Path) -> Command:
    """Run ``jupyterhub ARGS`` in ``tmp_path``; ``config`` becomes its jupyterhub_config.py. stderr is in stdout."""

    def run(
        *args: str, config: str | None = None, input: str = "", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        if config is not None:
            (tmp_path / "jupyterhub_config.py").write_text(config)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTERHUB_", "JPY_"))}
        return subprocess.run(
            [sys.executable, "-m", "jupyterhub", *args],
            cwd=tmp_path,
            env={**kept, **(env or {})},
            input=input,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )

    return run


@pytest.fixture
def hub_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What our loggers write, all levels. They do not pass it on by themselves once an application has been made."""
    logger = logging.getLogger("jupyterhub")
    before, logger.propagate = logger.propagate, True
    with caplog.at_level(logging.DEBUG, logger="jupyterhub"):
        yield caplog
    logger.propagate = before
