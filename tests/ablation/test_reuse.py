"""What is used again and what is not: by content, never by name or place."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mav_lightning.ablation.report import build_report
from mav_lightning.ablation.run import run_study
from mav_lightning.ablation.study_plan import read_plan
from mav_lightning.common.errors import UserError
from mav_lightning.runs.executor import Executor

Write = Callable[..., Path]
Stubs = Callable[..., Executor]
ALL = ["data", "clip", "spatial", "sample", "score", "temporal", "sample", "score"]


@pytest.fixture
def out(finished_study: Path, tmp_path: Path) -> Path:
    """A finished study of the configs that `write_study` writes; that it lies elsewhere now changes nothing."""
    return shutil.copytree(finished_study, tmp_path / "out")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def ran(study: Path, out: Path, stubs: Stubs, **options: Path) -> list[str]:
    return sorted(stage.name for stage in run_study(study, out, ["seeds=[0]"], stubs, **options).outcome.ran)


@pytest.mark.parametrize(
    ("file", "old", "new", "again"),
    [
        ("sample.yaml", "frames: 9", "frames: 8", ["sample", "score", "sample", "score"]),
        ("temporal.yaml", "kind: train", "kind: train\nsize: 5", ["temporal", "sample", "score"]),
        ("clip.yaml", "frames: 3", "frames: 2", [name for name in ALL if name != "data"]),
        ("data.yaml", "size: 16", "size: 8", ALL),
    ],
    ids=["a default of the last stages", "a new default of one variant's stage", "an upstream stage", "the data set"],
)
def test_a_change_makes_new_stages_of_all_that_follows_and_leaves_the_old_ones_alone(
    write_study: Write, stubs: Stubs, out: Path, tmp_path: Path, file: str, old: str, new: str, again: list[str]
) -> None:
    study = write_study()
    assert ran(study, out, stubs) == []
    before = contents(out / "stages")
    config = tmp_path / file
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new))

    assert ran(study, out, stubs) == sorted(again)

    after = contents(out / "stages")
    assert {name: after[name] for name in before} == before
    new_folders = {name.partition("/")[0] for name in after} - {name.partition("/")[0] for name in before}
    assert len(new_folders) == len(again)


def test_a_renamed_variant_and_a_renamed_study_train_nothing(
    write_study: Write, stubs: Stubs, out: Path, tmp_path: Path
) -> None:
    renamed = write_study(("per_frame:", "frames_alone:")).rename(tmp_path / "another.yaml")

    assert ran(renamed, out, stubs) == []
    assert [trial.variant for trial in read_plan(out).trials] == ["temporal", "frames_alone"]


def test_a_moved_folder_trains_nothing(write_study: Write, stubs: Stubs, tmp_path: Path) -> None:
    study = write_study()
    ran(study, tmp_path / "out", stubs)
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "out", tmp_path / "elsewhere" / "moved")

    assert ran(study, tmp_path / "elsewhere" / "moved", stubs) == []
    assert build_report(tmp_path / "elsewhere" / "moved").is_file()


def test_a_study_beside_another_uses_its_stages_and_leaves_its_report(
    write_study: Write, stubs: Stubs, out: Path, tmp_path: Path
) -> None:
    first, second = out, tmp_path / "deeper" / "second"
    before = {name: (first / name).read_bytes() for name in ("study.json",)}
    study = write_study(("per_frame: {", "smaller: {sample.size: 8}\n  per_frame: {"))

    assert ran(study, second, stubs, beside=first) == ["sample", "score"]
    assert ran(study, second, stubs, beside=first) == [], "the same command again"
    assert {name: (first / name).read_bytes() for name in before} == before
    assert [trial.variant for trial in read_plan(second).trials] == ["temporal", "smaller", "per_frame"]


def test_what_another_recipe_calls_the_score_is_reported_by_this_ones_name(
    write_study: Write, stubs: Stubs, out: Path, tmp_path: Path
) -> None:
    first, second, study = out, tmp_path / "second", write_study()
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("score:", "result:"))

    assert ran(study, second, stubs, beside=first) == []
    build_report(second)
    assert json.loads((second / "report.json").read_text())["trials"] == {"planned": 2, "complete": 2}


def test_a_study_cannot_be_beside_nothing_nor_give_up_stages_of_its_own(
    write_study: Write, stubs: Stubs, out: Path, tmp_path: Path
) -> None:
    study = write_study()
    with pytest.raises(UserError, match=r"beside: .*: no stages there; give the folder of a study that has been run"):
        run_study(study, tmp_path / "new", ["seeds=[0]"], stubs, beside=tmp_path / "nothing")
    assert not (tmp_path / "new").exists()
    second = shutil.copytree(out, tmp_path / "second")

    with pytest.raises(UserError, match=r"second: already has stages of its own; to share stages, choose a new"):
        run_study(study, second, ["seeds=[0]"], stubs, beside=out)


def test_shared_stages_that_are_gone_are_reported_with_the_way_out(
    write_study: Write, stubs: Stubs, out: Path, tmp_path: Path
) -> None:
    study, first, second = write_study(), out, tmp_path / "second"
    ran(study, second, stubs, beside=first)
    first.rename(tmp_path / "moved")

    for options in ({}, {"beside": tmp_path / "moved"}):
        with pytest.raises(
            UserError, match=r"its stages are in ../out/stages, which no longer exists; restore that folder"
        ):
            ran(study, second, stubs, **options)
    (second / "stages").unlink()
    assert ran(study, second, stubs, beside=tmp_path / "moved") == []
