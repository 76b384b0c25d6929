"""The coverage-guided fuzzer, for a short while. ``fuzz_core`` says how to let it run for long."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 8


def test_a_short_run_of_the_fuzzer_finds_nothing(tmp_path: Path):
    pytest.importorskip("atheris", reason="atheris is not installed: pip install atheris")
    script = Path(__file__).with_name("fuzz_core.py")
    command = [sys.executable, str(script), "--seconds", str(SECONDS), "--seed", "1"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-5000:]
    assert not list(tmp_path.glob("crash-*"))
    runs = re.search(r"Done (\d+) runs", ran.stderr)
    assert runs and int(runs[1]) > 1000, ran.stderr[-2000:]
