"""The table, row by row, against one real proxy."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from rows import HOST, OK, AfterAnswers, Row, Seen, identity, request
from table import REQUESTS, ROWS
from wire import Upstream, carry_out, differences


def parameter(row: Row) -> object:
    marks = [pytest.mark.xfail(strict=True, reason=row.not_yet)] if row.not_yet else []
    return pytest.param(row, id=identity(row), marks=marks)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("row", [parameter(row) for row in ROWS])
async def test_row(row: Row, proxies, upstream: Upstream):
    outcome = await carry_out(row, proxies.port(*row.flags), upstream)
    wrong = differences(row, outcome, upstream.port)
    assert not wrong, "\n".join(wrong)


BEHIND = [
    row
    for row in REQUESTS
    if not row.seen and not row.flags and len(row.gets) == 1 and row.gets[0] not in (413, 417) and row.upstream == (OK,)
]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("row", [parameter(row) for row in BEHIND])
async def test_row_behind_a_good_request_with_the_same_fields(row: Row, proxies, upstream: Upstream):
    """What is known of a connection from its first request must not make the second one pass."""
    lines = row.sent.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:20]
    fields = [
        f.decode() for f in lines[:20] if len(f) < 100 and re.fullmatch(rb"X-[\w-]+: [\x20-\x7e]+|User-Agent: .*", f)
    ]
    second = replace(
        row,
        steps=(request(*fields), AfterAnswers(1), *row.steps),
        gets=(200, *row.gets),
        seen=(Seen("GET / HTTP/1.1", (f"Host: {HOST}", *fields)),),
    )
    outcome = await carry_out(second, proxies.port(), upstream)
    wrong = differences(second, outcome, upstream.port)
    assert not wrong, "\n".join(wrong)


def test_no_two_rows_have_one_name():
    names = [identity(row) for row in ROWS]
    assert sorted(names) == sorted(set(names))
    assert len(names) >= 250
