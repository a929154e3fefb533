"""Generating: what is asked for, continued after a kill, divided among processes."""

import multiprocessing
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doll_cascade import SAMPLING, TEXT, pictures
from PIL import Image
from rank_environments import rank_environments
from typer.testing import CliRunner

from mav_lightning.cascade.ablation_clips import SamplePrompts, SampleShapes
from mav_lightning.cascade.clip_files import read_clip
from mav_lightning.cascade.clip_requests import ClipRequest, ExtrapolateRequest, TextRequest
from mav_lightning.cascade.generation import Generation
from mav_lightning.cascade.mark import has_mark
from mav_lightning.cascade.pipeline_folder import NetworkFolders
from mav_lightning.cascade.sheet import write_sheet
from mav_lightning.cascade.video_pipeline import Pipeline
from mav_lightning.cli.app import app
from mav_lightning.common.errors import UserError
from mav_lightning.common.hashing import file_sha256
from mav_lightning.common.manifest import read_manifest
from mav_lightning.common.tracking import untracked
from mav_lightning.common.video_encoding import write_lossless
from mav_lightning.media.media_reader import read_frames
from mav_lightning.prompts import Prompt, shapes_prompts


def run(*words: str) -> str:
    done = CliRunner().invoke(app, ["generate", *words])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def run_forked(environment: dict[str, str], *words: str) -> None:
    os.environ.update(environment)
    run(*words)


