"""The page for raters in headless Chromium: seven simulated raters with known preferences, and what they come to."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rating_folders import write_system
from scipy import stats

from evaluation.preference.rater_answers import read_answers, read_key
from evaluation.preference.rating_page import write_rating
from evaluation.preference.rating_plan import pair_clips, questions
from evaluation.preference.win_rates import preference_results

pytestmark = pytest.mark.browser
# Probability that a rater prefers the first system; some raters take the left side without looking.
PREFERENCE = {"quality": 0.75, "faithfulness": 0.5, "motion": 0.25}
LEFT = 0.1
RATERS, PROMPTS = 7, 10


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program, "no chromium on this machine; on Debian: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def rating(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("rating")
    prompts = [f"<b>prompt</b> & {number}" for number in range(PROMPTS)]
    folders = write_system(place / "ours", 0, prompts), write_system(place / "theirs", 1, prompts, fps=4.0)
    write_rating(pair_clips(folders, None), questions(list(PREFERENCE)), ("ours", "theirs"), place / "out", seed=3)
    return place / "out"


@pytest.fixture
def page(chromium: Any, rating: Path) -> Iterator[Any]:
    """The page, opened from disk, with everything it complains of or asks the network for."""
    context = chromium.new_context(viewport={"width": 1200, "height": 800}, accept_downloads=True)
    page = context.new_page()
    page.complaints, page.asked = [], []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto((rating / "page" / "rate.html").as_uri())
    yield page
    assert page.complaints == []
    assert [url for url in page.asked if not url.startswith(("file:", "data:", "blob:"))] == []
    context.close()


def begin(page: Any, rater: str) -> None:
    page.locator("#rater").fill(rater)
    page.keyboard.press("Enter")
    ready(page)


def ready(page: Any) -> tuple[str, str]:
    """Wait for the clips of a pair; return the item and the letter of the clip on the left."""
    page.wait_for_selector("[data-side=left]:enabled")
    return page.evaluate("[document.getElementById('task').dataset.item, document.getElementById('left').dataset.clip]")


def saved(page: Any, button: str, path: Path) -> dict[str, Any]:
    with page.expect_download() as download:
        page.locator(button).click()
    download.value.save_as(path)
    return json.loads(path.read_text())


def chance(*names: object) -> float:
    """A number in [0, 1) that depends on the names alone, whatever order the page has drawn."""
    return int.from_bytes(hashlib.sha256(repr(names).encode()).digest()[:6]) / 2**48


def key_to_press(item: dict[str, Any], name: str, left: str, rater: int) -> str:
    if chance(rater, name, "looks") < LEFT:
        return "ArrowLeft"
    first = "x" if item["x"] == 0 else "y"
    prefers_first = chance(rater, name) < PREFERENCE[item["question"]]
    return "ArrowLeft" if (left == first) == prefers_first else "ArrowRight"


def test_seven_raters_with_known_preferences_give_intervals_that_cover_them(
    page: Any, rating: Path, tmp_path: Path
) -> None:
    items = json.loads((rating / "key.json").read_text())["items"]
    files, orders = [], []
    for rater in range(RATERS):
        page.reload()
        begin(page, f"rater {rater}")
        order = []
        for _ in items:
            name, left = ready(page)
            order.append((name, left))
            page.keyboard.press(key_to_press(items[name], name, left, rater))
            page.wait_for_function(
                "(name) => document.getElementById('task').dataset.item !== name || "
                "!document.getElementById('end').hidden",
                arg=name,
            )
        orders.append(order)
        files.append(tmp_path / f"{rater}.json")
        assert len(saved(page, "#save-end", files[-1])["answers"]) == len(items)
    assert len({tuple(order) for order in orders}) == RATERS, "each rater has an order and sides of her own"

    key = read_key(rating / "key.json")
    results = preference_results(key, read_answers(files, key))
    for question, preference in PREFERENCE.items():
        # sides are drawn, so a rater who takes the left one prefers either system with probability one half
        vote = LEFT / 2 + (1 - LEFT) * preference
        truth = stats.binom.sf(RATERS // 2, RATERS, vote)
        low, high = results["metrics"][question]["interval"]
        assert low <= truth <= high
        assert results["metrics"][question]["n"] == PROMPTS
    assert results["metrics"]["quality"]["interval"][0] > 0.5 > results["metrics"]["motion"]["interval"][1]


def test_answers_are_kept_and_can_be_changed(page: Any, tmp_path: Path) -> None:
    begin(page, "Ann")
    first, left = ready(page)
    page.keyboard.press("ArrowDown")
    page.wait_for_function("(name) => document.getElementById('task').dataset.item !== name", arg=first)
    page.reload()
    assert page.locator("#rater").input_value() == "Ann", "the page remembers who was here"
    begin(page, "Ann")
    assert page.locator("#count").inner_text() == "1 of 30 answered"
    assert ready(page)[0] != first

    page.keyboard.press("Backspace")
    page.wait_for_function("(name) => document.getElementById('task').dataset.item === name", arg=first)
    ready(page)
    assert page.locator(".chosen").inner_text().endswith("No difference")
    page.keyboard.press("ArrowRight")
    (answer,) = saved(page, "#save", tmp_path / "ann.json")["answers"]
    assert answer["item"] == first and answer["left"] == left and answer["choice"] == ("y" if left == "x" else "x")


def test_both_clips_follow_one_clock_at_their_own_rates(page: Any) -> None:
    begin(page, "Bob")
    frames = "['left', 'right'].map((side) => Number(document.getElementById(side).dataset.frame))"
    # the clips have four frames at 8 and at 4 frames per second: the first holds its last frame meanwhile
    page.wait_for_function(f"() => {{ const [a, b] = {frames}; return Math.max(a, b) === 3 && Math.min(a, b) === 2; }}")
    page.keyboard.press(" ")
    assert page.locator("#play").inner_text() == "Play"
    held = page.evaluate(frames)
    page.evaluate(
        "() => new Promise((done) => { let n = 0; const f = () => ++n > 30 ? done() : requestAnimationFrame(f); f(); })"
    )
    assert page.evaluate(frames) == held


def test_prompts_are_shown_as_text_with_the_questions_about_them_only(page: Any) -> None:
    begin(page, "Cy")
    assert page.locator("#prompt").is_hidden()
    for _ in range(PROMPTS):
        name, _ = ready(page)
        page.locator("[data-side=equal]").click()
        page.wait_for_function("(name) => document.getElementById('task').dataset.item !== name", arg=name)
    ready(page)
    assert page.locator("#prompt").inner_text().startswith("<b>prompt</b> & ")
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
