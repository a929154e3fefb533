import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from mav_lightning.common.errors import UserError
from mav_lightning.media.optical_flow import consistent, flow_of, inside, warp
from mav_lightning.media.working_size import LONGER_SIDE, at_working_size


def texture(size: int, seed: int = 0, grain: float = 3.0) -> NDArray[np.uint8]:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(size, size, 3)), (grain, grain, 0))
    return np.interp(noise, (noise.min(), noise.max()), (10, 245)).astype(np.uint8)


def pan(x: int, y: int, frames: int = 3, size: int = 128) -> NDArray[np.uint8]:
    """A camera's view of a texture whose content moves by (x, y) pixels a frame."""
    image, start = texture(size + 100), 50
    places = [(start - number * y, start - number * x) for number in range(frames)]
    return np.stack([image[row : row + size, column : column + size] for row, column in places])


def grid(value: tuple[float, float], height: int = 20, width: int = 24) -> NDArray[np.float32]:
    return np.broadcast_to(np.float32(value), (1, height, width, 2)).copy()


@pytest.mark.parametrize("step", [(1, 0), (0, 2), (-4, 3), (8, 0)])
def test_a_texture_that_moves_by_whole_pixels_flows_by_as_many(step: tuple[int, int]) -> None:
    flow = flow_of(pan(*step))
    middle = np.s_[:, 16:-16, 16:-16]

    np.testing.assert_allclose(np.median(flow.forward[middle], axis=(0, 1, 2)), step, atol=0.05)
    np.testing.assert_allclose(np.median(flow.backward[middle], axis=(0, 1, 2)), np.negative(step), atol=0.05)


def test_stills_have_no_flow_at_all() -> None:
    flow = flow_of(np.repeat(texture(128)[None], 3, axis=0))

    assert not flow.forward.any()
    assert not flow.backward.any()


def test_a_frame_that_brightens_as_a_whole_does_not_move() -> None:
    still = np.repeat(texture(128)[None] // 2, 2, axis=0)
    still[1] += 30

    assert not flow_of(still).forward.any()


def test_flow_is_the_same_again_and_whatever_the_threads() -> None:
    clip = pan(5, 2)
    first = flow_of(clip)
    cv2.setNumThreads(4)
    again = flow_of(clip)

    np.testing.assert_array_equal(again.forward, first.forward)
    np.testing.assert_array_equal(again.backward, first.backward)
    assert cv2.getNumThreads() == 1


def test_warping_by_whole_pixels_shifts_and_carries_the_edge_on() -> None:
    image = texture(24)[None, :20]

    pulled = warp(image, grid((3, -2)))

    np.testing.assert_array_equal(pulled[:, 2:, :-3], image[:, :-2, 3:])
    np.testing.assert_array_equal(pulled[:, :2, 0], image[:, :1, 3].repeat(2, axis=1))


def test_only_flow_that_stays_in_the_frame_is_inside() -> None:
    kept = inside(grid((3, -2)))

    assert kept[:, 2:, :-3].all()
    assert kept.sum() == 18 * 21


def test_flow_is_consistent_where_the_way_back_leads_home() -> None:
    there = grid((3, -2))

    np.testing.assert_array_equal(consistent(there, -there), inside(there))
    assert consistent(there, -there + 0.4)[inside(there)].all()
    assert not consistent(there, grid((0, 0))).any()


def test_the_ground_that_a_moving_object_hides_is_not_consistent() -> None:
    clip = np.stack([texture(128)] * 2)
    for frame, left in zip(clip, (40, 48), strict=True):
        frame[40:80, left : left + 40] = texture(40, seed=1)

    found = flow_of(clip)
    kept = consistent(found.forward, found.backward)[0]

    assert kept[45:75, 82:86].mean() < 0.2  # will be covered
    assert kept[45:75, 46:74].mean() > 0.95  # the object
    assert kept[90:].mean() > 0.95  # the ground


@pytest.mark.parametrize("size", [(16, 16), (12, 16), (30, 200), (1080, 1920)])
def test_frames_of_any_size_are_brought_to_one_at_which_flow_works(size: tuple[int, int]) -> None:
    frames = np.zeros((2, *size, 3), np.uint8)

    scaled = at_working_size(frames)

    assert max(scaled.shape[1:3]) == LONGER_SIDE
    assert scaled.shape[1] / scaled.shape[2] == pytest.approx(size[0] / size[1], abs=0.01)
    assert scaled.dtype == np.uint8
    assert not flow_of(scaled).forward.any()


def test_frames_at_the_working_size_are_left_as_they_are() -> None:
    frames = pan(1, 1)

    np.testing.assert_array_equal(at_working_size(frames), frames)


def test_frames_that_are_too_narrow_are_refused() -> None:
    with pytest.raises(UserError, match="200x20 pixels are too narrow .* crop to 8:1 or less"):
        at_working_size(np.zeros((2, 20, 200, 3), np.uint8))
    with pytest.raises(ValueError, match="at least 16 pixels a side, got 128x15"):
        flow_of(np.zeros((2, 15, 128, 3), np.uint8))


@pytest.mark.parametrize(
    "frames", [np.zeros((2, 32, 32, 3)), np.zeros((2, 32, 32), np.uint8), np.zeros((0, 32, 32, 3))]
)
def test_what_is_no_clip_is_refused_with_what_it_is(frames: NDArray) -> None:
    with pytest.raises(UserError, match=r"uint8 frames \(T, H, W, 3\), got " + str(frames.dtype)):
        at_working_size(frames)
