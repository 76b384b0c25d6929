"""``jupyterhub``: the front door. Answers ``--version`` by itself and hands everything else to the applications."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jupyterhub.words.version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; give its exit status (cli.md §1)."""
    argv = sys.argv[1:] if argv is None else argv
    if "--version" in argv or "-V" in argv:
        # scripts ask for it often, and the rest of the program takes longer to load than to say it
        print(__version__)
        return 0
    from .app import JupyterHub, launch

    return launch(JupyterHub, argv)
