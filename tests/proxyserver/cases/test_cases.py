"""The table, row by row, against one real proxy."""

from __future__ import annotations

import pytest
from rows import Row, identity
from table import ROWS
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


def test_no_two_rows_have_one_name():
    names = [identity(row) for row in ROWS]
    assert sorted(names) == sorted(set(names))
    assert len(names) >= 250
