"""The report in headless Chromium: clips play in step, pickers and keys work, nothing is loaded or complained of."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mav_lightning.ablation.report import build_report

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program, "no chromium on this machine; on Debian: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any, finished_study: Path, tmp_path: Path) -> Iterator[Any]:
    """The report, opened from disk, with everything it complains of or asks the network for."""
    page = chromium.new_page(viewport={"width": 1200, "height": 900})
    page.complaints, page.asked = [], []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(build_report(finished_study, tmp_path).as_uri())
    page.locator("#clips").scroll_into_view_if_needed()
    yield page
    assert page.complaints == []
    assert [url for url in page.asked if not url.startswith(("file:", "data:"))] == []
    page.close()


def drawn(page: Any) -> list[str]:
    """What each panel's canvas shows."""
    return page.evaluate("[...document.querySelectorAll('.clip canvas')].map((c) => c.toDataURL())")


def pause(page: Any) -> None:
    page.locator("#play").click()


def test_clips_play_by_themselves_and_stop(page: Any) -> None:
    start = page.locator("#frame").input_value()
    page.wait_for_function("(start) => document.getElementById('frame').value !== start", arg=start)
    assert page.locator("#play").inner_text() == "Pause"

    pause(page)
    assert page.locator("#play").inner_text() == "Play"
    before = drawn(page)
    page.evaluate(
        "() => new Promise((done) => { let n = 0; const f = () => ++n > 30 ? done() : requestAnimationFrame(f); f(); })"
    )
    assert drawn(page) == before
    page.keyboard.press("ArrowRight")  # with the button still in focus
    assert page.locator("#prompt").evaluate("(list) => list.selectedIndex") == 1


def test_all_variants_show_the_same_frame_and_other_pictures(page: Any) -> None:
    pause(page)
    page.locator("#frame").fill("0")
    first = drawn(page)
    page.keyboard.press(".")
    second = drawn(page)

    assert len(first) == 2 and first[0] != first[1], "two variants, two clips"
    assert page.locator("#frame").input_value() == "1"
    assert all(a != b for a, b in zip(first, second, strict=True)), "both went on"
    page.keyboard.press(",")
    assert drawn(page) == first


def test_seed_and_prompt_are_picked_by_mouse_and_by_keys(page: Any) -> None:
    pause(page)
    page.locator("#frame").fill("0")
    start = drawn(page)
    page.locator("label.pick", has_text="1").click()
    other_seed = drawn(page)
    page.locator(".clip").first.click()  # away from the picker, which answers arrows itself
    page.keyboard.press("ArrowUp")
    assert page.locator("input[name=seed]:checked").input_value() == "0" and drawn(page) == start != other_seed
    page.keyboard.press("ArrowRight")
    assert page.locator("#prompt").evaluate("(list) => list.selectedIndex") == 1 and drawn(page) != start
    page.locator("#prompt").select_option(index=0)
    assert drawn(page) == start


def test_all_controls_are_reached_by_the_tab_key_and_named(page: Any) -> None:
    names = []
    for _ in range(40):
        page.keyboard.press("Tab")
        names.append(
            page.evaluate(
                "() => { const e = document.activeElement; return e.id || e.name || e.tagName.toLowerCase(); }"
            )
        )
    assert {"prompt", "seed", "play", "frame", "theme", "summary"} <= set(names)
    controls = "[...document.querySelectorAll('button, input, select')]"
    assert page.evaluate(f"{controls}.filter((e) => !(e.labels?.length || e.ariaLabel || e.innerText)).length") == 0


def test_dark_and_light_differ_and_a_narrow_window_does_not_scroll_sideways(page: Any) -> None:
    def colour() -> str:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light = colour()
    page.locator("#theme").click()
    assert colour() != light
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_on_a_phone_tables_scroll_by_themselves_and_charts_take_the_width(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach((e) => { e.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == 390

    wide = page.evaluate(
        "[...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth)"
        ".map((e) => [e.tabIndex, getComputedStyle(e).backgroundImage.split('linear').length - 1])"
    )
    assert wide and all(hint == [0, 4] for hint in wide), (
        "reached by keys, with a shadow that the end of the table covers"
    )
    charts = (
        "[...document.querySelectorAll('figure > svg')].map((e) => e.clientWidth / e.closest('section').clientWidth)"
    )
    assert min(page.evaluate(charts)) > 0.99
    names = "[...document.querySelectorAll('td.variant')].map((e) => e.offsetHeight)"
    assert max(page.evaluate(names)) < 50, "no name is broken letter by letter"


def test_charts_keep_their_distance_from_tables(page: Any) -> None:
    gaps = (
        "[...document.querySelectorAll('.figures + .scroll')].map((e) => e.getBoundingClientRect().top - "
        "e.previousElementSibling.getBoundingClientRect().bottom)"
    )
    for width in (390, 1400):
        page.set_viewport_size({"width": width, "height": 900})
        assert min(page.evaluate(gaps)) > 20
