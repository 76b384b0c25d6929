"""Servers as processes on this machine: started, found again, stopped, and never as the wrong user."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from contract_world import make_spawner, until

import jupyterhub
from jupyterhub import certificates
from jupyterhub.spawner import LocalProcessSpawner, SimpleLocalProcessSpawner
from jupyterhub.spawners import processes
from jupyterhub.spawners.processes import ProcessId

SLEEP = ["sleep", "600"]
#: ends only by SIGKILL, and says when it is ready to be signalled
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, sys, time, pathlib\n"
    "for s in (signal.SIGINT, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\n"
    "pathlib.Path(sys.argv[1]).touch(); time.sleep(600)",
]
needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("useradd"), reason="needs root and useradd to make system users"
)


@pytest.fixture(params=[True, False], ids=["by-broker", "by-hub"])
async def make(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Make Spawners whose processes end with the test; the one who executes them makes no difference."""
    made = []

    def one(spawner_class: type = SimpleLocalProcessSpawner, **traits: Any) -> Any:
        traits.setdefault("fast_start", request.param)
        if issubclass(spawner_class, SimpleLocalProcessSpawner):
            traits.setdefault("home_dir_template", str(tmp_path / "{username}"))
        spawner = make_spawner(spawner_class, **{"cmd": SLEEP, **traits})
        made.append(spawner)
        return spawner

    yield one
    for spawner in made:
        if await spawner.poll() is None:
            spawner._process.send_to_group(signal.SIGKILL)
            await spawner.wait_for_exit(within_s=5)


@pytest.fixture(scope="module")
def someone() -> Iterator[str]:
    name, group = f"jh-{secrets.token_hex(3)}", f"jhg-{secrets.token_hex(3)}"
    subprocess.run(["groupadd", group], check=True)
    subprocess.run(["useradd", "--create-home", "--shell", "/bin/sh", "--groups", group, name], check=True)
    yield name
    subprocess.run(["userdel", "--remove", name], check=True, stderr=subprocess.DEVNULL)
    subprocess.run(["groupdel", group], check=True)


def successor(spawner: Any) -> Any:
    """The Spawner that another hub (or this one after a restart) makes for the same server."""
    state = json.loads(json.dumps(spawner.get_state()))
    after = make_spawner(type(spawner), name=spawner.user.name, cmd=spawner.cmd)
    after.load_state(state)
    return after


# -- a life


async def test_a_server_starts_runs_and_stops(make):
    spawner = make()
    assert await spawner.poll() == 0, "never started"
    ip, port = await spawner.start()
    assert ip == "127.0.0.1" and port == spawner.port and port > 0
    assert await spawner.poll() is None
    began = time.monotonic()
    await spawner.stop()
    assert await spawner.poll() == -signal.SIGINT
    assert time.monotonic() - began < 1, "the end of the process is noticed at once"
    await spawner.stop()
    spawner.clear_state()
    assert await spawner.poll() == 0 and spawner.get_state() == {}


async def test_a_server_gets_its_environment_its_home_and_no_input(make, tmp_path):
    out = tmp_path / "out"
    spawner = make(cmd=["sh", "-c", f"env > {out}.new; pwd >> {out}.new; cat >> {out}.new; mv {out}.new {out}"])
    await spawner.start()
    await until(out.exists)
    *env, cwd = out.read_text().splitlines()
    assert cwd == str(tmp_path / "ada")
    values = dict(line.split("=", 1) for line in env if "=" in line)
    assert values["USER"] == "ada" and values["HOME"] == cwd and values["SHELL"] == "/bin/bash"
    assert values["JUPYTERHUB_SERVICE_URL"] == f"http://127.0.0.1:{spawner.port}/user/ada/"
    assert values["PATH"] == os.environ["PATH"]


async def test_a_configured_port_is_kept_and_a_chosen_one_is_chosen_anew(make):
    configured = make(port=45671)
    assert (await configured.start())[1] == 45671
    chosen = make()
    first = (await chosen.start())[1]
    await chosen.stop()
    chosen.clear_state()
    assert (await chosen.start())[1] != first


async def test_a_shell_gets_the_command_as_one_argument(make, tmp_path):
    spawner = make(cmd=["touch", str(tmp_path / "two words")], shell_cmd=["sh", "-c"])
    await spawner.start()
    await until((tmp_path / "two words").exists)


