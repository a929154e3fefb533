"""Stages that name classes of the user's own packages: their source counts, and a stage runs only what was planned."""

from pathlib import Path

import pytest

from mav_lightning.common import allowed
from mav_lightning.common.errors import UserError
from mav_lightning.runs.execute import run_stage
from mav_lightning.runs.stage_folder import Stage, StageFolder

CONFIG = {"kind": "train", "module": {"_target_": "lab_of_stages.Net", "channels": 8}}


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Source file of an allowed package."""
    file = tmp_path / "packages" / "lab_of_stages" / "__init__.py"
    file.parent.mkdir(parents=True)
    file.write_text("class Net: ...\n")
    monkeypatch.syspath_prepend(str(file.parents[1]))
    monkeypatch.setattr(allowed, "_allowed", {})
    allowed.allow(["lab_of_stages"])
    return file


def test_the_source_of_a_package_counts_where_a_config_names_it(source: Path) -> None:
    before, other = Stage.of("a", CONFIG, {}), Stage.of("b", {"kind": "data"}, {})
    source.write_text("class Net:\n    depth = 2\n")
    after = Stage.of("a", CONFIG, {})

    assert list(before.packages) == ["lab_of_stages"] and before.id != after.id
    assert other.packages == {} and other.id == Stage.of("b", {"kind": "data"}, {}).id


def test_a_stage_keeps_its_packages_and_rejects_changed_source(source: Path, tmp_path: Path) -> None:
    stage, folder = Stage.of("a", CONFIG, {}), StageFolder(tmp_path / "stage")
    folder.create(stage)
    source.write_text("import os\n")

    assert folder.read_stage() == stage
    with pytest.raises(UserError, match="source of `lab_of_stages` has changed since stage a was planned"):
        run_stage(folder.path)
