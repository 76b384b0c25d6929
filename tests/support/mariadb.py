"""A MariaDB server of the tests' own: in a folder of its own, on a free port, without care for power cuts."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from .hubs import free_ports
from .waiting import wait_until

_numbers = count(1)


def has_mariadb() -> bool:
    """Whether this machine has the programs of the server."""
    return shutil.which("mariadbd") is not None and shutil.which("mariadb-install-db") is not None


@dataclass(frozen=True)
class MariaDBServer:
    port: int
    socket: Path

    def url(self, database: str) -> str:
        """As people have it in their configuration: with the driver of the original."""
        return f"mysql+pymysql://tests:secret@127.0.0.1:{self.port}/{database}"

    def run(self, statements: str) -> str:
        command = ["mariadb", f"--socket={self.socket}", "--user=root", "--batch", f"--execute={statements}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def create_database(self) -> str:
        """Make an empty database, which goes with the server; give its name."""
        name = f"test_{next(_numbers)}"
        self.run(
            f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin; "
            f"GRANT ALL ON {name}.* TO tests@'127.0.0.1'"
        )
        return name


@contextmanager
def running_mariadb() -> Iterator[MariaDBServer]:
    """A server that runs until the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="jhx-maria-"))
    as_user = ["--user=root"] if os.geteuid() == 0 else []
    socket, log = folder / "socket", folder / "log"
    [port] = free_ports(1)
    data = f"--datadir={folder / 'data'}"
    try:
        install = ["mariadb-install-db", "--no-defaults", data, "--auth-root-authentication-method=normal", *as_user]
        done = subprocess.run(install, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    "mariadbd",
                    "--no-defaults",
                    data,
                    f"--port={port}",
                    "--bind-address=127.0.0.1",
                    "--skip-name-resolve",
                    f"--socket={socket}",
                    "--innodb-flush-log-at-trx-commit=0",
                    *as_user,
                ],
                stdout=output,
                stderr=output,
            )
        try:
            server = MariaDBServer(port, socket)
            wait_until(lambda: socket.exists() or process.poll() is not None, within_s=60, what=log.read_text())
            server.run("CREATE USER tests@'127.0.0.1' IDENTIFIED BY 'secret'")
            yield server
        finally:
            process.kill()
            process.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