async def test_further_popen_arguments_are_used_except_the_environment(make, tmp_path):
    out = tmp_path / "out"
    with out.open("w") as stdout:
        first = f"open({str(tmp_path / 'first')!r}, 'w').close()"
        spawner = make(
            cmd=["sh", "-c", "echo said $FROM_POPEN"],
            popen_kwargs={"stdout": stdout, "env": {"FROM_POPEN": "x"}, "preexec_fn": lambda: exec(first)},
        )
        await spawner.start()
    assert await spawner.wait_for_exit(within_s=5)
    assert out.read_text() == "said\n" and (tmp_path / "first").exists()


async def test_the_end_of_a_server_is_noticed_at_once(make):
    spawner = make(cmd=["sh", "-c", "exit 7"])
    await spawner.start()
    began = time.monotonic()
    assert await spawner.wait_for_exit(within_s=10)
    assert await spawner.poll() == 7 and time.monotonic() - began < 2


async def test_waiting_for_the_end_has_an_end(make):
    spawner = make()
    await spawner.start()
    assert not await spawner.wait_for_exit(within_s=0.05)


async def test_a_command_that_is_not_there_is_an_error(make):
    spawner = make(cmd=["/no/such/command"])
    with pytest.raises(FileNotFoundError):
        await spawner.start()
    assert await spawner.poll() is not None


# -- stopping


async def test_who_ignores_signals_is_killed_in_the_end(make, tmp_path):
    spawner = make(cmd=[*STUBBORN, str(tmp_path / "ready")], interrupt_timeout=0, term_timeout=0)
    await spawner.start()
    await until((tmp_path / "ready").exists)
    await spawner.stop()
    assert await spawner.poll() == -signal.SIGKILL


async def test_stopping_now_skips_the_first_signal(make):
    spawner = make()
    await spawner.start()
    await spawner.stop(now=True)
    assert await spawner.poll() == -signal.SIGTERM


async def test_a_kill_takes_the_children_of_the_server_along(make, tmp_path):
    note = tmp_path / "child"
    script = f"trap '' INT TERM; sleep 600 & echo $! > {note}.new; mv {note}.new {note}; while true; do wait; done"
    spawner = make(cmd=["sh", "-c", script], interrupt_timeout=0, term_timeout=0)
    await spawner.start()
    await until(note.exists)
    child = ProcessId.of(int(note.read_text()))
    assert child is not None
    await spawner.stop()
    assert await child.wait_gone(within_s=5)


# -- found again


async def test_another_hub_finds_the_server_and_can_stop_it(make):
    spawner = make()
    await spawner.start()
    assert {"pid", "pid_start_time", "boot_id"} <= set(spawner.get_state())
    after = successor(spawner)
    assert await after.poll() is None
    await after.stop()
    assert await after.poll() is not None


async def test_a_server_that_died_unwatched_is_dead_though_nobody_reaped_it(make):
    spawner = make()
    await spawner.start()
    after = successor(spawner)
    os.kill(spawner.pid, signal.SIGKILL)
    assert await after.wait_for_exit(within_s=5)
    assert await after.poll() == -signal.SIGKILL, "it is a child of ours, so its status can be had"
    assert await after.poll() == -signal.SIGKILL


@pytest.mark.parametrize("change", [{"pid_start_time": 1}, {"boot_id": "another boot"}])
async def test_another_process_with_the_same_number_is_not_the_server(make, change):
    spawner = make()
    await spawner.start()
    after = make_spawner(SimpleLocalProcessSpawner)
    after.load_state({**spawner.get_state(), **change})
    assert await after.poll() == 0
    await after.stop()
    assert await spawner.poll() is None, "and is not signalled"


async def test_the_state_that_the_original_wrote_is_believed_if_it_fits(make):
    spawner = make()
    await spawner.start()
    after = make_spawner(SimpleLocalProcessSpawner)
    after.load_state({"pid": spawner.pid})
    assert await after.poll() is None
    assert "pid_start_time" in after.get_state(), "from now on it cannot be mistaken"


async def test_a_number_alone_of_a_process_that_leads_no_session_is_not_believed():
    ours = subprocess.Popen(SLEEP)
    try:
        after = make_spawner(SimpleLocalProcessSpawner)
        after.load_state({"pid": ours.pid})
        assert await after.poll() == 0
    finally:
        ours.kill()
        ours.wait()


async def test_states_of_other_spawners_are_ignored():
    for state in ({}, {"pid": 0}, {"pid": "x"}, {"pid": None}):
        after = make_spawner(SimpleLocalProcessSpawner)
        after.load_state(state)
        assert await after.poll() == 0


# -- nothing runs that nobody knows of


