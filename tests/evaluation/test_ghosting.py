import numpy as np

from evaluation.ground_truth.ghosting import ghosting, object_area
from mav_lightning.common.shapes_world.laws import LAW_OF_SHAPE, sample_motion
from mav_lightning.common.shapes_world.scene import all_scenes, render_motion

KNOWN = np.arange(33) % 4 == 0


def ghosts(video: np.ndarray, known: np.ndarray = KNOWN) -> np.ndarray:
    return ghosting(object_area(video), known)


def clips(fps: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    scenes = all_scenes()
    times = np.arange(33) / fps
    return np.stack([render_motion(s, sample_motion(LAW_OF_SHAPE[s.shape], rng), times, 16) for s in scenes])


def blended(video: np.ndarray) -> np.ndarray:
    keys, share = video[:, KNOWN].astype(float), (np.arange(4) / 4)[:, None, None, None]
    between = keys[:, :-1, None] * (1 - share) + keys[:, 1:, None] * share
    return np.concatenate([between.reshape(len(video), 32, 16, 16, 3), keys[:, -1:]], axis=1).round().astype(np.uint8)


def test_real_motion_has_no_ghosts() -> None:
    for fps in (16.0, 32.0, 64.0):
        assert abs(ghosts(clips(fps)).mean()) < 0.01


def test_blending_draws_ghosts_and_more_of_them_the_further_the_object_moves() -> None:
    fast, slow, slowest = (ghosts(blended(clips(fps))).mean() for fps in (16.0, 32.0, 64.0))
    assert fast > 0.1 > slow > 0.04 > slowest > 0.005


def test_two_faint_objects_apart_count_twice() -> None:
    one, other = np.zeros((2, 1, 16, 16, 3), np.uint8)
    one[0, 2:6, 2:6, 0], other[0, 10:14, 10:14, 0] = 200, 200
    both = (one.astype(int) + other) // 2
    video = np.stack([one, both.astype(np.uint8), other], axis=1)
    assert ghosts(video, np.array([True, False, True])) == 1.0


def test_a_frame_held_has_no_ghost() -> None:
    held = clips(16.0)[:, (np.arange(33) // 4) * 4]
    assert abs(ghosts(held).mean()) < 0.01


def test_noise_on_the_ground_is_no_ghost() -> None:
    real = clips(32.0).astype(int)
    noise = np.random.default_rng(1).normal(0, 4, real.shape).round().astype(int)
    noise[:, KNOWN] = 0
    assert abs(ghosts((real + noise).clip(0, 255).astype(np.uint8)).mean()) < 0.03


def test_clips_without_an_object_in_given_frames_have_no_value() -> None:
    real = clips(32.0)[:2]
    blank = np.full_like(real, 40)
    shown_between = np.where(KNOWN[None, :, None, None, None], blank, real)
    assert np.isnan(ghosts(np.concatenate([blank, shown_between]))).all()
