from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.ground_truth.flicker import flicker
from evaluation.ground_truth.object_tracking import track
from mav_lightning.common.shapes_world.scene import render


def mean_flicker(pixels: NDArray[np.uint8], fps: float) -> float:
    return float(np.mean([flicker(clip, centers, fps) for clip, centers in zip(pixels, track(pixels), strict=True)]))


def test_a_still_clip_does_not_flicker(real_clips: Callable) -> None:
    clips = real_clips(8.0)

    assert mean_flicker(np.repeat(clips.pixels[:, :1], 9, axis=1), 8.0) == 0.0


@pytest.mark.parametrize("fps", [4.0, 8.0, 16.0])
def test_real_motion_is_taken_out(real_clips: Callable, fps: float) -> None:
    clips = real_clips(fps)
    change = np.abs(np.diff(clips.pixels.astype(float), axis=1)).mean()

    assert mean_flicker(clips.pixels, fps) < 1.0 < change


@pytest.mark.parametrize("fps", [8.0, 16.0])
def test_independent_stills_flicker_even_if_each_is_perfect(real_clips: Callable, fps: float) -> None:
    clips, rng = real_clips(fps), np.random.default_rng(0)
    stills = np.stack([render(scene, rng.uniform(0.23, 0.77, (9, 2)), 16) for scene in clips.scenes])

    assert mean_flicker(stills, fps) > 10 * mean_flicker(clips.pixels, fps)


@pytest.mark.parametrize("what", ["ground", "colour"])
def test_unsteady_ground_and_colour_count_by_their_size(real_clips: Callable, what: str) -> None:
    clips, rng = real_clips(8.0), np.random.default_rng(0)
    shape = (len(clips.pixels), 9, 16, 16, 3) if what == "ground" else (len(clips.pixels), 9, 1, 1, 3)

    noisy = [
        mean_flicker(np.clip(clips.pixels + rng.normal(0, level, shape), 0, 255).astype(np.uint8), 8.0)
        for level in (0, 4, 8)
    ]

    assert noisy[1] > 5 * noisy[0]
    assert noisy[2] > 1.5 * noisy[1]
