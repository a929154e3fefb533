"""Films cut into shots, and clips left out that hardly move."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from datamodules.index import load_index
from datamodules.packing import PackReport, pack
from datamodules.shots import Shot, encode_shot, find_shots, motion_of_shot
from mav_lightning.cli.data import app
from mav_lightning.common.errors import UserError
from mav_lightning.common.video_encoding import encode_mp4
from mav_lightning.media.media_reader import open_media, read_frames

WIDTH, FPS = 96, 16.0


def scene(seed: int, frames: int, speed: float) -> NDArray[np.uint8]:
    """A texture that moves to the right by `speed` frame widths per second."""
    coarse = np.random.default_rng(seed).integers(0, 255, (8, 40, 3)).astype(np.float64)
    texture = np.kron(coarse, np.ones((8, 8, 1)))
    shifts = [round(number * speed * WIDTH / FPS) for number in range(frames)]
    return np.stack([texture[:, 200 - shift : 200 - shift + WIDTH] for shift in shifts]).astype(np.uint8)


FILM = np.concatenate([scene(1, 24, 0.25), scene(2, 16, 0.0), scene(3, 20, 0.5)])


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """A film of three shots, the second of which stands still, and a film without a cut."""
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "three.mp4").write_bytes(encode_mp4(FILM, FPS))
    (tmp_path / "films" / "one.mp4").write_bytes(encode_mp4(scene(4, 24, 0.25), FPS))
    (tmp_path / "captions.tsv").write_text("file\tcaption\tlabel\tgroup\nthree.mp4\ta film\t\t\none.mp4\tmore\t\tg\n")
    return tmp_path


def packed(films: Path, **options: float) -> tuple[PackReport, dict[tuple[str, int | None], dict[str, bytes]]]:
    """The report, and (file, shot) → members of the clips."""
    report = pack(films / "films", films / "captions.tsv", films / "out", val=0.0, stills=2, **options)  # type: ignore[arg-type]
    index = load_index(films / "out" / "clips" / "train")
    found = {}
    for shard, sample in index:
        members = index.read(shard, sample, sample.members)
        facts = json.loads(members["json"])
        found[facts["file"], facts.get("shot")] = members
    return report, found


def test_cuts_are_found_to_the_frame() -> None:
    pytest.importorskip("scenedetect")
    with open_media(encode_mp4(FILM, FPS)) as video:
        shots = find_shots(video)
        assert shots == [Shot(0, 23, 0.0, 23 / 16), Shot(24, 39, 24 / 16, 39 / 16), Shot(40, 59, 40 / 16, 59 / 16)]
        assert find_shots(video, cut=False) == [Shot(0, 59, 0.0, 59 / 16)]


def test_a_shot_is_encoded_with_its_frames_only() -> None:
    with open_media(encode_mp4(FILM, FPS)) as video:
        data = encode_shot(video, Shot(24, 39, 24 / 16, 39 / 16))
    frames = read_frames(data)
    assert len(frames) == 16 and np.abs(frames.astype(int) - FILM[24:40]).mean() < 12  # chroma is halved
    with open_media(data) as clip:
        assert clip.timeline.fps == FPS


@pytest.mark.parametrize("speed", [0.0, 0.125, 0.25, 0.5])
def test_motion_is_in_frame_widths_per_second(speed: float) -> None:
    with open_media(encode_mp4(scene(5, 24, speed), FPS)) as video:
        assert motion_of_shot(video, find_shots(video, cut=False)[0]) == pytest.approx(speed, rel=0.2, abs=2e-3)


@pytest.mark.parametrize("fps", [4.0, 8.0, 32.0])
def test_motion_does_not_depend_on_the_frame_rate(fps: float) -> None:
    times = int(fps * 1.5)
    moving = scene(6, times, 0.25 * FPS / fps)
    with open_media(encode_mp4(moving, fps)) as video:
        assert motion_of_shot(video, find_shots(video, cut=False)[0]) == pytest.approx(0.25, rel=0.25)


def test_a_single_frame_has_no_motion() -> None:
    with open_media(encode_mp4(FILM[:1], FPS)) as video:
        assert motion_of_shot(video, find_shots(video, cut=False)[0]) == 0.0


def test_packing_cuts_films_and_leaves_others_as_they_are(films: Path) -> None:
    pytest.importorskip("scenedetect")
    report, found = packed(films, cut_scenes=True)

    assert set(found) == {("one.mp4", None), ("three.mp4", 1), ("three.mp4", 2), ("three.mp4", 3)}
    assert report.cut == {"three.mp4": 3} and not report.dropped and not report.motion
    assert found["one.mp4", None]["mp4"] == (films / "films" / "one.mp4").read_bytes()
    facts = json.loads(found["three.mp4", 2]["json"])
    assert facts == {
        "file": "three.mp4", "caption": "a film", "label": "", "group": "three.mp4", "shot": 2, "start": 1.5,
        "end": 2.4375,
    }  # fmt: skip
    assert found["three.mp4", 2]["txt"] == b"a film"
    assert json.loads(found["one.mp4", None]["json"])["group"] == "g"
    assert report.written == {"clips/train": 4, "images/train": 4}, "stills are of whole films"


def test_packing_leaves_out_what_hardly_moves_with_the_reason(films: Path) -> None:
    pytest.importorskip("scenedetect")
    report, found = packed(films, cut_scenes=True, min_motion=0.05)

    assert set(found) == {("one.mp4", None), ("three.mp4", 1), ("three.mp4", 3)}
    (name,) = report.dropped
    assert name == "three.mp4 (shot 2, 1.50 to 2.44 s)"
    assert report.dropped[name].startswith("moves 0.00") and report.dropped[name].endswith("less than 0.05")
    assert len(report.motion) == 4
    assert json.loads(found["three.mp4", 3]["json"])["motion"] == pytest.approx(0.5, rel=0.2)


def test_short_shots_are_left_out(films: Path) -> None:
    pytest.importorskip("scenedetect")
    short = np.concatenate([scene(1, 24, 0.25), scene(2, 6, 0.25)])
    (films / "films" / "three.mp4").write_bytes(encode_mp4(short, FPS))
    report, found = packed(films, cut_scenes=True)
    assert set(found) == {("one.mp4", None), ("three.mp4", 1)}
    assert report.dropped == {"three.mp4 (shot 2, 1.50 to 1.81 s)": "lasts 0.31 s, less than 0.5 s"}


def test_nothing_that_moves_is_an_error_and_leaves_nothing(films: Path) -> None:
    (films / "captions.tsv").write_text("file\tcaption\none.mp4\t\n")
    with pytest.raises(UserError, match="none of 2 files can be used; the first, one.mp4: moves 0.2.*less than 9"):
        pack(films / "films", films / "captions.tsv", films / "out", min_motion=9.0)
    assert not (films / "out").exists()


def test_without_the_library_nothing_is_packed(films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scenedetect", None)
    with pytest.raises(UserError, match=r"needs scenedetect; run `pip install '.\[scenes\]'` in a checkout"):
        packed(films, cut_scenes=True)
    assert not (films / "out").exists()


def test_the_command_prints_counts_and_reasons(films: Path) -> None:
    pytest.importorskip("scenedetect")
    words = ["pack", "films", "--captions", "captions.tsv", "--cut-scenes", "--min-motion", "0.05", "--out", "out"]
    paths = [str(films / word) if word in ("films", "captions.tsv", "out") else word for word in words]
    output = CliRunner().invoke(app, paths, catch_exceptions=False).output
    assert "1 film cut into 3 shots\n" in output
    assert "motion of 4 clips in frame widths per second: a tenth below 0." in output
    assert "1 clip left out:\n  three.mp4 (shot 2, 1.50 to 2.44 s): moves 0.00" in output
