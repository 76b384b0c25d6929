"""A hub that is started as root and becomes somebody else: nothing that the network reaches has root's rights."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from jupyterhub.localproc import cgroups
from tests.support.hubs import Hub
from tests.support.system_users import readable_singleuser, system_users
from tests.support.waiting import wait_until

from .conftest import brokers_of
from .house import House, command_line, seen_outside

__all__ = ["system_users"]

pytestmark = [pytest.mark.slow, pytest.mark.root]

NAME = "jhx-hub"
CONFIG = """
c.JupyterHub.run_as = "jhx-hub"
c.JupyterHub.authenticator_class = "pam"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "localprocess"
c.Spawner.args = []
c.Spawner.mem_limit = "1G"
c.JupyterHub.cookie_secret_file = {folder!r} + "/secret"
c.JupyterHub.db_url = "sqlite:///" + {folder!r} + "/hub.sqlite"
async def which(spawner):
    spawner.fast_start = spawner.user.name != "jhx-max"
c.Spawner.pre_spawn_hook = which
"""


@pytest.fixture
def house(system_users: dict[str, str], runtime_directory: Path) -> Iterator[House]:
    command = Path(readable_singleuser())
    subprocess.run(["userdel", "-f", NAME], capture_output=True, check=False)
    subprocess.run(["useradd", "--system", "--shell", "/usr/sbin/nologin", NAME], check=True)
    folder = Path(tempfile.mkdtemp(prefix="jhx-run-as-"))
    folder.chmod(0o755)
    os.chown(folder, pwd.getpwnam(NAME).pw_uid, -1)
    runtime_directory.chmod(0o711)
    config = CONFIG.format(folder=str(folder))
    hub = Hub(folder, config, env={"JUPYTERHUB_RUNTIME_DIR": str(runtime_directory)}, bin=command.parent)
    try:
        yield House(hub, lambda: [b for b in brokers_of(runtime_directory) if "--allow-user" in command_line(b)])
    finally:
        hub.close()
        wait_until(lambda: not _of(NAME), what="the end of all that the hub's user runs")
        subprocess.run(["userdel", "-f", NAME], check=True, capture_output=True)
        shutil.rmtree(folder)


def _of(user: str) -> list[psutil.Process]:
    uid = pwd.getpwnam(user).pw_uid
    return [
        process
        for process in psutil.process_iter(["uids", "status"])
        if process.info["uids"].real == uid and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def test_people_log_in_by_pam_and_get_servers_of_their_own(house: House, system_users: dict[str, str]) -> None:
    house.hub.start()
    assert house.hub.process is not None
    hub = psutil.Process(house.hub.process.pid)
    proxies = [child for child in hub.children(recursive=True) if "proxyserver" in command_line(child)]
    assert proxies
    for process in (hub, *proxies):
        status = seen_outside(process.pid)["status"]
        assert set(map(int, status["Uid"].split())) == {pwd.getpwnam(NAME).pw_uid}
        assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapInh")} == {1 << 10}, (
            "low ports, nothing else"
        )
    house.wait_until_warm()

    for name, password in system_users.items():
        assert "Invalid username or password" in house.log_in(name, "not the password")
        assert "Invalid username or password" not in house.log_in(name, password)
        state = house.start(name)
        assert state["started_by"] == ("exec" if name == "jhx-max" else "fork"), state
        status = seen_outside(state["pid"])["status"]
        assert set(map(int, status["Uid"].split())) == {pwd.getpwnam(name).pw_uid}
        assert {int(status[each], 16) for each in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {0}
        groups = cgroups.Group.of(state["pid"], state["pid_start_time"]).places
        assert not groups or any(folder.exists() for _, folder in groups), "the broker may make them"
        assert house.get(name, "api/contents").status_code == 200
        if name == "jhx-max":
            house.stop(name)
        else:
            os.kill(state["pid"], signal.SIGKILL)
            wait_until(lambda: house.hub.server("jhx-eve") is None, what="the end of a killed server")
            assert "the server ended with status -9" in house.hub.log


#: what the hub's user could try: the broker's address, and one question with a name for it
ATTACK = """
import json, os, socket, sys
sys.path.insert(0, sys.argv[1])
from jupyterhub.localproc import wire
from jupyterhub.localproc.newborn import Start
address, user = sys.argv[2], sys.argv[3]
sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
sock.connect(address)
def ask(message, fds=()):
    wire.send(sock, {"id": 1, **message}, fds)
    return wire.receive(sock)[0]
