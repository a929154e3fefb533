"""How many seeds an effect needs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mav_lightning.ablation.paired_statistics import LEVEL, seeds_needed, sign_flip_p
from mav_lightning.ablation.power import (
    ENUMERATED,
    MOST,
    POWER,
    Needed,
    power,
    seeds_for,
    sign_flip_power,
    student_power,
)
from mav_lightning.ablation.results import StudyResults, TrialResult, read_results
from mav_lightning.ablation.study import Better, StudyMetric
from mav_lightning.ablation.study_plan import read_plan
from mav_lightning.common.errors import UserError


@pytest.fixture(scope="module")
def results(finished_study: Path) -> StudyResults:
    return read_results(finished_study, read_plan(finished_study))


def with_values(results: StudyResults, better: Better, temporal: list[float], per_frame: list[float]) -> list[Needed]:
    """The power of a study of these seeds, whose one metric has these values."""
    study = replace(results.plan.study, metrics=[StudyMetric("ratio", better)], seeds=list(range(len(temporal))))
    trials: list[TrialResult] = []
    for variant, values in (("temporal", temporal), ("per_frame", per_frame)):
        like = next(one for one in results.trials if one.trial.variant == variant)
        trials += [
            replace(like, trial=replace(like.trial, seed=seed), scores={"metrics": {"ratio": {"value": value}}})
            for seed, value in enumerate(values)
        ]
    return power(replace(results, plan=replace(results.plan, study=study), trials=trials), "ratio", 0.1)


@pytest.mark.parametrize(("effect", "variants"), [(1.0, 1), (1.5, 1), (1.5, 5)])
def test_a_study_of_that_many_seeds_gets_its_star_four_times_in_five_and_of_fewer_less(
    effect: float, variants: int
) -> None:
    seeds = seeds_for(effect, 1.0, variants)
    draws = np.random.default_rng(1).normal(effect, 1.0, (2000, seeds))

    assert (sign_flip_p(draws) < LEVEL / variants).mean() >= POWER - 0.03
    assert (sign_flip_p(draws[:, 1:]) < LEVEL / variants).mean() < POWER + 0.03


def test_as_many_seeds_as_students_test_needs_are_often_too_few_for_a_star() -> None:
    assert [seeds_for(1.5, 1.0, variants) for variants in (1, 5)] == [7, 10]
    for seeds, variants, star in ((6, 1, 0.66), (9, 5, 0.73)):
        level = LEVEL / variants
        assert student_power(1.5, np.array(seeds), level) > POWER
        assert sign_flip_power(1.5, seeds, level) == pytest.approx(star, abs=0.02)


@pytest.mark.parametrize("variants", [1, 3, 5])
def test_with_more_seeds_than_are_enumerated_both_tests_find_as_much(variants: int) -> None:
    seeds, level = ENUMERATED + 1, LEVEL / variants
    for shift in (0.7, 0.9, 1.1):
        student = float(student_power(shift, np.array(seeds), level))
        assert student - 0.02 < sign_flip_power(shift, seeds, level) < student + 0.01


def test_half_the_effect_needs_four_times_the_seeds_and_more_variants_more() -> None:
    assert seeds_for(0.25, 1.0, 1) == pytest.approx(4 * seeds_for(0.5, 1.0, 1), rel=0.1)
    assert seeds_for(0.5, 1.0, 5) > seeds_for(0.5, 1.0, 1)


def test_no_effect_is_so_large_that_fewer_seeds_do_than_an_exact_test_needs() -> None:
    for variants in (1, 3, 5):
        assert seeds_for(100.0, 1.0, variants) == seeds_for(1e12, 1.0, variants) == seeds_needed(variants)


def test_an_effect_that_drowns_gets_no_number_but_a_bound() -> None:
    assert seeds_for(0.001, 1.0, 1) == MOST


def test_two_seeds_bound_the_number_hardly_at_all(results: StudyResults) -> None:
    (one,) = power(results, "shapes-fvd", 5.0)

    assert (one.variant, one.pairs) == ("per_frame", 2)
    values = [results.values("shapes-fvd", name) for name in ("temporal", "per_frame")]
    assert one.std == pytest.approx(np.std([values[1][seed] - values[0][seed] for seed in (0, 1)], ddof=1))  # type: ignore[operator]
    assert one.interval and one.interval[0] <= (one.seeds or 0) <= one.interval[1]
    assert seeds_needed(1) <= one.interval[0] and one.interval[1] > 10 * one.interval[0]


@pytest.mark.parametrize(
    ("temporal", "per_frame"),
    [
        ([0.1, 0.2, 0.3], [0.1, 0.2, 0.3]),
        ([0.5, 0.5, 0.5], [0.25, 0.25, 0.25]),
        ([0.1, 0.2, 0.3], [0.2, 0.3, 0.4]),  # floats whose differences differ in the last digit
    ],
)
def test_differences_without_a_spread_give_no_number_of_seeds(
    results: StudyResults, temporal: list[float], per_frame: list[float]
) -> None:
    assert with_values(results, "higher", temporal, per_frame) == [Needed("per_frame", 3, 0.0, None, None)]


def test_where_one_is_best_the_spread_is_that_of_distances_from_one(results: StudyResults) -> None:
    temporal, per_frame = [1.0, 1.0, 1.0, 1.0], [1.2, 0.8, 1.2, 0.81]
    (one,) = with_values(results, "one", temporal, per_frame)
    (raw,) = with_values(results, "higher", temporal, per_frame)

    assert one.std == pytest.approx(np.std([0.2, 0.2, 0.2, 0.19], ddof=1))
    assert raw.std == pytest.approx(np.std([0.2, -0.2, 0.2, -0.19], ddof=1))
    assert (one.seeds or 0) < (raw.seeds or 0)


def test_an_unknown_metric_and_a_zero_effect_are_rejected(results: StudyResults) -> None:
    with pytest.raises(UserError, match="the study has no metric `lam`.*Did you mean `law`"):
        power(results, "lam", 0.1)
    with pytest.raises(UserError, match="power: the effect on law must be above 0, got 0"):
        power(results, "law", 0.0)