async def test_the_state_is_kept_before_the_program_runs(make, tmp_path):
    seen: dict[str, Any] = {}
    spawner = make(cmd=["touch", str(tmp_path / "ran")])

    async def keep() -> None:
        seen.update(spawner.get_state())
        await asyncio.sleep(0.1)
        seen["ran"] = (tmp_path / "ran").exists()

    spawner.save_state_early = keep
    await spawner.start()
    await until((tmp_path / "ran").exists)
    assert seen["pid"] == spawner.pid and "pid_start_time" in seen and not seen["ran"]


async def test_a_state_that_cannot_be_kept_leaves_no_process_behind(make, tmp_path):
    spawner = make(cmd=["touch", str(tmp_path / "ran")])

    async def keep() -> None:
        raise RuntimeError("another hub has it")

    spawner.save_state_early = keep
    with pytest.raises(RuntimeError, match="another hub"):
        await spawner.start()
    assert await spawner.wait_for_exit(within_s=5)
    assert not (tmp_path / "ran").exists()


async def test_a_start_that_is_cancelled_leaves_no_process_behind(make, tmp_path):
    spawner, saving = make(cmd=["touch", str(tmp_path / "ran")]), asyncio.Event()

    async def keep() -> None:
        saving.set()
        await asyncio.sleep(3600)

    spawner.save_state_early = keep
    start = asyncio.create_task(spawner.start())
    await saving.wait()
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert await spawner.wait_for_exit(within_s=5)
    assert not (tmp_path / "ran").exists()


