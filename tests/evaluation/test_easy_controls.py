"""The strict law measure at level easy: what it gives to real clips and to those of bad models."""

from collections.abc import Callable

import numpy as np
import pytest

from evaluation.ground_truth.law_accuracy import EasyLawAccuracy, judge
from evaluation.ground_truth.object_tracking import track

RATES = (4.0, 8.0, 12.0)
pytestmark = pytest.mark.parametrize("fps", RATES)


def test_real_clips_follow_their_laws_after_the_codec(real_clips: Callable, fps: float) -> None:
    clips = real_clips(fps, level="easy")

    scores = EasyLawAccuracy()(clips.pixels, clips.fps, clips.shapes)

    assert scores["law"] == 1.0
    assert scores["speed-ratio"] == pytest.approx(1.0, abs=0.02)


def test_the_law_of_another_shape_scores_nothing(real_clips: Callable, fps: float) -> None:
    clips = real_clips(fps, right_law=False, level="easy")

    assert EasyLawAccuracy()(clips.pixels, clips.fps, clips.shapes)["law"] == 0.0


def test_still_clips_score_nothing(real_clips: Callable, fps: float) -> None:
    clips = real_clips(fps, level="easy")
    still = np.repeat(clips.pixels[:, 4:5], 9, axis=1)

    scores = EasyLawAccuracy()(still, clips.fps, clips.shapes)

    assert scores["law"] == 0.0
    assert scores["law-forced-choice"] < 0.4
    assert scores["speed-ratio"] == 0.25  # the slowest of the range


def test_shuffled_frames_score_nothing(real_clips: Callable, fps: float) -> None:
    clips, rng = real_clips(fps, level="easy"), np.random.default_rng(0)
    shuffled = np.stack([clip[rng.permutation(len(clip))] for _ in range(5) for clip in clips.pixels])

    assert EasyLawAccuracy()(shuffled, np.repeat(clips.fps, 5), clips.shapes * 5)["law"] == 0.0


@pytest.mark.parametrize("widths", [0.01, 0.02, 0.03, 0.05, 0.1, 0.2])
def test_noise_around_a_place_scores_nothing(real_clips: Callable, fps: float, widths: float) -> None:
    clips, rng = real_clips(fps, level="easy"), np.random.default_rng(0)
    place = np.repeat(track(clips.pixels)[:, :1], 9, axis=1)

    verdict = judge(place + rng.normal(0.0, widths, place.shape), clips.fps, clips.shapes, "easy")

    assert not verdict.follows.any()


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_half_and_twice_the_speed_score_nothing(real_clips: Callable, fps: float, ratio: float) -> None:
    clips = real_clips(fps, level="easy")

    scores = EasyLawAccuracy()(clips.pixels, clips.fps / ratio, clips.shapes)  # ever as far, in other times

    assert scores["law"] == 0.0
    assert scores["law-forced-choice"] == 1.0


def test_motion_of_the_hard_level_scores_nothing(real_clips: Callable, fps: float) -> None:
    clips = real_clips(fps)

    assert EasyLawAccuracy()(clips.pixels, clips.fps, clips.shapes)["law"] <= 0.02
