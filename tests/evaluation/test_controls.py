"""The strict law measure must not be fooled: what it gives to real clips and to those of bad models."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.ground_truth.law_accuracy import LawAccuracy, judge
from evaluation.ground_truth.object_tracking import track
from mav_lightning.common.shapes_world.scene import render

RATES = (4.0, 8.0, 16.0)


@pytest.mark.parametrize("fps", RATES)
def test_real_clips_follow_their_laws_after_the_codec(real_clips: Callable, fps: float) -> None:
    clips = real_clips(fps)

    scores = LawAccuracy()(clips.pixels, clips.fps, clips.shapes)

    assert scores["law"] >= 0.99
    assert scores["speed-ratio"] == pytest.approx(1.0, abs=0.02)
    assert scores[f"law@{fps:g}"] == scores["law"]


@pytest.mark.parametrize("fps", RATES)
def test_the_law_of_another_shape_scores_nothing(real_clips: Callable, fps: float) -> None:
    clips = real_clips(fps, right_law=False)

    assert LawAccuracy()(clips.pixels, clips.fps, clips.shapes)["law"] == 0.0


@pytest.mark.parametrize("fps", RATES)
def test_still_clips_score_nothing_though_a_forced_choice_flatters_them(real_clips: Callable, fps: float) -> None:
    clips = real_clips(fps)
    still = np.repeat(clips.pixels[:, :1], clips.pixels.shape[1], axis=1)

    scores = LawAccuracy()(still, clips.fps, clips.shapes)

    assert scores["law"] == 0.0
    assert scores["law-forced-choice"] > 0.1
    assert scores["speed-ratio"] == 0.25  # the slowest of the range, not 1


@pytest.mark.parametrize("fps", RATES)
def test_shuffled_frames_score_nearly_nothing(real_clips: Callable, fps: float) -> None:
    clips, rng = real_clips(fps), np.random.default_rng(0)
    shuffled = np.stack([clip[rng.permutation(len(clip))] for _ in range(5) for clip in clips.pixels])

    assert LawAccuracy()(shuffled, np.repeat(clips.fps, 5), clips.shapes * 5)["law"] <= 0.02


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("widths", [0.01, 0.02, 0.03, 0.05, 0.1, 0.2])
def test_noise_around_a_place_scores_nothing(real_clips: Callable, fps: float, widths: float) -> None:
    clips, rng = real_clips(fps), np.random.default_rng(0)
    place = np.repeat(track(clips.pixels)[:, :1], 9, axis=1)

    assert strict(place + rng.normal(0.0, widths, place.shape), clips) <= 0.005


@pytest.mark.parametrize("fps", RATES)
def test_frames_sampled_independently_score_nothing(real_clips: Callable, fps: float) -> None:
    clips, rng = real_clips(fps), np.random.default_rng(0)
    stills = np.stack([render(scene, rng.uniform(0.23, 0.77, (9, 2)), 16) for scene in clips.scenes])

    assert LawAccuracy()(stills, clips.fps, clips.shapes)["law"] == 0.0


@pytest.mark.parametrize(("made_for", "claimed"), [(8.0, 4.0), (16.0, 8.0), (4.0, 8.0), (8.0, 16.0)])
def test_ignoring_the_frame_rate_scores_nothing(real_clips: Callable, made_for: float, claimed: float) -> None:
    clips = real_clips(made_for)

    scores = LawAccuracy()(clips.pixels, np.full_like(clips.fps, claimed), clips.shapes)

    assert scores["law"] == 0.0
    assert scores["speed-ratio"] == pytest.approx(claimed / made_for, rel=0.03)


@pytest.mark.parametrize("fps", RATES)
def test_clips_a_tenth_of_a_pixel_off_still_follow(real_clips: Callable, fps: float) -> None:
    clips, rng = real_clips(fps), np.random.default_rng(0)
    tracks = track(clips.pixels)

    assert strict(tracks + rng.normal(0.0, 0.1 / 16, tracks.shape), clips) >= 0.97


def test_an_object_missing_in_one_frame_does_not_count(real_clips: Callable) -> None:
    clips = real_clips(8.0)
    gone = clips.pixels.copy()
    gone[:, 4] = 128

    verdict = judge(track(gone), clips.fps, clips.shapes)

    assert not verdict.follows.any()
    assert not verdict.fits_best.any()
    assert np.isnan(verdict.speed).all()


def strict(tracks: NDArray[np.float64], clips: object) -> float:
    return float(judge(tracks, clips.fps, clips.shapes).follows.mean())  # type: ignore[attr-defined]
