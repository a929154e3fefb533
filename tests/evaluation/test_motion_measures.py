from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from evaluation.motion.flow_measures import (
    freeze_share,
    loop_closure,
    moving_displacement,
    repeats,
    temporal_consistency,
    warped_flicker,
)
from mav_lightning.common.shapes_world.laws import LAW_OF_SHAPE, sample_motion
from mav_lightning.common.shapes_world.scene import Scene, render, render_motion
from mav_lightning.common.video_encoding import encode_mp4
from mav_lightning.media.media_reader import read_frames
from mav_lightning.media.optical_flow import Flow, displacement, flow_of
from mav_lightning.media.working_size import at_working_size

FRAMES = 9


def texture(size: int, seed: int = 0, grain: float = 3.0) -> NDArray[np.uint8]:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(size, size, 3)), (grain, grain, 0))
    return np.interp(noise, (noise.min(), noise.max()), (40, 215)).astype(np.uint8)


def pan(step: int, frames: int = 6, width: int = 128, height: int = 96) -> NDArray[np.uint8]:
    image = texture(256)
    return np.stack([image[20 : 20 + height, n * step : n * step + width] for n in range(frames)])


def still(frames: int = 6) -> NDArray[np.uint8]:
    return pan(0, frames)


def shuffled(clip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return clip[np.random.default_rng(0).permutation(len(clip))]


@cache
def world(fps: float, size: int, ground: str = "dark") -> list[tuple[NDArray[np.uint8], float, str]]:
    """Clips of every law, twice, with the true mean step of their object in widths, and the law."""
    clips = []
    for shape, law in LAW_OF_SHAPE.items():
        for seed, colour in enumerate(("red", "cyan")):
            motion, times = sample_motion(law, np.random.default_rng(seed)), np.arange(FRAMES) / fps
            true = np.linalg.norm(np.diff(motion.at(times), axis=0), axis=1).mean()
            clip = at_working_size(render_motion(Scene(colour, shape, ground), motion, times, size))
            clips.append((clip, float(true), law))
    return clips


@cache
def found_steps(fps: float, size: int, ground: str = "dark") -> NDArray[np.float64]:
    return np.array([moving_displacement(flow_of(clip)) for clip, _, _ in world(fps, size, ground)])


def true_steps(fps: float) -> NDArray[np.float64]:
    return np.array([true for _, true, _ in world(fps, 64)])


# Displacement


def test_stills_are_not_displaced() -> None:
    flow = flow_of(still())

    assert displacement(flow) == moving_displacement(flow) == 0.0


@pytest.mark.parametrize("step", [1, 2, 4, 8])
def test_a_panned_texture_is_displaced_by_its_step_in_widths(step: int) -> None:
    flow = flow_of(pan(step))

    assert displacement(flow) == pytest.approx(step / 128, rel=0.02)
    assert moving_displacement(flow) == pytest.approx(step / 128, rel=0.12)  # what enters the frame is guessed


def test_displacement_counts_all_of_the_frame_and_moving_displacement_its_fastest_part() -> None:
    forward = np.zeros((2, 10, 20, 2), np.float32)
    forward[:, :2, :10, 1] = 5.0  # a tenth of the pixels moves a quarter of the width
    flow = Flow(forward, -forward)

    assert displacement(flow) == pytest.approx(0.025)
    assert moving_displacement(flow) == pytest.approx(0.25)


@pytest.mark.parametrize(("fps", "low", "high"), [(4.0, 0.85, 1.1), (8.0, 0.95, 1.08), (16.0, 0.95, 1.08)])
@pytest.mark.parametrize("size", [64, 128])
def test_the_moving_part_moves_as_the_object_does(fps: float, size: int, low: float, high: float) -> None:
    ratio = found_steps(fps, size) / true_steps(fps)

    assert low < ratio.mean() < high
    assert (ratio > low - 0.2).all()
    assert (ratio < high + 0.2).all()


@pytest.mark.parametrize(("fps", "low", "high"), [(4.0, 0.55, 0.9), (8.0, 0.75, 1.05), (16.0, 0.8, 1.05)])
def test_over_a_textured_ground_fast_objects_seem_slower(fps: float, low: float, high: float) -> None:
    assert low < (found_steps(fps, 64, "checkered") / true_steps(fps)).mean() < high


@pytest.mark.parametrize(("fps", "low", "high"), [(4.0, 0.95, 1.15), (8.0, 1.0, 1.25), (16.0, 1.1, 1.5)])
def test_at_16_pixels_steps_of_half_a_pixel_seem_longer(fps: float, low: float, high: float) -> None:
    assert low < (found_steps(fps, 16) / true_steps(fps)).mean() < high


def test_displacement_falls_with_the_frame_rate_as_the_truth_does() -> None:
    rates = np.array([4.0, 8.0, 16.0])

    def slope(steps: list[float]) -> float:
        return float(np.polyfit(-np.log(rates), np.log(steps), 1)[0])

    found = slope([found_steps(fps, 64).mean() for fps in rates])

    assert found == pytest.approx(slope([true_steps(fps).mean() for fps in rates]), abs=0.06)


# Flicker


def test_stills_do_not_flicker_and_all_of_them_is_compared() -> None:
    assert warped_flicker(still(), flow_of(still())) == (0.0, 1.0)


@pytest.mark.parametrize("amplitude", [2, 5, 12])
def test_flicker_of_brightness_is_measured_in_grey_levels(amplitude: int) -> None:
    clip = still()
    clip[1::2] += np.uint8(amplitude)

    assert warped_flicker(clip, flow_of(clip)) == (pytest.approx(amplitude, abs=0.01), 1.0)


def test_a_pan_is_not_taken_for_flicker() -> None:
    clip = pan(4)
    flicker, share = warped_flicker(clip, flow_of(clip))

    assert flicker < 0.3
    assert np.abs(np.diff(clip.astype(float), axis=0)).mean() > 10
    assert share == pytest.approx(124 / 128, abs=0.01)  # four columns are new in every frame


def test_flicker_beside_motion_keeps_its_amplitude() -> None:
    clip = pan(4)
    clip[1::2] += np.uint8(8)

    assert warped_flicker(clip, flow_of(clip))[0] == pytest.approx(8, abs=0.3)


def test_flicker_is_undefined_where_nothing_is_consistent() -> None:
    forward = np.full((1, 96, 128, 2), 500.0, np.float32)
    flicker, share = warped_flicker(still(2), Flow(forward, forward))

    assert np.isnan(flicker)
    assert share == 0.0


def test_shuffled_frames_flicker_more_and_have_less_in_common() -> None:
    clips = [clip for clip, _, _ in world(16.0, 64)]
    played = np.array([warped_flicker(clip, flow_of(clip)) for clip in clips])
    mixed = np.array([warped_flicker(clip, flow_of(clip)) for clip in map(shuffled, clips)])

    assert mixed[:, 0].mean() > 2 * played[:, 0].mean()  # not in each: what flat colours have in common is alike
    assert (mixed[:, 1] < played[:, 1]).all()


# Consistency


def test_stills_are_consistent_even_without_any_structure() -> None:
    for clip in (still(), np.full_like(still(), 128)):
        assert temporal_consistency(clip, flow_of(clip)) == pytest.approx(1.0, abs=1e-9)


def test_a_pan_is_consistent_and_stays_so_at_half_the_contrast() -> None:
    clip = pan(4)

    assert temporal_consistency(clip, flow_of(clip)) > 0.98
    assert temporal_consistency(clip // 2, flow_of(clip // 2)) > 0.98


def test_real_motion_is_more_consistent_than_shuffled_frames_and_these_than_unrelated_ones() -> None:
    def score(clip: NDArray[np.uint8]) -> float:
        return temporal_consistency(clip, flow_of(clip))

    rng = np.random.default_rng(0)
    clips = [clip for clip, _, _ in world(16.0, 64)]
    places = [rng.uniform(0.23, 0.77, (FRAMES, 2)) for _ in clips]
    stills = [at_working_size(render(Scene("red", "cross", "dark"), place, 64)) for place in places]
    unrelated = np.stack([texture(128, seed, grain=1.5) for seed in range(4)])
    played, mixed, strewn = (np.mean([score(clip) for clip in few]) for few in (clips, map(shuffled, clips), stills))

    assert played > 0.95 > mixed > strewn
    assert score(unrelated) < 0.5  # and not 0: flow bends blobs into each other


# Loops and freezes


def test_a_seamless_loop_closes_with_a_step_like_the_others() -> None:
    angles = 2 * np.pi * np.arange(12) / 12
    centers = 0.5 + 0.22 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    clip = at_working_size(render(Scene("red", "circle", "dark"), centers, 64))

    assert loop_closure(clip) == pytest.approx(1.0, abs=0.05)
    assert loop_closure(clip[:7]) > 2.5  # half a turn
    assert loop_closure(np.concatenate([clip, clip[:1]])) < 0.3  # the last frame is the first


def test_the_way_back_of_a_clip_that_brightens_is_as_long_as_all_its_steps() -> None:
    clip = still()
    clip += (10 * np.arange(6, dtype=np.uint8))[:, None, None, None]

    assert loop_closure(clip) == pytest.approx((50 + 1) / (10 + 1), rel=0.001)


def test_stills_close_and_frames_shown_twice_do_not_change_how() -> None:
    clip = still()
    clip += (10 * np.arange(6, dtype=np.uint8))[:, None, None, None]

    assert loop_closure(still()) == 1.0
    assert loop_closure(clip.repeat(2, axis=0)) == loop_closure(clip)


def test_frames_in_random_order_close_like_a_loop() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)

    assert loop_closure(noise) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(("times", "share"), [(1, 0.0), (2, 6 / 11), (3, 12 / 17)])
def test_frames_shown_several_times_are_counted(times: int, share: float) -> None:
    assert freeze_share(pan(2).repeat(times, axis=0)) == pytest.approx(share)


def test_stills_are_frozen_and_stay_so_through_the_codec() -> None:
    large = render(Scene("red", "cross", "checkered"), np.full((12, 2), 0.4), 256)
    through = at_working_size(read_frames(encode_mp4(large, 8.0, crf=23, gop=4)))

    assert np.diff(through.astype(int), axis=0).any()
    assert freeze_share(still()) == freeze_share(through) == 1.0


def test_noise_that_averages_out_is_frozen_but_a_small_object_that_moves_is_not() -> None:
    rng = np.random.default_rng(0)
    noisy = (still(4) + rng.normal(0, 2, (4, 96, 128, 3))).astype(np.uint8)
    moving = still(4)
    for number, frame in enumerate(moving):
        frame[40:46, 40 + 2 * number : 46 + 2 * number] = 255  # 0.3 % of the frame

    assert repeats(noisy).all()
    assert not repeats(moving).any()


def test_an_object_as_bright_as_its_ground_is_seen_to_move() -> None:
    clip = np.full((4, 96, 128, 3), 100, np.uint8)
    for number, frame in enumerate(clip):
        frame[40:60, 40 + 4 * number : 60 + 4 * number] = (200, 55, 72)  # of luminance 100

    assert not repeats(clip).any()