def run_on_two(*words: str) -> None:
    """Run in two forked processes, as new ones would import everything first, for 5 seconds each."""
    context = multiprocessing.get_context("fork")
    ranks = [context.Process(target=run_forked, args=(own, *words)) for own in rank_environments(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(60)
    assert [rank.exitcode for rank in ranks] == [0, 0]


def text(prompt: str, fps: float, seed: int) -> ClipRequest:
    return TextRequest(prompt=Prompt(prompt), fps=fps, seed=seed)


def texts(count: int) -> list[ClipRequest]:
    return [text(f"clip {number}", 8.0, number) for number in range(count)]


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def finish(generation: Generation, rank: int = 0, processes: int = 1) -> list[int]:
    numbers = [number for batch in generation.batches(rank, processes) for number in batch]
    generation.run(rank=rank, processes=processes)
    return numbers


def test_every_prompt_is_drawn_at_every_rate_with_every_seed(text_pipeline: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a red circle\n\n  a blue square  \n")
    words = ["a green cross", "--prompts-file", str(tmp_path / "prompts.txt"), "--fps", "4", "--fps", "8"]
    run(*words, "--per-prompt", "2", "--seed", "5", "--pipeline", str(text_pipeline), "--out", str(tmp_path / "out"))
    records = read_manifest(tmp_path / "out")
    assert len(records) == 3 * 2 * 2
    assert [record.prompt for record in records[::4]] == ["a green cross", "a red circle", "a blue square"]
    assert [(record.fps, record.seed) for record in records[:4]] == [(4, 5), (4, 6), (8, 5), (8, 6)]


def test_a_killed_generation_draws_only_what_is_missing_and_ends_the_same(text_pipeline: Path, tmp_path: Path) -> None:
    pipeline = Pipeline.from_pretrained(text_pipeline)
    whole = Generation(pipeline, texts(6), tmp_path / "whole")
    finish(whole)
    whole.finish()

    killed = Generation(pipeline, texts(6), tmp_path / "killed")
    killed.write(killed.batches()[0])
    (tmp_path / "killed" / ".partial-00005.mp4").write_bytes(b"half")
    assert not (tmp_path / "killed" / "manifest.json").exists(), "a folder without a manifest is not finished"

    again = Generation(pipeline, texts(6), tmp_path / "killed")
    assert finish(again) == [4, 5]
    again.finish()
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    "change",
    [{"mark": False}, {"requests": texts(5)}, {"sampling": {"steps": 3}}, {"scale": 2}, {"format": "gif"}],
    ids=["mark", "requests", "steps", "scale", "format"],
)
def test_clips_of_other_requests_are_replaced_only_on_demand(
    change: dict[str, Any], text_pipeline: Path, tmp_path: Path
) -> None:
    pipeline = Pipeline.from_pretrained(text_pipeline)
    first = Generation(pipeline, texts(6), tmp_path)
    finish(first)
    first.finish()
    write_sheet(tmp_path, tmp_path / "sheet.png")
    (tmp_path / ".DS_Store").write_bytes(b"of a file manager")
    before = contents(tmp_path)

    changed = Pipeline.from_pretrained(text_pipeline, **change.pop("sampling", {}))
    requests = change.pop("requests", texts(6))
    with pytest.raises(UserError, match=r"holds clips of other requests \(00000\.mp4\).* --overwrite") as caught:
        Generation(changed, requests, tmp_path, **change)
    assert caught.value.argument == "out" and contents(tmp_path) == before

    other = Generation(changed, requests, tmp_path, **change, overwrite=True)
    assert contents(tmp_path) == before, "nothing is removed before the first clip is generated"
    other.start()
    other.run()
    other.finish()
    files = {record.file for record in other.records}
    assert contents(tmp_path).keys() == files | {"manifest.json", ".DS_Store"}
    assert read_manifest(tmp_path) == other.records


def test_processes_divide_the_clips_exactly_whatever_is_done_already(text_pipeline: Path, tmp_path: Path) -> None:
    generation = Generation(Pipeline.from_pretrained(text_pipeline), texts(7), tmp_path)
    assert finish(generation, rank=1, processes=2) == [1, 3, 5]
    assert generation.batches(0, 2) == [[0, 2, 4, 6]]
    assert generation.batches(1, 2) == []


def test_two_processes_draw_what_one_draws(text_pipeline: Path, tmp_path: Path) -> None:
    words = ["a red circle", "a blue square", "--per-prompt", "3", "--pipeline", str(text_pipeline)]
    run(*words, "--out", str(tmp_path / "one"))
    command = [sys.executable, "-m", "mav_lightning", "generate", *words, "--out", str(tmp_path / "two")]
    done = subprocess.run([*command, "--devices", "2"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("6 clips") == 1
    one, two = (read_manifest(tmp_path / name) for name in ("one", "two"))
    assert one == two
    for record in one:
        assert np.array_equal(read_clip(tmp_path / "one" / record.file), read_clip(tmp_path / "two" / record.file))


def test_more_processes_than_clips_and_a_folder_that_lacks_only_its_manifest(
    text_pipeline: Path, tmp_path: Path
) -> None:
    words = ["a red circle", "--pipeline", str(text_pipeline), "--out", str(tmp_path), "--devices", "2"]
    for _ in range(2):
        run_on_two(*words)
        assert len(read_manifest(tmp_path)) == 1
        (tmp_path / "manifest.json").unlink()


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("theirs", ["00001.mkv", "00001", "notes.txt"])
def test_somebody_elses_files_are_left_alone(theirs: str, overwrite: bool, text_pipeline: Path, tmp_path: Path) -> None:
    if theirs == "00001.mkv":
        write_lossless(tmp_path / theirs, pictures(1, 2)[0], 8.0)
    elif theirs == "notes.txt":
        (tmp_path / theirs).write_text("precious")
    else:
        (tmp_path / theirs).mkdir()
        Image.fromarray(pictures(1, 1)[0, 0]).save(tmp_path / theirs / "holiday.png")
    with pytest.raises(UserError, match=f"out: .*{theirs}: was not written by `mav generate`; choose another folder"):
        Generation(Pipeline.from_pretrained(text_pipeline), texts(2), tmp_path, overwrite=overwrite)


def test_a_loop_needs_the_network_for_it_before_anything_is_drawn(text_pipeline: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="loop: this pipeline has no network `interpolator`"):
        looped = TextRequest(prompt=Prompt("x"), fps=8.0, seed=0, loop=True)
        Generation(Pipeline.from_pretrained(text_pipeline), [looped], tmp_path / "out")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["a circle", "--seed", str(2**48)],
            "seed: must be a whole number ≥ 0 and ≤ 281474976710655, got",
        ),
        ([" "], "prompt: is empty; write what the clip shows"),
        (["a circle", "x" * 10_000], "prompt: `xxx.*` has 10000 characters; at most 1000 are accepted"),
        (["a circle", "--fps", "0"], "fps: must be a finite number above 0, got 0.0"),
        (["a circle", "--scale", "17"], "scale: must be a whole number ≥ 1 and ≤ 16, got 17"),
        (["a circle", "--scale", "2", "--no-mark"], "scale: got 2, but clips without the mark are for evaluation"),
        (["--prompts-file", "{tmp}/none.txt"], "prompts_file: {tmp}/none.txt: no such file"),
        (["--prompts-file", "{tmp}/blank.txt"], "{tmp}/blank.txt: has no prompts; write one per line"),
        ([], "give either prompts or one of --animate, .* got none"),
        (["--animate", "none.png"], "animate: none.png: no such file"),
        (
            ["--extrapolate", "{tmp}/blank.txt", "--fps", "4", "--fps", "8"],
            "fps: a clip has the same frame rate before",
        ),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(
    words: list[str], message: str, text_pipeline: Path, tmp_path: Path
) -> None:
    (tmp_path / "blank.txt").write_text("\n \n")
    words = [word.format(tmp=tmp_path) for word in words]
    with pytest.raises(UserError, match=message.format(tmp=tmp_path)):
        run(*words, "--pipeline", str(text_pipeline), "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_study_samples_every_pair_at_every_rate_and_writes_where_it_came_from(
    stages: dict[str, Path], tmp_path: Path
) -> None:
    told = []

    def track(items: Any, total: int, description: str) -> Any:
        for item in items:
            told.append((item, total))
            yield item

    task = SampleShapes(NetworkFolders(**{role: stages[role] for role in TEXT}), SAMPLING, (4, 8), per_pair=1)
    task.run(tmp_path, seed=1, track=track)
    records = read_manifest(tmp_path / "clips")
    steps = SAMPLING.steps * 12  # batches of 4
    assert len(records) == 48 and told == [(number, steps) for number in range(steps)]
    assert len({record.seed for record in records}) == 48
    assert {(r.attributes["colour"], r.attributes["shape"], r.fps) for r in records if r.fps == 4.0} == {
        (p.attributes["colour"], p.attributes["shape"], 4.0) for p in shapes_prompts()
    }
    assert set(records[0].checkpoints) == {"clip", "prior", "decoder"}
    pipeline = Pipeline.from_pretrained(tmp_path / "pipeline")
    again = pipeline([records[7].prompt or ""], [records[7].fps], [records[7].seed or 0])
    assert np.array_equal(again[0], read_frames(tmp_path / "clips" / records[7].file)), "files must be lossless"
    write_sheet(tmp_path / "clips", tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_a_study_samples_a_users_own_prompts_as_they_were_when_it_was_planned(
    stages: dict[str, Path], tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red circle\na blue cross\n")
    networks = NetworkFolders(**{role: stages[role] for role in TEXT})

    def sample(digest: str) -> None:
        task = SamplePrompts(networks, SAMPLING, (4, 8), prompts, digest, per_prompt=2)
        task.run(tmp_path / "out", seed=1, track=untracked)

    sample(file_sha256(prompts))
    records = read_manifest(tmp_path / "out" / "clips")
    assert [(r.prompt, r.fps) for r in records] == [
        (p, f) for f in (4, 8) for p in ("a red circle", "a blue cross") * 2
    ]
    assert len({record.seed for record in records}) == 8
    with pytest.raises(UserError, match="has changed since the study was planned .*; run the command again"):
        sample("0" * 64)


def test_a_study_samples_the_later_stages_too(stages: dict[str, Path], tmp_path: Path) -> None:
    sampling = replace(SAMPLING, skip=2, low_factor=2)
    roles = (*TEXT, "interpolator", "sr_low")
    task = SampleShapes(NetworkFolders(**{role: stages[role] for role in roles}), sampling, (4,), per_pair=1)
    task.run(tmp_path, seed=0, track=untracked)

    records = read_manifest(tmp_path / "clips")
    assert {record.fps for record in records} == {8.0} and set(records[0].checkpoints) == set(roles)
    assert read_frames(tmp_path / "clips" / records[0].file).shape == (5, 16, 16, 3)


@pytest.fixture(scope="module")
def pictures_on_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos of odd sizes and modes, a clip of 6 frames at 8 fps, and one of a single frame."""
    folder = tmp_path_factory.mktemp("given")
    Image.fromarray(pictures(1, 1)[0, 0]).resize((40, 30)).save(folder / "a.png")
    Image.fromarray(pictures(1, 1)[0, 0]).convert("L").resize((9, 21)).save(folder / "b.jpg")
    write_lossless(folder / "clip.mkv", pictures(1, 6)[0], 8.0)
    write_lossless(folder / "still.mkv", pictures(1, 1)[0], 8.0)
    return folder


@pytest.mark.parametrize(
    ("wish", "frames", "fps", "given"),
    [
        (["a red circle"], 9, 16.0, []),
        (["--animate", "a.png"], 5, 8.0, [0]),
        (["--interpolate", "a.png", "b.jpg"], 5, 8.0, [0, 4]),
        (["--extrapolate", "clip.mkv"], 6 + 3, 8.0, [0, 1, 2, 3, 4, 5]),
        (["--precede", "clip.mkv"], 6 + 3, 8.0, [3, 4, 5, 6, 7, 8]),
        (["--variation", "clip.mkv"], 9, 16.0, []),
        (["--extrapolate", "clip.mkv", "--loop"], 6 + 3 + 3, 8.0, [0, 1, 2, 3, 4, 5]),
        (["a red circle", "--loop", "--format", "mp4"], 9 + 3, 16.0, []),
    ],
)
def test_every_use_makes_large_marked_clips_with_their_origin(
    wish: list[str], frames: int, fps: float, given: list[int], cascade_folder: Path, pictures_on_disk: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    words = [str(pictures_on_disk / word) if (pictures_on_disk / word).is_file() else word for word in wish]
    arguments = ["generate", *words, "--pipeline", str(cascade_folder), "--out", str(tmp_path), "--per-prompt", "3"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    records = read_manifest(tmp_path)
    assert [record.seed for record in records] == [0, 1, 2] and all(record.fps == fps for record in records)
    clips = [read_clip(tmp_path / record.file) for record in records]
    assert all(clip.shape == (frames, 32, 32, 3) and has_mark(clip) for clip in clips)
    assert not np.array_equal(clips[0], clips[1])
    assert records[0].source is None if wish[0] == "a red circle" else Path(words[1]).name in str(records[0].source)
    assert all(record.given == given for record in records)
    assert ('"given":' in (tmp_path / "manifest.json").read_text().split('"clips"')[1]) == bool(given)
    assert (tmp_path / "sheet.png").is_file()


def test_the_given_frames_of_a_gif_are_numbered_as_it_shows_them(
    cascade_folder: Path, pictures_on_disk: Path, tmp_path: Path
) -> None:
    pipeline, frames = Pipeline.from_pretrained(cascade_folder), pictures(1, 6)[0]
    requests = [ExtrapolateRequest(frames=frames, fps=rate, seed=0) for rate in (25.0, 100.0)]
    slow, fast = Generation(pipeline, requests, tmp_path / "gifs", format="gif").records
    assert slow.given == [0, 1, 2, 3, 4, 5]
    assert fast.given == [0, 1, 2], "every second one of 9 frames is shown, of which 6 are given"


def test_a_clip_of_one_frame_cannot_be_continued_and_the_way_out_is_told(
    cascade_folder: Path, pictures_on_disk: Path, tmp_path: Path
) -> None:
    given = ["--extrapolate", str(pictures_on_disk / "still.mkv"), "--pipeline", str(cascade_folder)]
    done = CliRunner().invoke(app, ["generate", *given, "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, UserError)
    assert "has 1 frame at 8 fps (1 at 8), 2 to 4096 are accepted; choose another --fps" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_image_cannot_be_animated(cascade_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    given = ["--animate", str(tmp_path / "text.png"), "--pipeline", str(cascade_folder), "--out", str(tmp_path / "o")]
    done = CliRunner().invoke(app, ["generate", *given])
    assert isinstance(done.exception, UserError) and "not a readable JPEG, PNG or WebP" in str(done.exception)
    assert not (tmp_path / "o").exists()


def test_the_example_of_the_documents_runs(cascade_folder: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "cascade.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(example.replace("runs/cascade", str(cascade_folder)), names)
    assert names["clips"].shape == (1, 9, 32, 32, 3) and names["keyframes"].shape == (1, 5, 8, 8, 3)
