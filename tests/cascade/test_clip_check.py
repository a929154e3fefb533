"""Jumps from frame to frame, in clips whose truth is known, and what is done about them."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from doll_cascade import pictures

from mav_lightning.cascade import sampling_chain
from mav_lightning.cascade.clip_check import (
    LARGEST_JUMP,
    ClipWarning,
    Jump,
    color_change,
    describe_jump,
    find_jumps,
    jump_sizes,
    last_given,
)
from mav_lightning.cascade.clip_requests import (
    AnimateRequest,
    ClipRequest,
    ExtrapolateRequest,
    MorphRequest,
    TextRequest,
)
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.cascade.video_pipeline import Pipeline
from mav_lightning.common.shapes_world.laws import LAW_OF_SHAPE, sample_motion
from mav_lightning.common.shapes_world.scene import RADIUS, Scene, all_scenes, render
from mav_lightning.prompts import Prompt

TINY = Sampling(size=16, frames=9, skip=4, low_factor=2, high_factor=2)


def moving(x: np.ndarray, scene: Scene | None = None) -> np.ndarray:
    """A clip whose object's center is at these places, in frame widths."""
    return render(scene or Scene("red", "circle", "dark"), np.stack([x, np.full(len(x), 0.5)], axis=1), 64)


@pytest.mark.parametrize("fps", [16, 32, 64])
def test_real_motion_has_no_jumps(fps: int) -> None:
    rng = np.random.default_rng(0)
    for scene in all_scenes()[::4]:
        motion = sample_motion(LAW_OF_SHAPE[scene.shape], rng)
        assert find_jumps(render(scene, motion.at(np.arange(33) / fps), 64)) == []


@pytest.mark.parametrize("ground", ["dark", "light", "checkered"])
@pytest.mark.parametrize("frame", [0, 1, 15, 30, 31])
def test_an_object_that_leaps_by_more_than_its_radius_is_found_wherever_it_does(frame: int, ground: str) -> None:
    x = 0.25 + 0.01 * np.arange(33)
    x[frame + 1 :] += 1.2 * RADIUS
    (jump,) = find_jumps(moving(x, Scene("blue", "square", ground)))
    assert jump.frame == frame and jump.size > LARGEST_JUMP


def test_fast_motion_in_a_slow_clip_is_no_jump() -> None:
    steps = np.full(32, 0.004)
    steps[10:14] = 0.02
    assert find_jumps(moving(0.2 + np.append(0.0, np.cumsum(steps)))) == []


def test_the_seam_of_a_loop_counts_only_in_a_loop() -> None:
    there_and_back = 0.5 + 0.2 * np.sin(np.arange(40) / 40 * 2 * np.pi)
    assert find_jumps(moving(there_and_back), loop=True) == []
    there = moving(0.2 + 0.015 * np.arange(40))
    assert find_jumps(there) == []
    (seam,) = find_jumps(there, loop=True)
    assert seam.frame == 39


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_clips_too_short_to_compare_have_no_jumps(frames: int) -> None:
    clip = pictures(1, frames)[0]
    assert jump_sizes(clip).shape == (frames - 1,) and find_jumps(clip) == []


def test_noise_in_a_still_picture_is_no_motion() -> None:
    still = np.full((9, 8, 8, 3), 100, np.uint8)
    still[4, 0, 0] += 100
    assert find_jumps(still) == []


def resized(radii: list[float]) -> np.ndarray:
    """A still disc in the middle, of one radius per frame, in frame widths."""
    y, x = (np.mgrid[:64, :64] + 0.5) / 64 - 0.5
    frames = np.full((len(radii), 64, 64, 3), 35, np.uint8)
    for frame, radius in zip(frames, radii, strict=True):
        frame[np.hypot(x, y) < radius] = (225, 40, 40)
    return frames


@pytest.mark.parametrize("radius", [0.12, 0.35])
def test_a_given_object_that_changes_its_size_at_once_is_found(radius: float) -> None:
    clip = resized([radius, 0.2, 0.2, 0.2, 0.2])
    assert color_change(clip) > 2
    assert [jump.frame for jump in find_jumps(clip, given=0)] == [0]
    longer = np.concatenate([clip[:1], clip])
    assert [jump.frame for jump in find_jumps(longer, given=1)] == [1]


