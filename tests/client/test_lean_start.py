"""The two imports that a start must not pay for, and that they still work for whoever needs them."""

import subprocess
import sys

import pytest

from .single_user import COMMAND

if "jupyterhub.singleuser" not in COMMAND:
    pytest.skip("about this implementation", allow_module_level=True)


def run(code):
    done = subprocess.run(
        [sys.executable, "-c", f"from jupyterhub.client.singleuser.lean_start import stay_lean; stay_lean()\n{code}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_starting_server_builds_no_grammar_and_runs_no_node(start, tmp_path):
    marker, modules = tmp_path / "node-was-here", tmp_path / "modules.txt"
    node = tmp_path / "bin" / "node"
    node.parent.mkdir()
    node.write_text(f'#!/bin/sh\necho "$@" >> {marker}\n')
    node.chmod(0o755)
    config = tmp_path / ".jupyter" / "jupyter_server_config.py"
    config.parent.mkdir()
    config.write_text(
        "import atexit, pathlib, sys\n"
        f"atexit.register(lambda: pathlib.Path({str(modules)!r}).write_text(' '.join(sys.modules)))\n"
    )
    server = start(environment={"PATH": f"{node.parent}:/usr/bin:/bin"})
    server.wait_until_it_answers()
    assert server.stop() == 0
    loaded = set(modules.read_text().split())
    assert "jupyterlab.labapp" in loaded and "jsonschema" in loaded
    assert not loaded & {"lark", "rfc3987_syntax.syntax_helpers", "sqlalchemy", "alembic", "oauthlib", "aiohttp"}
    # jupyter_lsp asks it for language servers, later
    assert not marker.exists() or "config --json" not in marker.read_text()


def test_iris_are_checked_when_somebody_asks():
    printed = run(
        "import sys\n"
        "from jsonschema import Draft202012Validator as V\n"
        "checker = V.FORMAT_CHECKER\n"
        "before = 'lark' in sys.modules\n"
        "good, bad = (checker.conforms(iri, 'iri') for iri in ('http://example.org/\\u00fc', 'a b'))\n"
        "print(before, good, bad, 'lark' in sys.modules)"
    )
    assert printed == "False True False True"


def test_other_names_of_the_grammar_package_are_the_real_ones():
    printed = run("import rfc3987_syntax as r, sys; print(callable(r.is_valid_syntax_iri), 'lark' in sys.modules)")
    assert printed == "True True"


def test_a_build_of_jupyterlab_still_asks_for_yarns_configuration():
    printed = run("import jupyterlab.labapp, jupyterlab.commands as c; print(c._yarn_config.__module__)")
    assert printed == "jupyterlab.commands"


def test_packages_that_look_different_are_imported_as_they_are(tmp_path):
    (tmp_path / "jupyterlab").mkdir()
    (tmp_path / "jupyterlab" / "__init__.py").touch()
    (tmp_path / "jupyterlab" / "commands.py").touch()
    (tmp_path / "jupyterlab" / "labapp.py").write_text("new = True")
    printed = run(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import jupyterlab.labapp as l; print(l.new)")
    assert printed == "True"