def start(**message):
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    request = Start(argv=("id",), env={}, directory=None, umask=0, limits={}, may_gain_rights=True).to_memory_file()
    return ask({"do": "start", "how": "cold", **message}, [request, 0, 1, 2, its.fileno()])
kind = {"interpreter": sys.executable, "early": {}}
victim = {"pid": int(sys.argv[4]), "start_time": int(sys.argv[5])}
print(json.dumps({
    "as root": start(user="root"),
    "as itself": start(user=user),
    "as daemon": start(user="daemon"),
    "as whoever the broker is": start(user=None),
    "warm without another user": ask({"do": "warm_up", "switches_users": False, **kind}),
    "kill": ask({"do": "signal", **victim, "signal": 9, "to_group": True}),
    "limit": ask({"do": "limit", **victim, "limits": {"memory": 1}}),
    "nonsense": ask({"do": "signal", "pid": "x"}),
}))
"""


def test_the_hubs_user_gets_nothing_of_root_from_the_broker(
    house: House, runtime_directory: Path, system_users: dict[str, str]
) -> None:
    house.hub.start()
    [address] = runtime_directory.glob(f"*-{pwd.getpwnam(NAME).pw_uid}.sock")
    start_time = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    [packages] = house.hub.bin.parent.glob("lib/python3*/site-packages")

    def attack(user: str) -> subprocess.CompletedProcess[str]:
        arguments = [str(packages), str(address), user, str(os.getpid()), start_time]
        return subprocess.run(
            [str(house.hub.bin / "python3"), "-B", "-c", ATTACK, *arguments],
            user=user, group=pwd.getpwnam(user).pw_gid, extra_groups=[], cwd="/", capture_output=True, text=True,
            check=False,
        )  # fmt: skip

    done = attack(NAME)
    answers = json.loads(done.stdout)
    assert all("refused" in answer for answer in answers.values()), answers
    assert "user of the system" in answers["as root"]["refused"]
    assert "makes no sense" in answers["nonsense"]["refused"]
    # others cannot even connect
    assert "Permission" in attack("jhx-eve").stderr


def test_what_is_wrong_is_said_before_anything_runs(house: House) -> None:
    os.chown(house.hub.folder, 0, 0)
    for config, words in (
        ("", "cannot be written by jhx-hub"),
        ('\nc.JupyterHub.run_as = "jhx-nobody-there"', "there is no user"),
        ('\nc.JupyterHub.run_as = "root"', "name a user without rights"),
    ):
        extra = house.hub.extra_config
        house.hub.extra_config = extra + config
        with pytest.raises(AssertionError, match="the hub ended with 1"):
            house.hub.start()
        assert words in house.hub.log
        house.hub.extra_config, house.hub.process = extra, None
    os.chown(house.hub.folder, pwd.getpwnam(NAME).pw_uid, 0)


def test_the_command_says_what_it_needs() -> None:
    def said(*arguments: str) -> str:
        command = [str(Path(sys.executable).parent / "python"), "-m", "jupyterhub.localproc.broker", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode != 0
        return done.stderr

    assert "say where to listen" in said()
    assert "no-such-user" in said("--socket", "/tmp/x.sock", "--allow-user", "no-such-user")


def test_with_internal_ssl_each_server_has_its_certificate_in_its_home(
    house: House, system_users: dict[str, str]
) -> None:
    house.hub.extra_config += (
        "\nc.JupyterHub.internal_ssl = True"
        '\nc.ConfigurableHTTPProxy.api_url = c.ConfigurableHTTPProxy.api_url.replace("http:", "https:")\n'
    )
    house.hub.start()
    name, password = next(iter(system_users.items()))
    house.log_in(name, password)
    house.start(name)
    assert house.get(name, "api/contents").status_code == 200
    folder = Path(pwd.getpwnam(name).pw_dir) / ".jupyterhub" / "jupyterhub-certs" / f"user-{name}"
    assert {path.name for path in folder.iterdir()} == {
        f"user-{name}.key",
        f"user-{name}.crt",
        "notebooks-ca_trust.crt",
    }
    assert {(path.owner(), path.stat().st_mode & 0o777) for path in folder.iterdir()} == {(name, 0o600)}
    assert (house.hub.folder / "internal-ssl/hub-ca/hub-ca.key").owner() == NAME
    house.stop(name)
