"""``mav train`` of one stage: what the run is, counts by content and stands in ``run.json``."""

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from datamodules.shapes_world_shards import WriteShapesWorld
from mav_lightning.cli.app import app
from mav_lightning.common.errors import UserError

CLIP = ["stage/clip_tiny.yaml", "fit.steps=2", "data.batch_size=2", "data.cache_mb=0", "module.clip.width=8"]
RIDGE = ["stage/ridge_tiny.yaml", "task.data.batch_size=2", "task.batches=2"]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "shapes"
    WriteShapesWorld(images=4, clips=2, val_images=2, val_clips=1, size=16, seconds=0.5, processes=1).run(out)
    return out


@pytest.fixture(scope="module")
def clip(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "clip"
    train(*CLIP, f"needs.data={shapes}", "--out", str(out))
    return out


def train(*words: str) -> str:
    done = CliRunner().invoke(app, ["train", *words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def record(run: Path) -> dict:
    found: dict = json.loads((run / "run.json").read_text())
    return found


def test_the_record_holds_the_config_and_the_content_of_what_was_read(clip: Path) -> None:
    run = record(clip)["run"]
    assert run["fit"]["steps"] == 2 and run["module"]["optimizer"]["lr"] == 0.02
    assert run["data"]["root"].startswith("sha256 ") and len(run["needs"]["data"]) == 64
    assert "name" not in run and "workers" not in run["data"]
    assert list(record(clip)["artifacts"]) == ["weights.safetensors", "network.json", "cost.json"]


def test_a_finished_stage_is_asked_for_again_with_its_data_elsewhere(clip: Path, shapes: Path, tmp_path: Path) -> None:
    shutil.copytree(shapes, tmp_path / "elsewhere")
    before = (clip / "run.json").read_bytes()

    assert "trained" in train(*CLIP, f"needs.data={tmp_path / 'elsewhere'}", "data.workers=1", "--out", str(clip))
    assert (clip / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("data.batch_size=1", "`data.batch_size` is 2 there and 1 here"),
        ("module.optimizer.lr=5.0", "`module.optimizer.lr` is 0.02 there and 5.0 here"),
        ("seed=3", "`seed` is 0 there and 3 here"),
        ("module.schedule.final=0.5", "`module.schedule.final` is 0.02 there and 0.5 here"),
        ("fit.steps=4", "`fit.steps` is 2 there and 4 here"),
    ],
)
def test_a_finished_stage_under_another_config_is_refused(word: str, message: str, clip: Path, shapes: Path) -> None:
    with pytest.raises(UserError, match=message):
        train(*CLIP, word, f"needs.data={shapes}", "--out", str(clip))


def test_a_stage_over_other_data_is_refused(clip: Path, tmp_path: Path) -> None:
    other = WriteShapesWorld(images=5, clips=2, val_images=2, val_clips=1, size=16, seconds=0.5, processes=1)
    other.run(tmp_path / "other")
    with pytest.raises(UserError, match="`data.root` is 'sha256 .*' there and 'sha256 .*' here"):
        train(*CLIP, f"needs.data={tmp_path / 'other'}", "--out", str(clip))


def test_a_schedule_that_follows_the_steps_cannot_be_extended(clip: Path, shapes: Path) -> None:
    with pytest.raises(UserError, match="extend: cannot continue 2 steps to 4.*`module.schedule.steps` is 2 there"):
        train(*CLIP, f"needs.data={shapes}", "--out", str(clip), "--extend", "4")


def test_a_stage_with_a_constant_rate_is_extended(shapes: Path, tmp_path: Path) -> None:
    constant = [*CLIP, "module.schedule={_target_: mav_lightning.modules.optim.Warmup}", f"needs.data={shapes}"]
    train(*constant, "--out", str(tmp_path / "two"))
    train(*constant, "--out", str(tmp_path / "two"), "--extend", "3")
    train(*constant, "fit.steps=3", "--out", str(tmp_path / "three"))

    assert (
        record(tmp_path / "two")["artifacts"]["weights.safetensors"]
        == (record(tmp_path / "three")["artifacts"]["weights.safetensors"])
    )


def test_a_parent_counts_by_its_weights(clip: Path, shapes: Path, tmp_path: Path) -> None:
    words = [*RIDGE, f"needs.data={shapes}", f"needs.clip={clip}", "--out", str(tmp_path / "ridge")]
    train(*words)
    assert len(record(tmp_path / "ridge")["run"]["needs"]["clip"]) == 16
    before = (tmp_path / "ridge" / "weights.safetensors").stat().st_mtime_ns
    train(*words)
    assert (tmp_path / "ridge" / "weights.safetensors").stat().st_mtime_ns == before, "it is not fitted again"

    train(*CLIP, "seed=1", f"needs.data={shapes}", "--out", str(tmp_path / "clip"))
    with pytest.raises(UserError, match="`needs.clip` is '[0-9a-f]{16}' there and '[0-9a-f]{16}' here"):
        train(*words[:-4], f"needs.data={shapes}", f"needs.clip={tmp_path / 'clip'}", *words[-2:])
    with pytest.raises(UserError, match="`task.penalty` is 0.001 there and 0.1 here"):
        train(*words, "task.penalty=0.1")
    with pytest.raises(UserError, match="extend: .*is fitted in closed form, without steps"):
        train(*words, "--extend", "4")


def test_an_unknown_role_is_refused(shapes: Path) -> None:
    with pytest.raises(UserError, match="needs.dat: the stage needs data. Did you mean `data`"):
        train(*CLIP, f"needs.dat={shapes}")


def test_extending_is_for_a_single_stage() -> None:
    with pytest.raises(UserError, match="extend: only for a single stage"):
        train("recipe/tiny.yaml", "--extend", "4")


def test_determinism_is_checked_without_leaving_anything(shapes: Path, tmp_path: Path) -> None:
    out = tmp_path / "none"
    printed = train(*CLIP, f"needs.data={shapes}", "--check-determinism", "2", "--out", str(out))
    assert "deterministic: " in printed and "tensors of 2 steps are equal to the bit" in printed
    assert not out.exists()


def test_a_profile_shows_the_parts_of_a_step_and_leaves_nothing(shapes: Path, tmp_path: Path) -> None:
    out = tmp_path / "none"
    printed = train(*CLIP, f"needs.data={shapes}", "--profile", "5", "--out", str(out))
    assert {"waiting for data", "forward and loss", "backward", "optimizer", "whole step"} <= {
        line.split("|")[1].strip() for line in printed.splitlines() if line.startswith("|")
    }
    assert not out.exists()


def test_a_step_is_repeated_and_the_run_left_as_it_is(clip: Path, shapes: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in clip.rglob("*")}
    printed = train(*CLIP, f"needs.data={shapes}", "--out", str(clip), "--replay", "1")
    assert "step 1, repeated from step 0" in printed and "first output that is not finite: none" in printed
    assert re.search(r"loss \d\.\d+ of ", printed)
    assert {path: path.stat().st_mtime_ns for path in clip.rglob("*")} == before


@pytest.mark.parametrize("option", ["--check-determinism", "--profile", "--replay"])
def test_a_closed_form_is_no_training_by_steps(option: str, shapes: Path) -> None:
    with pytest.raises(UserError, match="is not trained by steps"):
        train(*RIDGE, f"needs.data={shapes}", option, "5")


def test_a_choice_of_samples_and_a_mixture_are_part_of_the_run(shapes: Path, tmp_path: Path) -> None:
    other = WriteShapesWorld(images=6, clips=2, val_images=2, val_clips=1, size=16, seconds=0.5, processes=1, seed=1)
    other.run(tmp_path / "other")
    parts = f"{{a: {{path: {shapes}, weight: 0.75}}, b: {{path: {tmp_path / 'other'}, weight: 0.25}}}}"
    train(*CLIP, f"data.root={parts}", f"needs.data={shapes}", "--out", str(tmp_path / "mixed"))
    assert record(tmp_path / "mixed")["run"]["data"]["root"].startswith("sha256 ")
    with pytest.raises(UserError, match="`data.root` is 'sha256 .*' there and 'sha256 .*' here"):
        train(
            *CLIP, f"data.root={parts.replace('0.25', '0.5')}", f"needs.data={shapes}", "--out", str(tmp_path / "mixed")
        )
    with pytest.raises(UserError, match=r"data\.root\.b\.weight: must be a finite number above 0, got 0"):
        train(*CLIP, f"data.root={parts.replace('0.25', '0')}", f"needs.data={shapes}", "--out", str(tmp_path / "no"))

    chosen = "data.where='media.width == 16 and \"a\" in caption'"
    train(*CLIP, chosen, f"needs.data={shapes}", "--out", str(tmp_path / "some"))
    assert record(tmp_path / "some")["run"]["data"]["where"] == 'media.width == 16 and "a" in caption'
    with pytest.raises(UserError, match="`data.root` is .sha256 .*there and"):
        train(*CLIP, f"needs.data={shapes}", "--out", str(tmp_path / "some"))
    with pytest.raises(UserError, match="where: position 7: cannot be read: write `==`"):
        train(*CLIP, "data.where='width = 5'", f"needs.data={shapes}", "--out", str(tmp_path / "no"))
