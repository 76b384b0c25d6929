"""A coverage-guided fuzzer for the core: ``.venv/bin/python tests/proxyserver/cases/fuzz_core.py --seconds 3600``.

It begins with the messages of the table and looks for bytes whose reading differs from h11's (``core.check``), or that
make the core stumble. What it finds is written to ``crash-…`` in the working directory. ``--corpus DIR`` keeps what it
learns. Needs ``pip install atheris``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["jupyterhub.proxyserver.protocol"]):
    import core

from table import ANSWERS, REQUESTS

KINDS = 3


def one(data: bytes) -> None:
    """The first byte says what it is, the second where it is cut; the rest is what is sent."""
    if len(data) < 3:
        return
    kind, at, message = data[0] % KINDS, data[1], data[2:]
    places = [at] if at else []
    if kind == 0:
        core.check(message, places)
    else:
        core.check_answer(message, b"GET" if kind == 1 else b"HEAD", places)


def write_seeds(directory: Path) -> None:
    for number, row in enumerate(REQUESTS):
        if len(row.sent) < 2000:
            (directory / f"request-{number}").write_bytes(b"\x00\x00" + row.sent)
    for number, row in enumerate(ANSWERS):
        if len(row.upstream[0].data) < 2000:
            (directory / f"answer-{number}").write_bytes(b"\x01\x00" + row.upstream[0].data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, default=None, help="where to keep what was learnt")
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        seeds = Path(directory)
        write_seeds(seeds)
        learnt = [] if options.corpus is None else [str(options.corpus)]
        if options.corpus is not None:
            options.corpus.mkdir(parents=True, exist_ok=True)
        limits = [f"-max_total_time={options.seconds}", "-max_len=2048", f"-seed={options.seed}", "-timeout=5"]
        atheris.Setup([sys.argv[0], *limits, *learnt, str(seeds)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
