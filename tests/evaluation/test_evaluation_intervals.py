import numpy as np
import pytest

from evaluation import intervals


def test_a_perfect_share_is_still_uncertain() -> None:
    low, high = intervals.wilson(20, 20) or (0, 0)

    assert 0.8 < low < 0.9
    assert high == 1.0


def test_too_little_gives_no_interval_rather_than_a_wrong_one() -> None:
    assert intervals.wilson(0, 0) is None
    assert intervals.mean(np.ones(1)) is None
    assert intervals.median(np.arange(5.0)) is None
    assert intervals.jackknife(lambda rows: 0.0, 2) is None
    assert intervals.jackknife(lambda rows: float("nan"), 9) is None


@pytest.mark.parametrize("n", [6, 25, 100])
def test_the_median_is_covered_as_often_as_promised(n: int) -> None:
    draws = np.random.default_rng(0).normal(size=(1000, n))
    bounds = [intervals.median(values) or (0, 0) for values in draws]

    assert np.mean([low <= 0 <= high for low, high in bounds]) >= 0.935


def test_the_jackknife_of_a_mean_is_students_t() -> None:
    values = np.random.default_rng(0).normal(size=30)

    assert intervals.jackknife(lambda rows: float(values[rows].mean()), 30) == pytest.approx(intervals.mean(values))
