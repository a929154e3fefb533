import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from mav_lightning.cascade.clip_files import read_clip, read_facts
from mav_lightning.cascade.clip_requests import ClipRequest, TextRequest
from mav_lightning.cascade.clip_writer import FORMATS, write_clip
from mav_lightning.cascade.generation import Generation
from mav_lightning.cascade.mark import SOURCE_TYPE, draw_mark, has_mark
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.cascade.video_pipeline import Pipeline
from mav_lightning.cli.app import app
from mav_lightning.common.errors import UserError
from mav_lightning.prompts import Prompt


class GivenClips:
    """Stands in for a pipeline: request n gets the given clip n."""

    sampling, cascade = Sampling(size=64, frames=3), SimpleNamespace(ids={})

    def __init__(self, clips: np.ndarray) -> None:
        self.clips = clips

    def check_requests(self, requests: Sequence[ClipRequest]) -> None: ...

    def generate(self, requests: Sequence[ClipRequest], on_step: Any) -> Iterator[np.ndarray]:
        yield self.clips[[one.seed for one in requests]]


def generate(clips: np.ndarray, out: Path, **options: Any) -> Generation:
    """A finished folder of these clips."""
    requests = [TextRequest(prompt=Prompt("x"), fps=8.0, seed=seed) for seed in range(len(clips))]
    generation = Generation(cast(Pipeline, GivenClips(clips)), requests, out, **options)
    for numbers in generation.batches():
        generation.write(numbers)
    generation.finish()
    return generation


GROUNDS = {"dark": 0, "grey": 128, "light": 255}


def plain(level: int, size: int = 64) -> np.ndarray:
    return np.full((2, 3, size, size, 3), level, np.uint8)


