"""The file that holds the number of the hub's process while it runs (``JupyterHub.pid_file``)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jupyterhub.words.errors import ConfigurationError


@contextmanager
def pid_file(name: str) -> Iterator[None]:
    """Hold a pid file; "" for none. A left-over one is replaced, one that somebody else has written since is left."""
    if not name:
        yield
        return
    path, pid = Path(name).absolute(), str(os.getpid())
    try:
        path.write_text(pid)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot write the pid file {path} ({error.strerror}). Change JupyterHub.pid_file or make its directory "
            "writable for the hub."
        ) from error
    try:
        yield
    finally:
        try:
            if path.read_text() == pid:
                path.unlink()
        except OSError:
            pass
