import numpy as np
import pytest

from datamodules.fps_sampler import UniformFps, truncate_fps
from mav_lightning.common.errors import UserError


def test_rates_fill_the_range() -> None:
    rng = np.random.default_rng(0)
    rates = [UniformFps(4, 16).sample(rng) for _ in range(500)]

    assert 4 <= min(rates) < 4.5
    assert 15.5 < max(rates) < 16


@pytest.mark.parametrize(("low", "high"), [(0, 8), (-1, 8), (8, 4), (4, float("inf")), (float("nan"), 8)])
def test_impossible_rates_are_refused_with_a_way_out(low: float, high: float) -> None:
    with pytest.raises(UserError, match=f"got low={low:g} and high={high:g}; try low=4 high=16"):
        UniformFps(low, high)


def test_the_histogram_counts_what_was_realised_and_survives_a_checkpoint() -> None:
    sampler, resumed = UniformFps(4, 16), UniformFps(4, 16)
    sampler.record([4.2, 3.9, 15.6])

    resumed.load_state_dict(sampler.state_dict())
    resumed.record([16.0])

    assert sampler.histogram() == {4: 2, 16: 1}
    assert resumed.histogram() == {4: 2, 16: 2}


def test_a_rate_is_truncated_to_what_the_source_can_give() -> None:
    assert truncate_fps(8.0, frames=9, duration=2.0, source_fps=30.0) == 8.0
    assert truncate_fps(1.0, frames=9, duration=2.0, source_fps=30.0) == 4.0
    assert truncate_fps(60.0, frames=9, duration=2.0, source_fps=30.0) == 30.0
    assert truncate_fps(7.0, frames=1, duration=0.0, source_fps=30.0) == 30.0
