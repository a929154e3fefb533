from fractions import Fraction

import numpy as np
import pytest

from mav_lightning.media.timeline import even_timeline, timeline_of

MS = Fraction(1, 1000)


@pytest.mark.parametrize(
    "rate", [Fraction(24), Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60), Fraction(1, 2)]
)
@pytest.mark.parametrize("time_base", [MS, Fraction(1, 90_000), Fraction(1, 1_000_000_000)])
def test_a_nominal_rate_that_the_times_confirm_is_taken_exactly(rate: Fraction, time_base: Fraction) -> None:
    ticks = [round(number / rate / time_base) for number in range(200)]
    timeline = timeline_of([7 + tick for tick in ticks], time_base, [None, Fraction(1000), rate])
    assert timeline.is_even and timeline.fps == float(rate)
    np.testing.assert_allclose(timeline.times, [number / float(rate) for number in range(200)])


@pytest.mark.parametrize("nominal", [Fraction(1000), Fraction(90_000), Fraction(30), None])
def test_a_nominal_rate_that_the_times_deny_is_not_believed(nominal: Fraction | None) -> None:
    ticks = [0, 16, 50, 83, 183, 199, 233]
    timeline = timeline_of(ticks, MS, [nominal])
    assert not timeline.is_even and timeline.fps == pytest.approx(6 / 0.233)
    assert timeline.span == pytest.approx(0.233)
    np.testing.assert_allclose(timeline.times, np.array(ticks) / 1000)


def test_a_frame_left_out_is_not_rounded_away() -> None:
    ticks = [*range(10), *range(11, 30)]  # one tick a frame
    timeline = timeline_of(ticks, Fraction(1, 30), [Fraction(30)])
    assert not timeline.is_even and timeline.times[10] == pytest.approx(11 / 30)


def test_one_frame_has_the_nominal_rate_if_it_is_believable() -> None:
    assert timeline_of([0], MS, [Fraction(25)]).fps == 25
    assert timeline_of([0], Fraction(1, 90_000), [Fraction(90_000)]).fps == 1
    assert timeline_of([0], MS).span == 0


def test_the_nearest_frame_is_shown_and_the_earlier_of_two() -> None:
    timeline = even_timeline(5, 10.0)
    seconds = [-1, 0, 0.049, 0.05, 0.0501, 0.1, 0.25, 0.2501, 9]
    assert timeline.at(seconds).tolist() == [0, 0, 0, 0, 1, 1, 2, 3, 4]
    assert even_timeline(1, 10.0).at([0, 5]).tolist() == [0, 0]


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), 23.976, Fraction(25)])
def test_frames_times_are_their_own(fps: Fraction | float) -> None:
    timeline = even_timeline(1000, fps)
    assert timeline.at(timeline.times).tolist() == list(range(1000))


def test_a_held_frame_stays_until_the_next_is_due() -> None:
    ticks = [0, 40, 80, 120, 5120, 5160]  # a pause of 5 s, as in the recording of a still screen
    timeline = timeline_of(ticks, MS)
    assert timeline.at([0.12, 2.7, 5.0, 5.099, 5.101, 5.13]).tolist() == [3, 3, 3, 3, 4, 4]


def test_of_frames_with_one_time_the_first_is_shown() -> None:
    assert timeline_of([0, 0, 0], MS).is_even  # nothing but the number is known
    timeline = timeline_of([0, 40, 40, 80], MS)
    assert timeline.at([0.0, 0.04, 0.08]).tolist() == [0, 1, 3]
