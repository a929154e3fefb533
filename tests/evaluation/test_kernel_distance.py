import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.metrics.kernel import PolynomialKernel, kernel_distance


def features(n: int, d: int = 6, seed: int = 0, offset: float = 0.0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(n, d)) + offset


def by_the_definition(a: NDArray[np.float64], b: NDArray[np.float64], groups: list[int] | None = None) -> float:
    """Equation 3 of KID's paper, pair by pair; pairs of one group of `a` are left out."""

    def k(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
        return float((x @ y / len(x) + 1) ** 3)

    def within(rows: NDArray[np.float64], own: list[int]) -> float:
        n = len(rows)
        return float(np.mean([k(rows[i], rows[j]) for i in range(n) for j in range(n) if own[i] != own[j]]))

    singles = list(range(max(len(a), len(b))))
    return within(a, groups or singles) + within(b, singles) - 2 * float(np.mean([k(x, y) for x in a for y in b]))


def test_it_is_the_mean_over_pairs_that_are_not_the_same_clip() -> None:
    a, b = features(9, seed=1), features(12, seed=2, offset=0.4)
    value, jackknife = kernel_distance(a, b, range(9), range(12))
    assert value == pytest.approx(by_the_definition(a, b), rel=1e-12)
    assert jackknife and len(jackknife.without[0]) == 9
    assert jackknife.without[0][3] == pytest.approx(by_the_definition(np.delete(a, 3, axis=0), b), rel=1e-12)
    assert jackknife.without[1][0] == pytest.approx(by_the_definition(a, b[1:]), rel=1e-12)


def test_clips_of_one_source_are_no_pair_and_leave_together() -> None:
    a, b, groups = features(8, seed=1), features(8, seed=2), [0, 1, 2, 0, 1, 3, 0, 1]
    value, jackknife = kernel_distance(a, b, groups, range(8))
    assert value == pytest.approx(by_the_definition(a, b, groups), rel=1e-12)
    assert jackknife and len(jackknife.without[0]) == 4
    left = [number for number, group in enumerate(groups) if group != 1]
    assert jackknife.without[0][1] == pytest.approx(by_the_definition(a[left], b, [groups[i] for i in left]), rel=1e-12)


def test_it_is_unbiased_at_few_clips_and_its_interval_covers() -> None:
    values, inside = [], 0
    rng = np.random.default_rng(0)
    for _ in range(300):
        value, jackknife = kernel_distance(rng.normal(size=(24, 6)), rng.normal(size=(24, 6)), range(24), range(24))
        assert jackknife
        low, high = jackknife.interval(value)
        values.append(value)
        inside += low <= 0 <= high
    assert abs(np.mean(values)) < 3 * np.std(values) / 300**0.5, "equal distributions are at distance 0"
    assert inside / 300 > 0.9


def test_two_groups_have_a_value_and_no_interval() -> None:
    value, jackknife = kernel_distance(features(6, seed=1), features(6, seed=2), [0] * 3 + [1] * 3, range(6))
    assert np.isfinite(value) and jackknife is None


def test_the_kernel_of_jedi_gives_the_number_of_its_code() -> None:
    """Its own example, for which its comments state 270.7, before the factor of 100."""
    a = np.arange(1.0, 10.0).reshape(3, 3)
    b = np.array([[7.0, 6, 5], [4, 3, 2], [1, 1, 8], [0, 2, 5]])

    value, _ = kernel_distance(a, b, [0, 1, 2], [0, 1, 2, 3], kernel=PolynomialKernel(2, 0.0, "all", 100.0))

    assert value == pytest.approx(27072.2222, abs=1e-3)
