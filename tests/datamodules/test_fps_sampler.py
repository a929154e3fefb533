import numpy as np
import pytest

from datamodules.fps_sampler import BetaFps, UniformFps, truncate_fps
from mav_lightning.common.errors import UserError


def test_rates_fill_the_range() -> None:
    rng = np.random.default_rng(0)
    rates = [UniformFps(4, 16).sample(rng) for _ in range(500)]

    assert 4 <= min(rates) < 4.5
    assert 15.5 < max(rates) < 16


@pytest.mark.parametrize(("low", "high"), [(0, 8), (-1, 8), (8, 4), (4, float("inf")), (float("nan"), 8)])
def test_impossible_rates_are_refused_with_a_way_out(low: float, high: float) -> None:
    with pytest.raises(UserError, match=r"(low|high): must be (a finite number|at most high \(4\)).*, got "):
        UniformFps(low, high)


def test_the_histogram_counts_what_was_realised_and_survives_a_checkpoint() -> None:
    sampler, resumed = UniformFps(4, 16), UniformFps(4, 16)
    sampler.record([4.2, 3.9, 15.6])

    resumed.load_state_dict(sampler.state_dict())
    resumed.record([16.0])

    assert sampler.histogram() == {4: 2, 16: 1}
    assert resumed.histogram() == {4: 2, 16: 2}


def mean_rate(sampler: BetaFps, clips: int | None) -> float:
    return float(np.mean([sampler.sample(np.random.default_rng([i, 7]), clips) for i in range(2000)]))


def test_the_curriculum_goes_evenly_from_high_rates_to_low_ones_and_stays_there() -> None:
    curriculum = BetaFps(1, 31, clips=1000, first=0.8, last=0.2)

    means = [mean_rate(curriculum, clips) for clips in (0, 250, 500, 1000, 9000)]

    assert means == pytest.approx([25, 20.5, 16, 7, 7], abs=0.5)


def test_outside_training_every_stage_of_the_curriculum_is_as_likely() -> None:
    assert mean_rate(BetaFps(1, 31, clips=1000), None) == pytest.approx(16, abs=0.5)


def test_a_curriculum_draws_within_its_range_and_the_narrower_the_more_concentrated() -> None:
    spreads = []
    for concentration in (2.0, 50.0):
        sampler = BetaFps(4, 16, clips=10, concentration=concentration)
        rates = [sampler.sample(np.random.default_rng(i), 5) for i in range(500)]
        assert 4 <= min(rates) and max(rates) <= 16
        spreads.append(np.std(rates))
    assert spreads[1] < 0.3 * spreads[0]


@pytest.mark.parametrize("wrong", [{"clips": 0}, {"first": 1.0}, {"last": 0.0}, {"concentration": 0.0}])
def test_an_impossible_curriculum_is_refused_with_a_way_out(wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(UserError, match=rf"{name}: must be .*above 0.*, got "):
        BetaFps(4, 16, **{"clips": 10, **wrong})  # type: ignore[arg-type]


def test_a_rate_is_truncated_to_what_the_source_can_give() -> None:
    assert truncate_fps(8.0, frames=9, duration=2.0, source_fps=30.0) == 8.0
    assert truncate_fps(1.0, frames=9, duration=2.0, source_fps=30.0) == 4.0
    assert truncate_fps(60.0, frames=9, duration=2.0, source_fps=30.0) == 30.0
    assert truncate_fps(7.0, frames=1, duration=0.0, source_fps=30.0) == 30.0
