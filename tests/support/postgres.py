"""A PostgreSQL server of the tests' own: in a folder of its own, on a free port, without care for power cuts."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from .hubs import free_ports

_numbers = count(1)


def postgres_bin() -> Path | None:
    """Where the newest installed server has its programs, None if there is none."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: path.parts[-3].zfill(4))
    return versions[-1].parent if versions else None


@dataclass(frozen=True)
class PostgresServer:
    port: int
    #: run one of its programs: ``run("pg_ctl", "stop", …)``
    run: Callable[..., None]
    #: what it is started with
    options: Sequence[str]

    def start(self) -> None:
        self.run("pg_ctl", "start", "-w", *self.options)

    def stop(self, mode: str = "fast") -> None:
        """Stop it: ``fast`` in good order, ``immediate`` as if it had crashed."""
        self.run("pg_ctl", "stop", "-w", "-m", mode)

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    async def create_database(self) -> str:
        """Make an empty database, which goes with the server; give its name."""
        import asyncpg  # only where it is installed

        name = f"test_{next(_numbers)}"
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()
        return name


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A server that runs until the block ends. It does not run as root, so root becomes the user ``postgres``."""
    programs = postgres_bin()
    assert programs is not None
    as_postgres = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="jhx-pg-"))
    try:
        if as_postgres:
            shutil.chown(folder, "postgres")
        [port] = free_ports(1)
        data = folder / "data"

        def run(program: str, *args: str) -> None:
            command = [*as_postgres, str(programs / program), "-D", str(data), *args]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
            log = (folder / "log").read_text() if (folder / "log").exists() else ""
            assert done.returncode == 0, f"{program}: {done.stdout}\n{done.stderr}\n{log}"

        run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off -c full_page_writes=off"
        server = PostgresServer(port, run, ("-l", str(folder / "log"), "-o", options))
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
