from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from evaluation.clip_sources import Clip
from evaluation.extractors.motion_measures import NAMES, MotionMeasures
from mav_lightning.common.errors import UserError
from mav_lightning.common.shapes_world.laws import sample_motion
from mav_lightning.common.shapes_world.scene import Scene, render_motion


def values(pixels: NDArray[np.uint8]) -> dict[str, float]:
    prepared = MotionMeasures().prepare(Clip("clip", pixels, 8.0, None, {}, "clip"))
    assert prepared.shape == (1, len(NAMES))
    assert prepared.dtype == torch.float32
    return dict(zip(NAMES, prepared[0].tolist(), strict=True))


def clip(size: int, frames: int = 6, ground: str = "checkered") -> NDArray[np.uint8]:
    motion = sample_motion("orbit", np.random.default_rng(1))
    return render_motion(Scene("red", "cross", ground), motion, np.arange(frames) / 16, size)


def halved(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    count, height, width, _ = frames.shape
    return np.rint(frames.reshape(count, height // 2, 2, width // 2, 2, 3).mean(axis=(2, 4))).astype(np.uint8)


def detailed(size: int, frames: int = 6) -> NDArray[np.uint8]:
    """A pan over a texture with detail at every size, by 1/64 of the width a frame."""
    rng = np.random.default_rng(0)
    noise = sum(s * gaussian_filter(rng.normal(size=(size, 2 * size, 3)), (s, s, 0)) for s in (1, 2, 4, 8, 16))
    image = np.interp(noise, (noise.min(), noise.max()), (10, 245)).astype(np.uint8)
    return np.stack([image[:, n * size // 64 : n * size // 64 + size] for n in range(frames)])


def test_stills_have_the_value_of_nothing_that_happens() -> None:
    assert values(clip(64)[:1].repeat(5, axis=0)) == {
        "displacement": 0.0,
        "moving_displacement": 0.0,
        "warped_flicker": 0.0,
        "compared_share": 1.0,
        "temporal_consistency": 1.0,
        "loop_closure": 1.0,
        "freeze_share": 1.0,
    }


@pytest.mark.parametrize("make", [clip, detailed])
def test_values_do_not_depend_on_the_size(make: Callable[[int], NDArray[np.uint8]]) -> None:
    large = make(256)
    small = halved(large)

    at_256, at_128 = values(large), values(small)

    for name in NAMES:
        assert at_256[name] == pytest.approx(at_128[name], rel=0.02, abs=1e-4), name


def test_displacement_stays_where_a_clip_must_be_enlarged() -> None:
    large = clip(128, ground="dark")

    for name in ("displacement", "moving_displacement"):
        assert values(halved(large))[name] == pytest.approx(values(large)[name], rel=0.15), name


@pytest.mark.parametrize("size", [(16, 16), (48, 64), (90, 40)])
def test_frames_of_any_size_and_shape_are_measured(size: tuple[int, int]) -> None:
    measured = values(clip(96)[:, : size[0], : size[1]])

    assert np.isfinite(list(measured.values())).all()


def test_clips_are_kept_as_they_are_and_measured_the_same_again() -> None:
    pixels = clip(64)
    before = pixels.copy()

    first = values(pixels)

    np.testing.assert_array_equal(pixels, before)
    assert values(pixels) == first


def test_what_is_undefined_for_few_frames_is_nan() -> None:
    one, two = values(clip(32, frames=1)), values(clip(32, frames=2))

    assert np.isnan(list(one.values())).all()
    assert [name for name in NAMES if np.isnan(two[name])] == ["loop_closure"]


def test_prepared_clips_are_given_on() -> None:
    prepared = torch.randn(3, 1, len(NAMES))

    assert MotionMeasures()(prepared) is prepared


def test_what_is_no_clip_is_refused() -> None:
    with pytest.raises(UserError, match="float64"):
        values(np.zeros((3, 32, 32, 3)))
