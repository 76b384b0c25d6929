"""What docs/plugins.md shows runs, and each configuration in examples/ is one that a hub takes."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from .conftest import ROOT
from .test_plugins_spawners import start, status_of, stop
from .visitors import Visitor

pytestmark = pytest.mark.slow

EXAMPLES = sorted(path.parent.name for path in (ROOT / "examples").glob("*/jupyterhub_config.py"))


def shown_files() -> dict[str, str]:
    """The files in the guide, by name."""
    text = (ROOT / "docs" / "plugins.md").read_text()
    return dict(re.findall(r"```python\n# file: (\S+)\n(.*?)```", text, flags=re.DOTALL))


def test_the_plugins_of_the_guide_work(make_hub, tmp_path):
    files = shown_files()
    config = files.pop("jupyterhub_config.py")
    (tmp_path / "hub0").mkdir()
    for name, text in files.items():
        (tmp_path / "hub0" / name).write_text(text)
    hub = make_hub(config)
    with Visitor(hub) as ada, Visitor(hub) as bob:
        assert ada.log_in("ada", "a guess").status_code == 403
        ada.log_in("ada", "I am ada")
        bob.log_in("bob", "I am bob")
        assert (ada.name, bob.name) == ("ada", "bob"), hub.log[-3000:]
        assert "ada, bob" in ada.visit("hub/people").text
        assert bob.visit("hub/people").status_code == 403
    assert hub.api("GET", "users/bob").json()["groups"] == ["people"]
    start(hub, "ada")
    assert status_of(hub, "ada").status_code == 200
    hub.kill()
    hub.start()
    assert status_of(hub, "ada").status_code == 200
    stop(hub, "ada")


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_a_configuration(plugins_bin: Path, tmp_path: Path, name: str):
    """Read as a hub reads it: unknown names, wrong types and plugins that cannot be imported end it."""
    config = ROOT / "examples" / name / "jupyterhub_config.py"
    shown = subprocess.run(
        [plugins_bin / "jupyterhub", "-f", config, "--show-config-json"], cwd=tmp_path, capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    assert "JupyterHub" in json.loads(shown.stdout)
    assert "[W" not in shown.stderr.replace("UserWarning", ""), shown.stderr
