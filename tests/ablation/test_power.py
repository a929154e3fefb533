"""How many seeds an effect needs."""

from pathlib import Path

import numpy as np
import pytest

from mav_lightning.ablation.plan import read_plan
from mav_lightning.ablation.power import MOST, power, seeds_for
from mav_lightning.ablation.results import StudyResults, read_results
from mav_lightning.ablation.statistics import LEVEL, seeds_needed, sign_flip_p
from mav_lightning.common.errors import UserError


@pytest.fixture(scope="module")
def results(finished_study: Path) -> StudyResults:
    return read_results(finished_study, read_plan(finished_study))


def test_a_study_of_that_many_seeds_finds_the_effect_four_times_in_five() -> None:
    seeds = seeds_for(1.0, 1.0, variants=1)
    found = sign_flip_p(np.random.default_rng(0).normal(1.0, 1.0, (4000, seeds))) < LEVEL

    assert 0.78 <= found.mean() <= 0.86
    assert seeds == 10


def test_half_the_effect_needs_four_times_the_seeds_and_more_variants_more() -> None:
    assert seeds_for(0.25, 1.0, 1) == pytest.approx(4 * seeds_for(0.5, 1.0, 1), rel=0.1)
    assert seeds_for(0.5, 1.0, 5) > seeds_for(0.5, 1.0, 1)


def test_no_effect_is_so_large_that_fewer_seeds_do_than_an_exact_test_needs() -> None:
    for variants in (1, 3, 5):
        assert seeds_for(100.0, 1.0, variants) == seeds_for(1.0, 0.0, variants) == seeds_needed(variants)


def test_an_effect_that_drowns_gets_no_number_but_a_bound() -> None:
    assert seeds_for(0.001, 1.0, 1) == MOST


def test_two_seeds_bound_the_number_hardly_at_all(results: StudyResults) -> None:
    (one,) = power(results, "shapes-fvd", 5.0)

    assert (one.variant, one.pairs) == ("per_frame", 2)
    values = [results.values("shapes-fvd", name) for name in ("temporal", "per_frame")]
    assert one.std == pytest.approx(np.std([values[1][seed] - values[0][seed] for seed in (0, 1)], ddof=1))  # type: ignore[operator]
    assert one.interval and one.interval[0] <= (one.seeds or 0) <= one.interval[1]
    assert one.interval[0] == seeds_needed(1) and one.interval[1] > 10 * one.interval[0]


def test_a_metric_that_is_not_asked_for_and_an_effect_of_nothing_are_told(results: StudyResults) -> None:
    with pytest.raises(UserError, match="no such metric; did you mean `law`"):
        power(results, "lam", 0.1)
    with pytest.raises(UserError, match="--power law=0: an effect must be above 0"):
        power(results, "law", 0.0)
