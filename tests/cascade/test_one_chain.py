"""What `mav generate` writes and what the Python API returns is one computation, for every use."""

from pathlib import Path

import numpy as np
import pytest
from doll_cascade import pictures
from PIL import Image
from typer.testing import CliRunner

from mav_lightning.cascade.clip_files import read_clip
from mav_lightning.cascade.clip_requests import SuperResolveRequest, TextRequest
from mav_lightning.cascade.video_pipeline import Pipeline
from mav_lightning.cli.app import app
from mav_lightning.common.errors import UserError
from mav_lightning.common.manifest import read_manifest
from mav_lightning.common.video_encoding import write_lossless
from mav_lightning.prompts import Prompt


@pytest.fixture(scope="module")
def cascade(cascade_folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(cascade_folder)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("given")
    for name, image in zip("ab", pictures(1, 2)[0], strict=True):
        Image.fromarray(image).save(folder / f"{name}.png")
    write_lossless(folder / "clip.mkv", pictures(1, 6)[0], 8.0)
    return folder


@pytest.mark.parametrize("loop", [False, True], ids=["once", "loop"])
@pytest.mark.parametrize("use", ["text", "variation", "animate", "interpolate", "extrapolate", "precede"])
def test_written_clips_are_those_of_the_python_api(
    use: str, loop: bool, cascade: Pipeline, cascade_folder: Path, given: Path, tmp_path: Path
) -> None:
    two, clip = pictures(1, 2), pictures(1, 6)
    words, clips = {
        "text": (["a red circle"], lambda: cascade("a red circle", 8.0, 5, loop=loop)),
        "variation": (["--variation", "clip.mkv"], lambda: cascade.variation(clip, 8.0, 5, loop=loop)),
        "animate": (["--animate", "a.png"], lambda: cascade.animate(two[:, :1], 8.0, 5, loop=loop)),
        "interpolate": (["--interpolate", "a.png", "b.png"], lambda: cascade.morph(two, 8.0, 5, loop=loop)),
        "extrapolate": (["--extrapolate", "clip.mkv"], lambda: cascade.extrapolate(clip, 8.0, 5, loop=loop)),
        "precede": (["--precede", "clip.mkv"], lambda: cascade.extrapolate(clip, 8.0, 5, loop=loop, before=True)),
    }[use]
    files = [str(given / word) if (given / word).exists() else word for word in words]
    options = ["--seed", "5", "--no-mark", "--out", str(tmp_path), "--pipeline", str(cascade_folder)]
    done = CliRunner().invoke(app, ["generate", *files, *options, *(["--loop"] if loop else [])])
    assert done.exit_code == 0, done.output
    (record,) = read_manifest(tmp_path)
    assert np.array_equal(read_clip(tmp_path / record.file), clips()[0])


def test_nothing_is_rounded_between_the_networks(cascade: Pipeline) -> None:
    through = cascade("a red circle", 8.0, 5)
    rounded = cascade.super_resolve(cascade("a red circle", 8.0, 5, until="interpolator"), 16.0, 5)
    assert through.shape == rounded.shape and not np.array_equal(through, rounded)


def test_a_text_and_scalars_stand_for_lists(cascade: Pipeline) -> None:
    one = cascade("a red circle", until="decoder")
    assert np.array_equal(one, cascade(["a red circle"], [8.0], [0], until="decoder"))
    both = cascade(["a red circle", "a blue cross"], 8, np.int64(0), until="decoder")
    assert np.array_equal(both[:1], one) and len(both) == 2


def test_mistakes_of_python_arguments_are_named(cascade: Pipeline) -> None:
    clip = pictures(2, 4)
    for call, message in [
        (lambda: cascade(["a", "b"], [8.0, 8.0, 8.0]), "fps: got 3 values for 2 clips; pass one for all"),
        (lambda: cascade(["a", "b"], 8.0, [1]), "seeds: got 1 value for 2 clips"),
        (lambda: cascade("a", float("nan")), "fps: must be a finite number"),
        (lambda: cascade("a", float("inf")), "fps: must be a finite number"),
        (lambda: cascade("a", 8.0, 0.5), "seed: must be a whole number"),
        (lambda: cascade("a", until="sr_hihg"), "until: must be one of .* Did you mean `sr_high`"),
        (lambda: cascade("a", until="decoder", loop=True), "until: a loop needs at least the interpolator"),
        (lambda: cascade.animate(clip[:, :1], until="decoder"), "until: `animate` needs at least the interpolator"),
        (lambda: cascade.animate(clip), r"frames: `animate` takes 1 frame, got 4"),
        (lambda: cascade.morph(clip), r"frames: `morph` takes 2 frames, got 4"),
        (lambda: cascade.super_resolve(clip.astype(float)), "frames: must be uint8"),
        (lambda: cascade.super_resolve(clip[0]), r"frames: must be an array of shape \(N, T, H, W, 3\)"),
        (lambda: cascade.generate([]), "requests: is empty"),
        (lambda: Pipeline.from_pretrained(stepz=3), "has no argument `stepz`.* Did you mean `steps`"),
    ]:
        with pytest.raises(UserError, match=message):
            call()


def test_requests_of_one_call_are_of_one_class(cascade: Pipeline) -> None:
    mixed = [
        TextRequest(prompt=Prompt("a"), fps=8.0, seed=0),
        SuperResolveRequest(frames=pictures(1, 3)[0], fps=8.0, seed=0),
    ]
    with pytest.raises(UserError, match="requests: must all be of one class"):
        cascade.generate(mixed)


@pytest.mark.parametrize("fps", ["nan", "inf", "1e9"])
def test_a_frame_rate_is_checked_before_a_video_is_read(fps: str, given: Path, tmp_path: Path) -> None:
    words = ["--extrapolate", str(given / "clip.mkv"), "--fps", fps, "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["generate", *words])
    assert isinstance(done.exception, UserError) and str(done.exception).startswith("fps: ")
    assert not (tmp_path / "out").exists()


def test_too_many_clips_are_refused_at_once(cascade_folder: Path, tmp_path: Path) -> None:
    words = ["a", "--per-prompt", "1000000000", "--pipeline", str(cascade_folder), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["generate", *words])
    assert "1000000000 clips are requested, at most 100000" in str(done.exception)


def test_frames_before_a_clip_are_followed_by_it_unchanged(cascade: Pipeline) -> None:
    clip = pictures(1, 6)
    before, after = (cascade.extrapolate(clip, 8.0, 5, until="interpolator", before=side) for side in (True, False))
    assert before.shape == after.shape and before.shape[1] == 6 + 5 - 2
    assert np.array_equal(before[:, -6:], clip) and np.array_equal(after[:, :6], clip)
    changed = clip.copy()
    changed[:, 2:] = 0
    others = cascade.extrapolate(changed, 8.0, 5, until="interpolator", before=True)[:, :3]
    assert np.array_equal(others, before[:, :3]), "only the first two frames, half a window, are conditioned on"
