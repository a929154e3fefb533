import numpy as np
import pytest
import scipy.linalg
from numpy.typing import NDArray

from evaluation.jackknife import Jackknife
from evaluation.metrics.frechet import frechet_distance, frechet_jackknife
from evaluation.moments import Moments


def features(n: int, d: int = 12, seed: int = 0, offset: float = 0.0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + offset


def by_matrix_root(a: NDArray[np.float64], b: NDArray[np.float64], ddof: int) -> float:
    left, right = (np.cov(side, rowvar=False, ddof=ddof) for side in (a, b))
    root = scipy.linalg.sqrtm(left @ right).real
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(left + right - 2 * root))


@pytest.mark.parametrize(("divisor", "ddof"), [("n-1", 1), ("n", 0)])
def test_equals_the_textbook_formula(divisor: str, ddof: int) -> None:
    a, b = features(60, seed=1), features(80, seed=2, offset=0.3)

    distance = frechet_distance(Moments.of(a), Moments.of(b), divisor)  # type: ignore[arg-type]

    assert distance == pytest.approx(by_matrix_root(a, b, ddof), rel=1e-10)


def test_is_zero_for_equal_sets_and_symmetric() -> None:
    a, b = Moments.of(features(40, seed=1)), Moments.of(features(50, seed=2))

    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-12)


def test_of_shifted_equals_the_squared_shift() -> None:
    a = features(40)

    assert frechet_distance(Moments.of(a), Moments.of(a + 2.0)) == pytest.approx(12 * 4.0, rel=1e-9)


def test_stays_real_below_full_rank() -> None:
    a, b = features(8, seed=1), features(7, seed=2)

    assert np.isfinite(frechet_distance(Moments.of(a), Moments.of(b)))


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_moments_merge_and_part_exactly_even_far_from_zero(offset: float) -> None:
    rows = features(50, offset=offset)
    whole, left, right = Moments.of(rows), Moments.of(rows[:17]), Moments.of(rows[17:])

    for moments, wanted in ((left + right, whole), (whole - right, left)):
        assert moments.n == wanted.n
        np.testing.assert_allclose(moments.mean, wanted.mean, rtol=1e-12)
        np.testing.assert_allclose(moments.scatter, wanted.scatter, atol=1e-10 * max(1.0, offset) * 10)


def gaussians(n: int, d: int, rng: np.random.Generator) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """Clips of N(0, 1) and N(0.3, 1.2²) in d dimensions, whose distance is d (0.3² + 0.2²)."""
    return list(rng.normal(size=(n, 1, d))), list(0.3 + 1.2 * rng.normal(size=(n, 1, d)))


def repeated(n: int, d: int, count: int) -> list[Jackknife]:
    rng = np.random.default_rng(0)
    found = [frechet_jackknife(*gaussians(n, d, rng), range(n), range(n)) for _ in range(count)]
    return [jackknife for jackknife in found if jackknife]


def covered(jackknives: list[Jackknife], truth: float, extrapolated: bool) -> float:
    """Share of the 95 % intervals that hold `truth`."""
    centers = [one.extrapolated if extrapolated else one.value for one in jackknives]
    bounds = [one.interval(center) for one, center in zip(jackknives, centers, strict=True)]
    return sum(low <= truth <= high for low, high in bounds) / len(bounds)


def test_the_interval_holds_the_expected_distance_at_this_size_and_the_extrapolated_one_the_truth() -> None:
    drawn, truth = repeated(100, 16, 100), 16 * 0.13
    expected = float(np.mean([one.value for one in drawn]))
    assert covered(drawn, expected, extrapolated=False) > 0.9
    assert covered(drawn, truth, extrapolated=True) > 0.9
    assert covered(drawn, truth, extrapolated=False) < 0.5


def test_extrapolation_takes_the_bias_away() -> None:
    drawn, truth = repeated(100, 16, 40), 16 * 0.13
    raw, unbiased = (
        float(np.mean(values)) for values in zip(*((one.value, one.extrapolated) for one in drawn), strict=True)
    )
    assert raw > 1.8 * truth
    assert unbiased == pytest.approx(truth, rel=0.08)


def test_repeating_clips_of_one_source_does_not_narrow_the_interval() -> None:
    a, b = list(features(40, 3, seed=1)[:, None]), list(features(40, 3, seed=2)[:, None])
    single = frechet_jackknife(a, b, range(40), range(40))

    groups = [number // 4 for number in range(160)]
    fourfold = frechet_jackknife(
        [row for row in a for _ in range(4)], [row for row in b for _ in range(4)], groups, groups
    )

    assert single and fourfold
    assert fourfold.error == pytest.approx(single.error, rel=0.1)


def test_two_groups_have_no_interval() -> None:
    rows = list(features(10, 3)[:, None])

    assert frechet_jackknife(rows, rows, [0] * 5 + [1] * 5, range(10)) is None


@pytest.mark.parametrize(
    ("videos", "noted"), [(3, "cannot be extrapolated"), (8, "cannot be extrapolated"), (9, "are few"), (16, "")]
)
def test_distances_are_extrapolated_from_more_source_videos_than_features(videos: int, noted: str) -> None:
    from types import SimpleNamespace
    from typing import Any

    from evaluation.metrics.base import Features
    from evaluation.metrics.frechet import Frechet

    names = [f"{number}" for number in range(30 * videos)]
    groups = [f"{number // 30}" for number in range(30 * videos)]
    values = np.random.default_rng(0).normal(size=(30 * videos, 1, 8))
    extracted: Any = SimpleNamespace(features=lambda _, side: Features(names, groups, values), force=False)
    found = Frechet("video", "n-1").measure("fvd", extracted)
    limit = found.scores["fvd-inf"]
    assert np.isfinite(limit.value) == (videos > 8) == (limit.interval is not None)
    assert np.isfinite(found.scores["fvd"].value) and found.scores["fvd"].interval is not None
    assert bool(found.notes) == bool(noted)
    if noted:
        assert found.notes[0].startswith(f"fvd-inf: {videos} source videos for 8 features {noted}")
        assert "Provide clips of 16 videos" in found.notes[0]
