"""``make run``: a hub to try out, on this machine, for one person; no root, no account, nothing to configure.

Writes its configuration and data into ``.demo/`` of the current folder, starts the ordinary ``jupyterhub`` with it, and
prints address, user name and password once it answers.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

USER = "demo"
UP_WITHIN_S = 60

CONFIG = '''\
"""The demo's configuration: written anew at each start by ``python -m jupyterhub.cli.demo``."""

c = get_config()  # noqa: F821

c.JupyterHub.bind_url = "http://127.0.0.1:{port}/"
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api_port}"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = {password!r}
c.Authenticator.allowed_users = {{{user!r}}}
c.Authenticator.admin_users = {{{user!r}}}
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {home!r}
c.Spawner.default_url = "/lab"
c.Spawner.args = {args!r}
c.JupyterHub.allow_named_servers = True
c.ConfigurableHTTPProxy.log_level = "warn"
'''


def main(argv: list[str] | None = None) -> int:
    """Run the demo until it is interrupted; give the hub's exit code."""
    parser = argparse.ArgumentParser(prog="python -m jupyterhub.cli.demo", description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="port of the hub's address")
    parser.add_argument("--folder", type=Path, default=Path(".demo"), help="where configuration and data go")
    options = parser.parse_args(argv)

    folder: Path = options.folder.absolute()
    (folder / "home").mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    password = _password(folder / "password")
    config = folder / "jupyterhub_config.py"
    config.write_text(
        CONFIG.format(
            port=options.port,
            hub_port=options.port + 1,
            api_port=options.port + 2,
            password=password,
            user=USER,
            home=str(folder / "home"),
            # jupyter_server refuses to run as root unless it is told that this is meant: in a container it is
            args=["--allow-root"] if os.geteuid() == 0 else [],
        )
    )
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    hub = subprocess.Popen(
        [sys.executable, "-m", "jupyterhub", "-f", str(config), "--log-level", "ERROR"],
        cwd=folder,
        env={**os.environ, "PATH": path},
    )
    signal.signal(signal.SIGTERM, lambda *_: hub.terminate())
    try:
        if _answers(hub, f"http://127.0.0.1:{options.port}/hub/health"):
            _welcome(options.port, password, folder)
        return hub.wait()
    except KeyboardInterrupt:
        # the terminal has sent the interrupt to the hub as well: it is stopping
        print("\nStopping…", flush=True)
        return hub.wait()


def _password(path: Path) -> str:
    """The password of this folder's demo: made once, readable by its owner only."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(9) + "\n")
    return path.read_text().strip()


def _answers(hub: subprocess.Popen[bytes], url: str) -> bool:
    deadline = time.monotonic() + UP_WITHIN_S
    while time.monotonic() < deadline and hub.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    return False


def _welcome(port: int, password: str, folder: Path) -> None:
    line = "─" * 60
    print(
        f"\n{line}\n"
        f"  The hub is running:  http://127.0.0.1:{port}/\n\n"
        f"  user name:  {USER}\n"
        f"  password:   {password}\n\n"
        f"  Data: {folder}\n"
        f"  Press Ctrl-C to stop it.\n"
        f"{line}\n",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
