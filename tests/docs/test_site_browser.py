"""The built site in headless Chromium: nothing sticks out sideways, nothing is loaded from elsewhere."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SITE = Path(__file__).parent.parent.parent / "build" / "docs"
PAGES = [
    "index.html",
    "tutorial.html",
    "cascade.html",
    "results/baselines.html",
    "results/pilot.html",
    "results/hour.html",
    "scaling.html",
    "results/baselines/report.html",
    "reference/nn.html",
    "reference/diffusion.html",
    "reference/configs.html",
    "reference/commands.html",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (SITE / "index.html").is_file(), reason="needs the site that `make docs` builds"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_the_window_and_loads_nothing_from_elsewhere(browser: Any, name: str, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto((SITE / name).as_uri())

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert all(url.startswith(("file:", "data:")) for url in requested)
    assert page.locator("article h1").count() == 1
    assert page.locator(".sidebar-tree a").count() > 20
    page.close()
