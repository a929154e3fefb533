"""From answers to win rates: majorities, agreement, intervals, and answers that do not fit the page."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from evaluation import intervals
from evaluation.preference.rater_answers import read_answers, read_key
from evaluation.preference.win_rates import fleiss_kappa, majority, preference_results, win_rate
from mav_lightning.common.errors import UserError


def test_the_majority_decides_and_no_difference_is_a_vote_for_neither() -> None:
    assert majority(["first"] * 3 + ["second"] * 2) == 1.0
    assert majority(["first"] * 2 + ["second"] * 3) == 0.0
    assert majority(["first", "second", "equal", "equal", "equal"]) == 0.5
    assert majority(["first", "equal", "equal", "equal", "equal"]) == 1.0


def test_pairs_of_one_prompt_count_as_one_value() -> None:
    value, interval = win_rate([0.0, 0.5, 1.0, 0.0], ["a", "a", "b", "b"])
    assert value == 0.375 and interval == intervals.wilson_of_mean(0.375, 2)


@pytest.mark.parametrize(("right", "n"), [(0, 5), (3, 10), (10, 10)])
def test_of_zeros_and_ones_the_interval_is_wilsons(right: int, n: int) -> None:
    assert intervals.wilson_of_mean(right / n, n) == pytest.approx(intervals.wilson(right, n), abs=1e-12)
    assert intervals.wilson_of_mean(0.5, 0) is None


@pytest.mark.parametrize("shape", [(1, 1), (4, 1)])
def test_intervals_over_ten_prompts_cover_the_expected_win_rate(shape: tuple[int, int]) -> None:
    rng, names = np.random.default_rng(0), [str(number) for number in range(10)]
    truth = stats.binom.sf(3, 7, rng.beta(*shape, size=100_000)).mean()
    won = rng.binomial(7, rng.beta(*shape, size=(500, 10))) > 3
    found = [win_rate(row.astype(float).tolist(), names)[1] for row in won]
    assert np.mean([low <= truth <= high for low, high in found]) > 0.9


def test_kappa_is_that_of_fleiss_and_leaves_out_pairs_with_other_numbers_of_answers() -> None:
    # Fleiss (1971) by hand: agreement 1, 1/3, 1 of 3 raters; shares of votes 5/9 and 4/9
    votes = [["first"] * 3, ["first", "first", "second"], ["second"] * 3]
    chance = (5 / 9) ** 2 + (4 / 9) ** 2
    expected = ((1 + 1 / 3 + 1) / 3 - chance) / (1 - chance)
    assert fleiss_kappa(votes) == (pytest.approx(expected, abs=2e-5), 3)
    assert fleiss_kappa([*votes, ["first"], ["equal"] * 2]) == (pytest.approx(expected, abs=2e-5), 3)
    assert np.isnan(fleiss_kappa([["first"]])[0]) and np.isnan(fleiss_kappa([["first"] * 3] * 4)[0])


def key_file(tmp_path: Path, **changes: Any) -> Path:
    items = {
        f"i{number}": {"question": "quality", "prompt": f"p{number}", "clips": ["a", "b"], "x": number % 2}
        for number in range(3)
    }
    content = {"form": "f", "seed": 0, "version": 1, "systems": ["A", "B"], "questions": ["quality"], "items": items}
    path = tmp_path / "key.json"
    path.write_text(json.dumps(content | changes))
    return path


def answer_file(tmp_path: Path, name: str, choices: dict[str, str], **changes: Any) -> Path:
    answers = [{"item": item, "choice": choice, "left": "x", "seconds": 1.5} for item, choice in choices.items()]
    content = {"version": 1, "form": "f", "rater": name, "saved": "2030-01-01T00:00:00Z", "answers": answers}
    path = tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}.json"
    path.write_text(json.dumps(content | changes))
    return path


def test_letters_are_turned_into_systems_by_the_key(tmp_path: Path) -> None:
    key = read_key(key_file(tmp_path))
    # x is A in items 0 and 2, and B in item 1
    files = [
        answer_file(tmp_path, "Ann", {"i0": "x", "i1": "x", "i2": "equal"}),
        answer_file(tmp_path, "Bob", {"i0": "x", "i1": "y", "i2": "y"}),
    ]
    results = preference_results(key, read_answers(files, key))
    assert [pair["votes"] for pair in results["pairs"]] == [
        {"first": 2, "second": 0, "equal": 0},
        {"first": 1, "second": 1, "equal": 0},
        {"first": 0, "second": 1, "equal": 1},
    ]
    assert [pair["majority"] for pair in results["pairs"]] == ["first", "equal", "second"]
    score = results["metrics"]["quality"]
    assert (score["value"], score["n"], score["unit"]) == (0.5, 3, "win rate of A")
    about = results["questions"]["quality"]
    assert about["pairs"] == {"won": 1, "tied": 1, "lost": 1} and about["raters_per_pair"] == [2, 2]
    assert about["left"] == pytest.approx(3 / 5), "of five decided answers, three were x, which was on the left"
    json.dumps(results, allow_nan=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"form": "g"}, "has answers to page g, not to f"),
        ({"answers": [{"item": "zz", "choice": "x", "left": "x", "seconds": 1}]}, "answers `zz`, which the page"),
        ({"answers": [{"item": "i0", "choice": "x", "left": "x", "seconds": 1}] * 2}, "answers a question twice"),
        ({"answers": [{"item": "i0", "choice": "A", "left": "x", "seconds": 1}]}, "answers.0.choice"),
        ({"answers": [{"item": "i0", "choice": "x", "left": "x", "seconds": -1}]}, "answers.0.seconds"),
        ({"rater": 3}, "rater"),
    ],
)
def test_answers_that_do_not_fit_the_page_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    key = read_key(key_file(tmp_path))
    with pytest.raises(UserError, match=message):
        read_answers([answer_file(tmp_path, "Ann", {"i0": "x"}, **changes)], key)


def test_a_rater_counts_once(tmp_path: Path) -> None:
    key = read_key(key_file(tmp_path))
    first, copy = (answer_file(tmp_path, "Ann", {"i0": "x"}) for _ in range(2))
    assert len(read_answers([first, copy], key)) == 1
    later = answer_file(tmp_path, "Ann", {"i0": "x", "i1": "y"})
    with pytest.raises(UserError, match="rater `Ann` has a second file; pass only the later one"):
        read_answers([first, later], key)


@pytest.mark.parametrize("other", ["ann ", "ANN", "Ａnn"])
def test_other_spellings_of_a_name_are_the_same_rater(tmp_path: Path, other: str) -> None:
    key = read_key(key_file(tmp_path))
    files = [answer_file(tmp_path, "Ann", {"i0": "x"}), answer_file(tmp_path, "other", {"i0": "y"}, rater=other)]
    with pytest.raises(
        UserError,
        match="has a second file; pass only the later one, or, if these are two people, give them different names",
    ):
        read_answers(files, key)


def test_a_key_with_items_of_other_questions_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has items of `quality`, which is none of its questions; the file is damaged"):
        read_key(key_file(tmp_path, questions=["motion"]))


def test_pairs_without_an_answer_are_counted(tmp_path: Path) -> None:
    key = read_key(key_file(tmp_path))
    found = preference_results(key, read_answers([answer_file(tmp_path, "Ann", {"i0": "x"})], key))
    assert found["questions"]["quality"]["unanswered"] == 2 and found["metrics"]["quality"]["n"] == 1