async def test_a_server_ends_by_the_first_signal_though_the_hub_ignores_it(make):
    """As a hub does that a shell has started in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        spawner = make()
        await spawner.start()
    finally:
        signal.signal(signal.SIGINT, before)
    await spawner.stop()
    assert await spawner.poll() == -signal.SIGINT


async def test_several_starts_at_once_do_not_hinder_each_other(make):
    spawners = [make(name=f"user{i}") for i in range(8)]
    async with asyncio.timeout(20):
        await asyncio.gather(*(spawner.start() for spawner in spawners))
    assert [await spawner.poll() for spawner in spawners] == [None] * 8
    async with asyncio.timeout(20):
        await asyncio.gather(*(spawner.stop() for spawner in spawners))


# -- as whom


async def test_a_user_that_the_system_does_not_know_is_told_so(make):
    spawner = make(LocalProcessSpawner, name="nobody-of-this-name")
    with pytest.raises(RuntimeError, match="no system user 'nobody-of-this-name'") as caught:
        await spawner.start()
    assert "nobody-of-this-name" in caught.value.jupyterhub_message
    assert await spawner.poll() == 0


async def test_a_wrong_placeholder_is_not_taken_for_a_missing_user(make):
    me = pwd.getpwuid(os.geteuid()).pw_name
    with pytest.raises(KeyError, match="usrname"):
        await make(LocalProcessSpawner, name=me, notebook_dir="{usrname}").start()


@needs_root
@pytest.mark.root
async def test_the_server_is_its_user_and_nobody_else(make, someone, tmp_path):
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    out = Path("/tmp") / f"jh-out-{secrets.token_hex(4)}"
    script = f"(id -un; id -gn; id -Gn; pwd; echo $HOME $SHELL $USER; grep CapEff /proc/self/status) > {out}.new"
    spawner = make(LocalProcessSpawner, name=someone, cmd=["sh", "-c", f"{script}; mv {out}.new {out}"])
    await spawner.start()
    await until(out.exists)
    user, group, groups, cwd, env, caps = out.read_text().splitlines()
    out.unlink()
    entry = pwd.getpwnam(someone)
    assert (user, group, cwd) == (someone, someone, entry.pw_dir)
    assert env == f"{entry.pw_dir} /bin/sh {someone}"
    expected = subprocess.run(["id", "-Gn", someone], capture_output=True, text=True, check=True).stdout
    assert sorted(groups.split()) == sorted(expected.split())
    assert int(caps.split()[1], 16) == 0


@needs_root
@pytest.mark.root
@pytest.mark.parametrize("step", ["setgroups", "setresgid", "setresuid"])
async def test_nothing_runs_if_becoming_the_user_fails(make, someone, monkeypatch, tmp_path, step):
    def fails(*args: Any) -> None:
        raise OSError("no")

    monkeypatch.setattr(os, step, fails)
    spawner = make(LocalProcessSpawner, name=someone, cmd=["touch", str(tmp_path / "ran")], fast_start=False)
    with pytest.raises(PermissionError, match="could not become"):
        await spawner.start()
    assert not (tmp_path / "ran").exists() and await spawner.poll() is not None


@needs_root
@pytest.mark.root
@pytest.mark.parametrize("step", ["setgroups", "setresgid", "setresuid"])
async def test_nothing_runs_if_a_step_did_nothing(make, someone, monkeypatch, tmp_path, step):
    """Each step is read back from the kernel, not believed."""
    monkeypatch.setattr(os, step, lambda *args: None)
    if step == "setgroups":
        # the groups of the one who runs these tests may be none
        monkeypatch.setattr(os, "getgroups", lambda: [0, 27])
    spawner = make(LocalProcessSpawner, name=someone, cmd=["touch", str(tmp_path / "ran")], fast_start=False)
    with pytest.raises(PermissionError, match="could not become"):
        await spawner.start()
    assert not (tmp_path / "ran").exists()


@needs_root
@pytest.mark.root
async def test_a_missing_home_is_no_reason_not_to_start(make, someone, monkeypatch):
    entry = pwd.getpwnam(someone)
    subprocess.run(["usermod", "--home", "/tmp/no-such-home-of-anybody/deeper", someone], check=True)
    try:
        out = Path("/tmp") / f"jh-out-{secrets.token_hex(4)}"
        spawner = make(LocalProcessSpawner, name=someone, cmd=["sh", "-c", f"pwd > {out}.new; mv {out}.new {out}"])
        await spawner.start()
        await until(out.exists)
        assert out.read_text() == "/tmp\n"
        out.unlink()
    finally:
        subprocess.run(["usermod", "--home", entry.pw_dir, someone], check=True)


@needs_root
@pytest.mark.root
async def test_a_certificate_is_moved_to_the_home_by_its_user(make, someone, tmp_path):
    made = certificates.prepare(tmp_path)
    given = {"internal_certs_location": str(tmp_path), "internal_trust_bundles": dict(made.trust_bundles)}
    spawner = make(LocalProcessSpawner, name=someone, server="gpu", **given)
    created = spawner.create_certs()
    key = Path(created["keyfile"]).read_bytes()
    moved = await spawner.move_certs(created)
    home = Path(pwd.getpwnam(someone).pw_dir)
    assert all(Path(path).is_relative_to(home / ".jupyterhub" / "jupyterhub-certs") for path in moved.values())
    for path in map(Path, moved.values()):
        assert path.owner() == someone and path.stat().st_mode & 0o777 == 0o600
    assert Path(moved["keyfile"]).read_bytes() == key and not Path(created["keyfile"]).exists()

    shutil.rmtree(home / ".jupyterhub")
    (home / ".jupyterhub").symlink_to("/etc")
    with pytest.raises(RuntimeError, match="cannot be written"):
        await spawner.move_certs(spawner.create_certs())
    (home / ".jupyterhub").unlink()
    assert not Path("/etc/jupyterhub-certs").exists(), "root follows no link of a user's"


@needs_root
@pytest.mark.root
def test_a_hub_that_is_not_root_starts_servers_for_itself_only(someone):
    """In a process of its own, as that user: becoming oneself changes nothing, becoming root fails."""
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from jupyterhub.spawners.processes import become\n"
        "become(sys.argv[2])(); print(os.getcwd())\n"
        "try: become('root')()\n"
        "except PermissionError as error: print('refused')\n"
    )
    package = Path(jupyterhub.__file__).parent
    copy = Path("/tmp") / f"jh-processes-{secrets.token_hex(4)}"  # where that user can read it
    for folder in ("words", "localproc", "spawners"):
        shutil.copytree(package / folder, copy / "jupyterhub" / folder)
    shutil.copy(package / "__init__.py", copy / "jupyterhub")
    entry = pwd.getpwnam(someone)
    try:
        found = subprocess.run(
            ["/usr/bin/python3", "-B", "-c", script, str(copy), someone],
            user=entry.pw_uid,
            group=entry.pw_gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        shutil.rmtree(copy)
    assert found.stdout.split() == [entry.pw_dir, "refused"], found.stderr


# -- without help of the kernel


async def test_without_pidfds_the_end_is_noticed_by_looking(make, monkeypatch):
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    spawner = make()
    await spawner.start()
    await spawner.stop()
    assert await spawner.poll() == -signal.SIGINT


async def test_a_process_id_is_never_fooled_by_zombies():
    child = subprocess.Popen(["true"])
    await until(lambda: processes.read_stat(child.pid).is_dead)  # type: ignore[union-attr]
    assert ProcessId.of(child.pid) is None
    assert await ProcessId(child.pid).wait_gone(within_s=1)
    assert not ProcessId(child.pid).send(signal.SIGTERM)
    child.wait()
