from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.browsers import ARGUMENTS, chromium_path
from tests.support.hubs import Hub


@pytest.fixture(scope="module")
def make_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Hub]]:
    """Makes hubs; all of them are stopped when the module ends."""
    hubs: list[Hub] = []

    def make(extra_config: str = "", folder: Path | None = None, **kwargs: object) -> Hub:
        hub = Hub(folder or tmp_path_factory.mktemp("hub"), extra_config=extra_config, **kwargs)  # type: ignore[arg-type]
        hubs.append(hub)
        return hub

    yield make
    for hub in hubs:
        hub.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    """A running Chromium; each test opens contexts of its own in it."""
    path = chromium_path()
    if path is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium, or set CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()
