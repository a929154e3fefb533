import numpy as np
import pytest

from mav_lightning.common.shapes_world.laws import (
    EASY_LAWS,
    EASY_SECONDS,
    LAW_OF_SHAPE,
    LAWS,
    laws_of_shapes,
    sample_motion,
)
from mav_lightning.common.shapes_world.scene import (
    COLOURS,
    HELD_OUT_PAIRS,
    RADIUS,
    SHAPES,
    Scene,
    all_scenes,
    caption,
    render,
    render_motion,
)


@pytest.mark.parametrize("law", LAWS)
def test_the_mean_speed_along_a_path_is_the_laws(law: str) -> None:
    motion = sample_motion(law, np.random.default_rng(0))
    centers = motion.at(np.linspace(0, LAWS[law].period, 20_001))
    length = np.linalg.norm(np.diff(centers, axis=0), axis=1).sum()
    assert length / LAWS[law].period == pytest.approx(LAWS[law].speed, rel=1e-3)


@pytest.mark.parametrize("law", LAWS)
def test_motion_repeats_after_a_period_and_stays_in_the_frame(law: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        motion = sample_motion(law, rng)
        seconds = np.linspace(0, 3, 301)
        centers = motion.at(seconds)
        np.testing.assert_allclose(motion.at(seconds + LAWS[law].period), centers, atol=1e-9)
        assert centers.min() >= RADIUS and centers.max() <= 1 - RADIUS


def test_falling_accelerates_evenly_and_bounces_on_the_floor() -> None:
    motion = sample_motion("bounce", np.random.default_rng(3))
    height = motion.at(np.arange(0, 1.1, 0.01))[:, 1]
    acceleration = np.diff(height, 2)
    kinks = np.abs(acceleration - np.median(acceleration)) > 1e-9
    assert kinks.sum() <= 2, "one kink a period, seen by two differences at most"
    assert np.median(acceleration) > 0, "y points down, and so does gravity"


@pytest.mark.parametrize(
    ("shape", "velocity"),
    [("circle", (0, 0.18)), ("square", (0.18, 0)), ("triangle", (0, -0.18)), ("cross", (-0.18, 0))],
)
def test_at_level_easy_every_shape_moves_straight_in_its_own_direction(
    shape: str, velocity: tuple[float, float]
) -> None:
    motion = sample_motion(laws_of_shapes("easy")[shape], np.random.default_rng(0), seconds=2.0)
    centers = motion.at(np.arange(9) / 4)
    np.testing.assert_allclose(np.diff(centers, axis=0) * 4, np.broadcast_to(velocity, (8, 2)), atol=1e-12)


@pytest.mark.parametrize("law", EASY_LAWS)
def test_easy_motion_stays_in_the_frame_for_the_length_of_the_video(law: str) -> None:
    rng = np.random.default_rng(0)
    centers = np.stack([sample_motion(law, rng, 2.25).at(np.linspace(0, 2.25, 46)) for _ in range(500)])
    assert centers.min() >= RADIUS and centers.max() <= 1 - RADIUS
    along = centers[..., 0] if law in ("advance", "retreat") else centers[..., 1]
    assert np.ptp(along[:, 0]) == pytest.approx(0.54 * (1 - 2.25 / EASY_SECONDS), rel=0.02), "starts are uniform"


def test_the_level_changes_no_hard_motion() -> None:
    assert laws_of_shapes("hard") == LAW_OF_SHAPE
    motion = sample_motion("orbit", np.random.default_rng(5), seconds=3.0)
    assert motion == sample_motion("orbit", np.random.default_rng(5))
    assert motion.phase == np.random.default_rng(5).uniform()


def test_no_caption_tells_of_motion_and_every_caption_tells_of_looks() -> None:
    forbidden = ("bounc", "slid", "climb", "orbit", "mov", "fall", "ris")
    for scene in all_scenes():
        for phrasing in range(5):
            text = caption(scene, phrasing)
            assert all(word in text for word in (scene.colour, scene.shape, scene.ground))
            assert not any(word in text for word in forbidden)


def test_every_shape_and_colour_has_a_pair_that_clips_never_show_and_one_that_they_do() -> None:
    assert {shape for _, shape in HELD_OUT_PAIRS} == set(SHAPES) == set(LAW_OF_SHAPE)
    assert {colour for colour, _ in HELD_OUT_PAIRS} == set(COLOURS)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_object_is_drawn_around_its_center(shape: str) -> None:
    center = np.array([[0.43, 0.58]])
    frame = render(Scene("red", shape, "dark"), center, size=64)[0].astype(float)
    mass = frame.max(axis=2) - frame.min(axis=2)
    ticks = (np.arange(64) + 0.5) / 64
    found = [(mass.sum(0) * ticks).sum() / mass.sum(), (mass.sum(1) * ticks).sum() / mass.sum()]
    np.testing.assert_allclose(found, center[0], atol=0.01)


def test_grounds_are_grey_and_objects_are_not() -> None:
    for scene in all_scenes():
        frame = render(scene, np.array([[0.5, 0.5]]), size=32)[0].astype(int)
        saturation = frame.max(axis=2) - frame.min(axis=2)
        assert saturation[:3].max() == 0 and saturation[16, 16] > 100


def test_a_clip_shows_the_same_world_at_any_frame_rate() -> None:
    motion = sample_motion("orbit", np.random.default_rng(0))
    scene = Scene("blue", "cross", "light")
    slow, fast = (render_motion(scene, motion, np.arange(9) / fps, 16) for fps in (4, 8))
    assert np.array_equal(slow[:5], fast[::2])
