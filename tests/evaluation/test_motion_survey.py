import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from evaluation.extractors.motion_measures import NAMES
from evaluation.motion.survey import motion_of
from mav_lightning.cli.app import app
from mav_lightning.common.errors import UserError
from mav_lightning.common.shapes_world.laws import sample_motion
from mav_lightning.common.shapes_world.scene import Scene, render_motion
from mav_lightning.common.video_encoding import encode_mp4, write_lossless
from mav_lightning.media.media_reader import read_frames


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three films of two seconds at 32 fps, in each of which a cross orbits over plain ground."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(3):
        motion = sample_motion("orbit", np.random.default_rng(number))
        frames = render_motion(Scene("red", "cross", "dark"), motion, np.arange(64) / 32, 64)
        write_lossless(folder / f"{number}.mkv", frames, 32.0)
    return folder


def test_several_rates_tell_that_films_play_real_time(videos: Path) -> None:
    results = motion_of(videos, frames=6, rates=[8.0, 16.0])

    slope = results["metrics"]["displacement-slope"]
    low, high = slope["interval"]
    assert low <= slope["value"] <= high
    assert slope["value"] == pytest.approx(1.0, abs=0.1)
    assert results["n"] == {"generated": 6}
    assert results["metrics"]["displacement@8"]["n"] == 3
    assert set(results["clips"]) == {f"{number}.mkv@{rate}" for number in range(3) for rate in (8, 16)}


def test_without_a_rate_the_stored_frames_are_measured(videos: Path) -> None:
    results = motion_of(videos, frames=8)

    assert set(results["clips"]) == {f"{number}.mkv@32" for number in range(3)}
    assert "displacement-slope" not in results["metrics"]
    assert results["metrics"]["freeze-share"]["value"] < 0.5


@pytest.mark.parametrize(("lengths", "frames"), [((9, 33), 9), ((33, 40), 16), ((2, 9), None)])
def test_by_default_as_many_frames_are_measured_as_every_clip_has(
    lengths: tuple[int, ...], frames: int | None, videos: Path, tmp_path: Path
) -> None:
    film = read_frames(videos / "0.mkv")
    for number, length in enumerate(lengths):
        write_lossless(tmp_path / f"{number}.mkv", film[:length], 32.0)
    if frames is None:
        with pytest.raises(UserError, match="`0.mkv`: has 2 frames, but 3 need 3"):
            motion_of(tmp_path)
    else:
        assert motion_of(tmp_path)["protocol"]["frames"] == frames


def test_films_of_other_rates_of_their_own_give_no_slope(tmp_path: Path, videos: Path) -> None:
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "0.mp4").write_bytes(encode_mp4(np.zeros((9, 32, 32, 3), np.uint8), 8))
    (tmp_path / "0.mkv").write_bytes((videos / "0.mkv").read_bytes())

    assert set(motion_of(tmp_path, frames=8)["metrics"]) == {name.replace("_", "-") for name in NAMES}


def test_clips_cut_from_one_video_count_once_in_the_interval(videos: Path) -> None:
    one, two = (motion_of(videos, frames=6, rates=rates)["metrics"] for rates in ([8.0], [8.0, 16.0]))

    assert two["displacement"]["n"] == 2 * one["displacement"]["n"]
    assert two["displacement@8"]["interval"] == one["displacement"]["interval"]


def test_bad_clips_are_counted_and_the_first_is_named(tmp_path: Path, videos: Path) -> None:
    (tmp_path / "a.mkv").write_bytes((videos / "0.mkv").read_bytes())
    data = encode_mp4(np.zeros((20, 32, 32, 3), np.uint8), 8)
    (tmp_path / "b.mp4").write_bytes(data[: len(data) // 2])
    (tmp_path / "c.mp4").write_bytes(encode_mp4(np.zeros((4, 32, 32, 3), np.uint8), 8))

    with pytest.raises(
        UserError,
        match=r"2 of 3 clips of .*: `b\.mp4`: .*remove the file; `c\.mp4`: has 4 frames, but 8 need 8",
    ):
        motion_of(tmp_path, frames=8)


def test_a_rate_that_a_video_does_not_have_is_refused_with_what_it_has(videos: Path) -> None:
    with pytest.raises(UserError, match=r"64 frames at 32 fps, but 16 frames at 4 fps need 3\.75 s.*fewer frames"):
        motion_of(videos, frames=16, rates=[4.0])
    with pytest.raises(UserError, match=r"frames: must be a whole number ≥ 3 or null, got 2"):
        motion_of(videos, frames=2, rates=[0.0])


def test_the_command_writes_what_it_prints(tmp_path: Path, videos: Path) -> None:
    out = tmp_path / "motion.json"

    done = CliRunner().invoke(app, ["motion", str(videos), "--frames", "6", "--out", str(out)])

    assert done.exit_code == 0, done.output
    assert "moving-displacement" in done.output
    assert json.loads(out.read_text())["metrics"]["warped-flicker"]["n"] == 3
