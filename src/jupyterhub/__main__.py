"""``python -m jupyterhub`` is the command ``jupyterhub``."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
