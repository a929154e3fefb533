"""A recipe whose stages really run, as small as they can be: what one writes, the next and the ledger read."""

import json
from pathlib import Path

from typer.testing import CliRunner

from mav_lightning.cli.app import app
from mav_lightning.runs.stage_folder import StageFolder

RECIPE = """
stages:
  data:
    config: stage/data_tiny.yaml
    set: {task.images: 8, task.clips: 2, task.val_images: 4, task.val_clips: 1, task.size: 16, task.processes: 1}
  clip:
    config: stage/clip_tiny.yaml
    needs: {data: data}
    set: {fit.steps: 2, data.batch_size: 4}
"""


def test_a_training_stage_ends_as_done_with_its_cost(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    done = CliRunner().invoke(app, ["train", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output

    (folder,) = (tmp_path / "run" / "stages").glob("clip-*")
    stage = StageFolder(folder)
    cost = stage.read_cost()
    assert stage.done_file.is_file() and cost is not None and cost.steps == 2
    written = json.loads((folder / "cost.json").read_text())
    assert written["data_wait_seconds"] == cost.data_wait_seconds
    assert (folder / "weights.safetensors").is_file()
