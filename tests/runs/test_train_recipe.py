"""``mav train`` of a recipe, with stages that do nothing but leave what others look for."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mav_lightning.cli.app import app
from mav_lightning.runs import executor

STAGES = """
stages:
  data: {{config: {root}/data.yaml}}
  net: {{config: {root}/net.yaml, needs: {{data: data}}, set: {{frames: 5}}}}
  pipeline: {{config: {root}/pipeline.yaml, needs: {{decoder: net}}}}
"""
CONFIGS = {
    "data": "kind: data\nsize: 16\n",
    "net": "kind: train\nseed: 0\nframes: 9\nneeds: {data: '@data'}\n",
    "pipeline": "kind: pipeline\nneeds: {decoder: '@decoder'}\n",
}
WORK = 'test ! -e "$0/../../refuse" || exit 3; cp -r "$0/../../../doll" "$0/pipeline"; '


@pytest.fixture
def recipe(tmp_path: Path, text_pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(text_pipeline, tmp_path / "doll")
    monkeypatch.setattr(executor, "STAGE_COMMAND", ("sh", "-c", WORK + 'echo "{}" > "$0/cost.json"'))
    for name, text in CONFIGS.items():
        (tmp_path / f"{name}.yaml").write_text(f"name: {name}\n{text}")
    (tmp_path / "recipe.yaml").write_text(STAGES.format(root=tmp_path))
    return tmp_path / "recipe.yaml"


def train(recipe: Path, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["train", str(recipe), "--out", str(recipe.parent / "run"), *words])
    return result.exit_code, result.output


def test_a_recipe_trains_every_stage_once_and_leaves_a_pipeline(recipe: Path) -> None:
    code, told = train(recipe)
    assert code == 0, told
    assert "✓ net" in told and f"pipeline: {recipe.parent / 'run' / 'pipeline'}" in told
    assert (recipe.parent / "run" / "pipeline" / "pipeline.json").is_file()

    code, told = train(recipe)
    assert code == 0 and "✓" not in told and told.count("reused") == 3


def test_an_override_changes_its_stage_and_what_needs_it(recipe: Path) -> None:
    train(recipe)
    _, told = train(recipe, "net.frames=7", "seed=0")
    assert "reused" in told.split("net")[0] and told.count("✓") == 2


def test_a_stage_that_fails_is_named_and_what_needs_it_is_left(recipe: Path) -> None:
    (recipe.parent / "run").mkdir()
    (recipe.parent / "run" / "refuse").touch()
    code, told = train(recipe)
    assert code == 1
    assert "failed: data-" in told and "2 stages that need them were skipped. Rerun the command to retry." in told

    (recipe.parent / "run" / "refuse").unlink()
    assert train(recipe)[0] == 0


def test_a_stage_has_no_dry_run() -> None:
    done = CliRunner().invoke(app, ["train", "stage/spatial_tiny.yaml", "--dry-run"])
    assert "dry_run: only for recipes; `mav config stage/spatial_tiny.yaml` prints" in str(done.exception)


def test_a_dry_run_says_what_would_run_and_writes_nothing(recipe: Path) -> None:
    code, told = train(recipe, "--dry-run")
    assert code == 0 and told.count("pending") == 3 and "3 stages. Nothing was run." in told
    assert not (recipe.parent / "run").exists()


def test_the_one_command_that_trains_the_small_cascade_is_planned_to_the_last_stage(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["train", "recipe/small.yaml", "--out", str(tmp_path / "run"), "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "10 stages" in done.output and "6000 steps" in done.output