@pytest.mark.parametrize("level", GROUNDS.values(), ids=GROUNDS)
@pytest.mark.parametrize("size", [16, 64, 256])
def test_the_mark_shows_on_any_ground_and_touches_nothing_else(level: int, size: int) -> None:
    clips = plain(level, size)
    marked = draw_mark(clips)
    changed = (marked != clips).any(axis=(0, 1, 4))
    side = max(1, size // 32)
    assert changed[-side:, -5 * side :].any(), "some squares stand out from any ground"
    assert not changed[:-side].any() and not changed[:, : -5 * side].any()
    assert has_mark(marked[0]) and not has_mark(clips[0])
    assert bool((marked.max(axis=-1) == marked.min(axis=-1)).all()), "a mark without colour misleads no measure of it"


def test_the_mark_of_one_frame_does_not_vouch_for_the_others() -> None:
    frames = plain(128)[0]
    frames[0] = draw_mark(frames)[0]
    assert not has_mark(frames)


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_of_file_bears_the_mark_and_says_where_it_comes_from(form: str, tmp_path: Path) -> None:
    clips = np.random.default_rng(0).integers(60, 180, (2, 3, 64, 64, 3), dtype=np.uint8)
    records = generate(clips, tmp_path, format=form).records
    shown = CliRunner().invoke(app, ["inspect", str(tmp_path / records[1].file)])
    assert shown.exit_code == 0, shown.output
    claims, verified = (json.loads(shown.output)[part] for part in ("claims", "verified"))
    assert claims["generator"].startswith("mav-lightning ") and claims["digital_source_type"] == SOURCE_TYPE
    assert verified["visible_mark"] and verified["manifest_matches"] and verified["frames"] == 3
    assert claims["manifest_sha256"] == hashlib.sha256((tmp_path / "manifest.json").read_bytes()).hexdigest()
    if form in ("mkv", "frames"):
        assert np.array_equal(read_clip(tmp_path / records[1].file), draw_mark(clips)[1])


def test_an_unmarked_file_still_says_where_it_comes_from(tmp_path: Path) -> None:
    clips = plain(100)
    generate(clips, tmp_path, mark=False)
    assert np.array_equal(read_clip(tmp_path / "00000.mkv"), clips[0])
    assert read_facts(tmp_path / "00000.mkv")["digital_source_type"] == SOURCE_TYPE


def test_marked_clips_are_mp4_and_unmarked_ones_lossless_unless_told_otherwise(tmp_path: Path) -> None:
    def file(name: str, **options: Any) -> str:
        return generate(plain(100), tmp_path / name, **options).records[0].file

    assert file("eye") == "00000.mp4" and file("score", mark=False) == "00000.mkv"
    assert file("both", format="mkv") == "00000.mkv" and file("odd", format="mp4", mark=False) == "00000.mp4"


def test_clips_for_the_eye_can_be_larger_each_pixel_repeated(tmp_path: Path) -> None:
    clips = np.random.default_rng(0).integers(60, 180, (1, 3, 64, 64, 3), dtype=np.uint8)
    generate(clips, tmp_path, format="mkv", scale=3)
    shown = read_clip(tmp_path / "00000.mkv")
    assert np.array_equal(shown, draw_mark(clips[0].repeat(3, axis=1).repeat(3, axis=2))) and has_mark(shown)
    assert json.loads((tmp_path / "manifest.json").read_text())["made"]["scale"] == 3


@pytest.mark.parametrize(
    ("form", "state"), [("mkv", "not possible in mkv"), ("mp4", "none"), ("gif", "none"), ("frames", "none")]
)
def test_a_file_without_a_signature_is_not_called_invalid(form: Any, state: str, tmp_path: Path) -> None:
    pytest.importorskip("c2pa")
    generate(plain(100), tmp_path, format=form)
    name = "00000" if form == "frames" else f"00000.{form}"
    shown = json.loads(CliRunner().invoke(app, ["inspect", str(tmp_path / name)]).output)
    assert shown["verified"]["signature"] == state


def test_a_gif_that_leaves_out_frames_records_the_rate_at_which_it_plays(tmp_path: Path) -> None:
    class Fast(GivenClips):
        sampling = Sampling(size=64, frames=3, skip=2)

    clips = np.random.default_rng(0).integers(0, 256, (1, 9, 64, 64, 3), dtype=np.uint8)
    request = TextRequest(prompt=Prompt("x"), fps=32.0, seed=0)
    generation = Generation(cast(Pipeline, Fast(clips)), [request], tmp_path, format="gif")
    generation.write([0])
    assert generation.drops_frames and generation.records[0].fps == 50.0
    assert len(read_clip(tmp_path / "00000.gif")) == 7
    other = Generation(cast(Pipeline, Fast(clips)), [request], tmp_path / "mp4")
    assert not other.drops_frames and other.records[0].fps == 64.0


def test_a_changed_manifest_is_told(tmp_path: Path) -> None:
    generate(plain(9), tmp_path, format="mp4")
    (tmp_path / "manifest.json").write_text("{}")
    shown = json.loads(CliRunner().invoke(app, ["inspect", str(tmp_path / "00000.mp4")]).output)
    assert shown["verified"]["manifest_matches"] is False


def test_a_strangers_file_says_nothing(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", plain(50)[0], 8.0, comment="holiday")
    assert read_facts(tmp_path / "a.mp4") == {} and not has_mark(read_clip(tmp_path / "a.mp4"))


def test_gifs_play_at_their_rate(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.gif", draw_mark(plain(50))[0] + np.arange(3, dtype=np.uint8)[:, None, None, None], 8.0, "")
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 3 and image.info["duration"] == pytest.approx(125, abs=5)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.mp4", None, "no such file or folder"),
        ("text.png", b"hello", r"text\.png: cannot be decoded \(of an unknown format"),
        ("text.mp4", b"hello", "text.mp4"),
    ],
)
def test_what_is_no_clip_is_refused_by_name(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_clip(tmp_path / name)


def test_a_folder_without_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no frames"):
        read_clip(tmp_path)


def test_a_still_gif_has_the_frames_it_was_written_with(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.gif", np.full((9, 16, 16, 3), 90, np.uint8), 8.0, "")
    assert (len(read_clip(tmp_path / "a.gif", 8.0)), len(read_clip(tmp_path / "a.gif"))) == (9, 1)
