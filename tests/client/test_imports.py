"""What runs in users' servers and services pulls in no package of the hub: every container would pay for it."""

import subprocess
import sys

import pytest

OF_THE_HUB = "sqlalchemy alembic aiosqlite asyncpg oauthlib pamela certipy cryptography jupyterhub.hub"
#: jupyter_server itself needs these
OF_THE_SERVER = "prometheus_client jinja2 jupyter_server jupyter_core jupyter_events zmq"

BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if any(name == b or name.startswith(b + ".") for b in {blocked!r}.split()):
            raise AssertionError("imported " + name)
sys.meta_path.insert(0, Blocked())
"""


@pytest.mark.parametrize(
    ("module", "blocked"),
    [
        ("jupyterhub.services.auth", f"{OF_THE_HUB} {OF_THE_SERVER}"),
        ("jupyterhub.singleuser", f"{OF_THE_HUB} {OF_THE_SERVER} tornado traitlets"),
        ("jupyterhub.singleuser.extension", OF_THE_HUB),
        ("jupyterhub.singleuser.mixins", OF_THE_HUB),
    ],
)
def test_no_package_of_the_hub_is_needed(module, blocked):
    code = BLOCK.format(blocked=blocked) + f"import {module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
