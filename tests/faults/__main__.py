"""The storm by hand: see ``storm.py``."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from .storm import Plan, Storm

parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
parser.add_argument("--seed", type=int, default=random.randrange(10**6))
parser.add_argument("--seconds", type=float, default=300)
parser.add_argument("--people", type=int, default=40)
parser.add_argument("--hubs", type=int, default=3)
parser.add_argument("--sqlite", action="store_true", help="one hub on SQLite, killed and started again")
given = parser.parse_args()

storm = Storm(Plan(**vars(given)), Path(tempfile.mkdtemp(prefix="jhx-storm-")))
print(f"seed {given.seed}, log in {storm.folder}/hub.log", flush=True)
began = time.monotonic()
storm.run()
print(storm.report())
print(f"{time.monotonic() - began:.0f} s")
for violation in storm.violations:
    print("VIOLATION", violation)
sys.exit(1 if storm.violations else 0)
