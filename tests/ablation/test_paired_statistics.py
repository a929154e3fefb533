import numpy as np
import pytest
from scipy import stats

from mav_lightning.ablation.paired_statistics import compare, holm, seeds_needed, sign_flip_p, verdict
from mav_lightning.ablation.study import StudyMetric

LAW = StudyMetric("law", "higher")


def by_seed(values: list[float | None]) -> dict[int, float | None]:
    return dict(enumerate(values))


def test_two_seeds_give_their_pairs_and_nothing_more() -> None:
    (one,) = compare(LAW, by_seed([0.8, 0.9]), {"off": by_seed([0.1, 0.2])})

    assert one.difference == pytest.approx(-0.7)
    assert (one.better, one.worse, one.seeds) == (0, 2, [0, 1])
    assert (one.interval, one.effect, one.p, one.p_holm, one.star) == (None, None, None, None, False)
    assert verdict(2, 1) == ("Two seeds give two pairs: too few for an interval or a test. A test needs ≥ 6 seeds.")


def test_the_interval_is_students_t_of_the_paired_differences() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=5)
    baseline, off = shared + 0.1 * rng.normal(size=5), shared + 1 + 0.1 * rng.normal(size=5)
    (one,) = compare(LAW, by_seed(baseline.tolist()), {"off": by_seed(off.tolist())})

    expected = stats.ttest_rel(off, baseline).confidence_interval(0.95)
    assert one.interval == pytest.approx((expected.low, expected.high))
    unpaired = stats.ttest_ind(off, baseline).confidence_interval(0.95)
    assert one.interval[1] - one.interval[0] < 0.5 * (unpaired.high - unpaired.low)


def test_equal_differences_tell_no_spread_and_get_no_interval() -> None:
    clip = 1 / 144
    (one,) = compare(StudyMetric("law", "higher"), {0: 0.0, 1: 0.0, 2: clip}, {"on": {0: clip, 1: clip, 2: 2 * clip}})

    assert (one.interval, one.effect, one.t_holm) == (None, None, None)
    assert (one.difference, one.better, one.p) == (pytest.approx(clip), 3, 0.25)


def test_the_interval_covers_what_it_claims() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for draw in rng.normal(0.3, 1.0, (400, 3)):
        (one,) = compare(LAW, by_seed([0.0] * 3), {"off": by_seed(draw.tolist())})
        assert one.interval is not None
        hits += one.interval[0] <= 0.3 <= one.interval[1]

    assert 0.92 <= hits / 400 <= 0.98


@pytest.mark.parametrize(("seeds", "smallest"), [(3, 0.25), (5, 0.0625), (6, 0.03125)])
def test_sign_flips_cannot_be_surer_than_their_number_allows(seeds: int, smallest: float) -> None:
    assert sign_flip_p([1.0 + i for i in range(seeds)]) == pytest.approx(smallest)
    assert sign_flip_p([-1.0 - i for i in range(seeds)]) == pytest.approx(smallest)


@pytest.mark.parametrize("variants", [1, 2, 3, 8])
def test_the_number_of_seeds_said_to_be_needed_is_the_fewest_that_can_give_a_star(variants: int) -> None:
    def starred(seeds: int) -> bool:
        values = {str(v): by_seed([1.0 + i + v for i in range(seeds)]) for v in range(variants)}
        return any(one.star for one in compare(LAW, by_seed([0.0] * seeds), values))

    assert starred(seeds_needed(variants))
    assert not starred(seeds_needed(variants) - 1)


def test_holm_multiplies_step_by_step_and_never_reorders() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]).tolist() == []


def test_a_failed_trial_is_missing_and_counted_never_averaged_over() -> None:
    (one,) = compare(LAW, by_seed([1.0, None, 3.0]), {"off": by_seed([2.0, 9.0, None])})

    assert (one.seeds, one.missing, one.difference) == ([0], [1, 2], 1.0)
    (none,) = compare(LAW, by_seed([None]), {"off": by_seed([1.0])})
    assert (none.difference, none.missing) == (None, [0])


def test_where_one_is_best_distances_from_one_are_compared() -> None:
    ratio = StudyMetric("speed-ratio", "one")
    (one,) = compare(ratio, by_seed([0.9, 1.1]), {"off": by_seed([1.5, 0.5])})

    assert one.worse == 2
    assert one.difference == pytest.approx(0.4)
    assert one.values == [1.5, 0.5]


def test_lower_and_higher_mirror_each_other() -> None:
    higher, lower = (
        compare(StudyMetric("m", better), by_seed([0.0] * 6), {"off": by_seed([1.0, 2, 3, 4, 5, 6])})[0]
        for better in ("higher", "lower")
    )

    assert higher.difference == lower.difference == 3.5
    assert (higher.better, lower.worse, higher.p) == (6, 6, lower.p)


def test_the_verdict_claims_no_more_than_the_seeds_allow() -> None:
    assert "nothing can be compared" in verdict(0, 1)
    assert "One seed gives one pair" in verdict(1, 1)
    assert "cannot reach a p-value below 0.0625 with them, so there are no stars; a star needs" in verdict(5, 1)
    assert "A star marks p < 0.05" in verdict(6, 1)
    assert "a star needs ≥ 7 seeds" in verdict(6, 2)
