from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .calls import Api, serving
from .house_of_tests import SmallHouse, make_template, small_house


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("template") / "hub.sqlite"
    asyncio.run(make_template(str(path)))
    return path


@pytest.fixture
def database(template, tmp_path) -> str:
    """The path of a database of one's own."""
    return shutil.copy(template, tmp_path / "hub.sqlite")


@pytest.fixture
async def house(database) -> AsyncIterator[SmallHouse]:
    async with small_house(database) as house:
        yield house


@pytest.fixture
async def api(house) -> AsyncIterator[Api]:
    async with serving(house) as api:
        yield api
