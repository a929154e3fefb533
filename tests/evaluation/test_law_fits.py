import numpy as np
import pytest

from evaluation.ground_truth.law_fits import fit_law, fit_laws, fitted_speed
from evaluation.ground_truth.object_tracking import track
from mav_lightning.common.shapes_world.laws import LAWS, Motion, sample_motion
from mav_lightning.common.shapes_world.scene import COLOURS, SHAPES, Scene, render

FPS = np.array([8.0])


@pytest.mark.parametrize("law", list(LAWS))
def test_an_exact_track_is_found_again(law: str) -> None:
    motion = sample_motion(law, np.random.default_rng(3))
    truth = motion.at(np.arange(9) / 8.0)[None]

    fits = fit_laws(truth, FPS)

    assert min(fits, key=lambda name: fits[name].residual[0]) == law
    assert fits[law].residual[0] < 1e-3
    np.testing.assert_allclose(fits[law].path, truth, atol=3e-3)


def test_an_orbit_is_told_its_sense_of_turning() -> None:
    both = [Motion("orbit", 0.3, (0.5, 0.5), direction).at(np.arange(9) / 8.0) for direction in (1, -1)]

    assert fit_law(np.stack(both), np.repeat(FPS, 2), "orbit").direction.tolist() == [1.0, -1.0]


@pytest.mark.parametrize("law", list(LAWS))
@pytest.mark.parametrize("speed", [0.5, 1.0, 1.5])
def test_speed_is_fitted_as_a_ratio(law: str, speed: float) -> None:
    motion = sample_motion(law, np.random.default_rng(1))
    tracks = motion.at(speed * np.arange(9) / 8.0)[None]

    assert fitted_speed(tracks, FPS, [law])[0] == pytest.approx(speed, rel=0.03)


def test_a_rebound_in_mid_frame_is_not_a_slide() -> None:
    rebound = 0.5 - 0.5 * np.abs(np.arange(9) / 8.0 - 0.5)  # turns at the middle, where there is no wall
    tracks = np.stack([rebound, np.full(9, 0.4)], axis=-1)[None]

    assert fit_law(tracks, FPS, "slide").residual[0] > 0.05


def test_fits_do_not_depend_on_the_company() -> None:
    rng = np.random.default_rng(0)
    tracks, fps = rng.uniform(0.2, 0.8, (20, 9, 2)), rng.choice([4.0, 8.0], 20)

    together = fit_law(tracks, fps, "orbit").residual
    alone = [fit_law(tracks[row : row + 1], fps[row : row + 1], "orbit").residual[0] for row in range(20)]

    np.testing.assert_allclose(together, alone, rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ground", ["dark", "light", "checkered"])
def test_the_center_is_found_to_a_tenth_of_a_pixel_on_average(shape: str, ground: str) -> None:
    centers = np.random.default_rng(0).uniform(0.25, 0.75, (20, 2))

    for colour in COLOURS:
        found = track(render(Scene(colour, shape, ground), centers, 16))
        assert np.abs(found - centers).max() < 0.2 / 16
        assert np.abs(found - centers).mean() < 0.1 / 16


def test_grey_frames_noise_and_ghosts_show_no_object() -> None:
    rng = np.random.default_rng(0)
    ghosts = render(Scene("red", "circle", "dark"), np.array([[0.25, 0.5], [0.75, 0.5]]), 16).astype(float)
    frames = [np.full((16, 16, 3), 90), rng.integers(0, 256, (16, 16, 3)), ghosts.mean(axis=0)]

    assert np.isnan(track(np.stack(frames).astype(np.uint8))).all()
