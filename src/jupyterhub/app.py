"""The public name of the hub's application; it lives in ``jupyterhub.cli.app``."""

import sys

from .cli.app import JupyterHub, NewToken, UpgradeDB
from .cli.main import main

__all__ = ["JupyterHub", "NewToken", "UpgradeDB", "main"]

if __name__ == "__main__":
    sys.exit(main())