def test_a_given_object_that_only_moves_is_like_the_training_frames() -> None:
    clip = moving(0.3 + 0.1 * np.arange(5))
    assert color_change(clip) < 1 and find_jumps(clip, given=0) == []
    assert color_change(clip[:2]) == 0.0


def test_only_uses_that_go_on_from_given_frames_compare_them() -> None:
    image, clip = pictures(1, 1)[0], pictures(1, 6)[0]
    assert last_given(AnimateRequest(frames=image, fps=8.0, seed=0)) == 0
    assert last_given(ExtrapolateRequest(frames=clip, fps=8.0, seed=0)) == 5
    assert last_given(text()) is None
    assert last_given(MorphRequest(frames=clip[:2], fps=8.0, seed=0)) is None


def text(loop: bool = False) -> ClipRequest:
    return TextRequest(prompt=Prompt("x"), fps=4.0, seed=3, loop=loop)


@pytest.mark.parametrize(
    ("request_", "frame", "message"),
    [
        (
            text(),
            12,
            "clip 00007 (seed 3, 4 fps) jumps between frames 13 and 14, 5.0 times its usual step: try another",
        ),
        (text(), 12, "try another seed or a higher frame rate."),
        (text(loop=True), 39, "between frames 40 and 1, 5.0 times"),
        (text(loop=True), 32, "there is no smooth way back to the first frame; try another seed."),
        (text(loop=True), 31, "try another seed or a higher frame rate."),
        (AnimateRequest(frames=pictures(1, 1)[0], fps=8.0, seed=0), 0, "the given frames may be unlike those the"),
        (MorphRequest(frames=pictures(1, 2)[0], fps=8.0, seed=0), 7, "the given frames may be unlike those the"),
        (ExtrapolateRequest(frames=pictures(1, 6)[0], fps=8.0, seed=0), 5, "the given frames may be unlike those"),
        (ExtrapolateRequest(frames=pictures(1, 6)[0], fps=8.0, seed=0), 3, "try another seed or a higher"),
    ],
)
def test_a_warning_names_the_clip_the_frames_and_the_way_out(request_: ClipRequest, frame: int, message: str) -> None:
    assert message in describe_jump("00007", Jump(frame, 5.0), request_, TINY)


@pytest.fixture(scope="module")
def cascade(cascade_folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(cascade_folder)


def looped(pipeline: Pipeline, seams: list[float], monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, int]:
    """A loop whose attempts have these seams, and the number of attempts."""
    left = list(seams)

    def measured(frames: np.ndarray, loop: bool) -> np.ndarray:
        return np.array([0.0] * (len(frames) - 1) + [left.pop(0)])

    monkeypatch.setattr(sampling_chain, "jump_sizes", measured)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClipWarning)
        return pipeline("a red circle", fps=8.0, seeds=0, loop=True)[0], len(seams) - len(left)


def test_a_loop_without_a_seam_is_drawn_once(cascade: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    first, attempts = looped(cascade, [1.0, 9.0], monkeypatch)
    assert attempts == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClipWarning)
        plain = cascade("a red circle", fps=8.0, seeds=0)[0]
    assert len(first) == len(plain) + 3


def test_a_loop_with_a_seam_is_drawn_again_and_the_smoothest_is_kept(
    cascade: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = looped(cascade, [1.0], monkeypatch)
    second, attempts = looped(cascade, [9.0, 1.0], monkeypatch)
    assert attempts == 2
    kept, attempts = looped(cascade, [9.0, 3.0, 9.0, 9.0, 9.0], monkeypatch)
    assert attempts == 4, "the number of attempts is bounded"
    assert np.array_equal(kept, second) and not np.array_equal(kept[-3:], first[-3:])
    assert np.array_equal(looped(cascade, [9.0, 9.0, 9.0, 9.0], monkeypatch)[0], first)


def test_python_warns_of_jumps(cascade: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    from mav_lightning.cascade import video_pipeline

    monkeypatch.setattr(video_pipeline, "find_jumps", lambda *_: [Jump(2, 7.0)])
    with pytest.warns(ClipWarning, match=r"clip 0 \(seed 5, 8 fps\) jumps between frames 3 and 4, 7.0 times"):
        cascade("a red circle", fps=8.0, seeds=5)
