"""Real spawners from the registry: a server starts, answers its owner through the proxy, and stops."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.hubs import Hub, free_ports
from tests.support.waiting import wait_until

from .docker_engine import IMAGE, Engine

pytestmark = pytest.mark.slow

AS_ROOT = ["--allow-root"] if os.geteuid() == 0 else []
#: somebody with an account on this machine: these spawners start processes as that user
ME = "root" if os.geteuid() == 0 else os.environ.get("USER", "")
ALLOWS = "c.Authenticator.allow_all = True\n"


def start(hub: Hub, user: str, name: str = "", **options: object) -> httpx.Response:
    """Start a server and wait until it is ready."""
    hub.api("POST", f"users/{user}")
    path = f"users/{user}/servers/{name}" if name else f"users/{user}/server"
    answer = hub.api("POST", path, json=options)
    if answer.status_code == 202:
        with httpx.stream(
            "GET",
            f"{hub.url}hub/api/{path}/progress",
            headers={"Authorization": f"token {hub.token}"},
            timeout=90,
        ) as events:
            last = [line for line in events.iter_lines() if line.startswith("data:")][-1]
        assert '"ready": true' in last, last + hub.log[-4000:]
    else:
        assert answer.status_code == 201, answer.text + hub.log[-4000:]
    return answer


def status_of(hub: Hub, user: str) -> httpx.Response:
    """What the server of a user answers at its own API, asked through the proxy."""
    headers = {"Authorization": f"token {hub.token}"}
    return httpx.get(f"{hub.url}user/{user}/api/status", headers=headers, timeout=30, follow_redirects=True)


def stop(hub: Hub, user: str) -> None:
    assert hub.api("DELETE", f"users/{user}/server").status_code == 204
    assert hub.server(user) is None
    assert status_of(hub, user).status_code == 424


def script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_wrapspawner_starts_the_chosen_profile(make_hub, tmp_path):
    hub = make_hub(
        f"""
from jupyterhub.spawner import SimpleLocalProcessSpawner
c.JupyterHub.spawner_class = "wrapspawner.ProfilesSpawner"
c.Spawner.env_keep = ["PATH"]
c.ProfilesSpawner.profiles = [
    ("Nothing", "nothing", SimpleLocalProcessSpawner, {{"cmd": ["false"]}}),
    ("Local", "local", SimpleLocalProcessSpawner, {{"args": {AS_ROOT!r}, "home_dir_template": "{tmp_path}/home"}}),
]
"""
    )
    start(hub, "ada", profile="local")
    assert status_of(hub, "ada").json()["kernels"] == 0
    # what runs is found again by the next life of the hub
    hub.kill()
    hub.start()
    assert status_of(hub, "ada").status_code == 200
    stop(hub, "ada")


SLURM = {
    "sbatch": """#!/bin/sh
# a batch system of one machine: the job is a process, its number the process's
cat > job.$$.sh
setsid sh job.$$.sh > job.$$.log 2>&1 &
echo $!
""",
    "squeue": """#!/bin/sh
while [ "$1" != -j ]; do shift; done
kill -0 "$2" 2>/dev/null && echo "RUNNING localhost"
exit 0
""",
    "scancel": """#!/bin/sh
kill -- -"$1"
""",
}


def test_batchspawner_submits_a_job_that_tells_its_port(make_hub, plugins_bin, tmp_path):
    """SlurmSpawner as it is; the three commands of Slurm are scripts. The job calls back at an API of the plugin's."""
    commands = tmp_path / "slurm"
    commands.mkdir()
    for name, text in SLURM.items():
        script(commands / name, text)
    hub = make_hub(
        f"""
import batchspawner
c.JupyterHub.spawner_class = "batchspawner.SlurmSpawner"
c.Spawner.env_keep = ["PATH"]
c.BatchSpawnerBase.exec_prefix = ""
c.BatchSpawnerBase.batchspawner_singleuser_cmd = "{plugins_bin}/batchspawner-singleuser"
c.BatchSpawnerBase.startup_poll_interval = 0.2
c.SlurmSpawner.batch_script = "#!/bin/sh\\nexec {{{{cmd}}}}\\n"
c.Spawner.start_timeout = 60
""",
        env={"PATH": f"{plugins_bin}:{commands}:{os.environ['PATH']}"},
    )
    start(hub, ME)
    assert status_of(hub, ME).status_code == 200
    stop(hub, ME)


@pytest.mark.skipif(shutil.which("sudo") is None, reason="needs sudo")
def test_sudospawner_starts_through_sudo(make_hub, plugins_bin):
    hub = make_hub(
        f"""
c.JupyterHub.spawner_class = "sudospawner.SudoSpawner"
c.SudoSpawner.sudospawner_path = "{plugins_bin}/sudospawner"
"""
    )
    start(hub, ME)
    assert status_of(hub, ME).status_code == 200
    assert servers_of(hub)
    hub.kill()
    hub.start()
    assert status_of(hub, ME).status_code == 200
    stop(hub, ME)
    wait_until(lambda: not servers_of(hub), within_s=5, what="the end of the server's process")


def servers_of(hub: Hub) -> list[psutil.Process]:
    """The processes on this machine that were told to be servers of this hub."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if f":{hub.hub_port}/" in process.environ().get("JUPYTERHUB_API_URL", ""):
                found.append(process)
    return found


def test_dockerspawner_starts_a_container_and_goes_on_with_it(make_hub, plugins_bin, tmp_path):
    """A container that is not removed keeps the token of its first start: the hub takes that one for valid."""
    [port] = free_ports(1)
    with Engine(tmp_path, f"{plugins_bin}:{os.environ['PATH']}") as engine:
        hub = make_hub(
            f"""
c.JupyterHub.spawner_class = "docker"
c.DockerSpawner.client_kwargs = {{"base_url": "{engine.url}", "version": "1.41"}}
c.DockerSpawner.image = "{IMAGE}"
c.DockerSpawner.use_internal_ip = True
c.DockerSpawner.port = {port}
c.DockerSpawner.remove = False
"""
        )
        start(hub, "ada")
        [container] = engine.containers.values()
        assert status_of(hub, "ada").status_code == 200, hub.log[-3000:]
        hub.kill()
        hub.start()
        assert status_of(hub, "ada").status_code == 200
        stop(hub, "ada")
        assert not container.running and list(engine.containers.values()) == [container]
        start(hub, "ada")
        assert container.starts == 2
        assert status_of(hub, "ada").status_code == 200, hub.log[-3000:]
        stop(hub, "ada")


def test_dockerspawner_shows_why_there_is_no_image(make_hub, plugins_bin, tmp_path):
    with Engine(tmp_path, "") as engine:
        hub = make_hub(
            f"""
c.JupyterHub.spawner_class = "docker"
c.DockerSpawner.client_kwargs = {{"base_url": "{engine.url}", "version": "1.41"}}
c.DockerSpawner.image = "nothing:1"
c.DockerSpawner.pull_policy = "never"
"""
        )
        hub.api("POST", "users/ada")
        assert hub.api("POST", "users/ada/server").status_code == 500
        assert "No such image" in hub.log
