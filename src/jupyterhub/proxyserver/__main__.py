"""``python -m jupyterhub.proxyserver``: the same as the console script ``jupyterhub-proxy``."""

from __future__ import annotations

import sys

from .main import main

sys.exit(main())
