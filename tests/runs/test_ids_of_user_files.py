"""What a user brings to a study counts by its content: moved it is the same, changed it is another."""

import shutil
from pathlib import Path

import pytest

from datamodules.index import build_index
from datamodules.linked_shards import LinkShards
from datamodules.shapes_world_shards import WriteShapesWorld
from mav_lightning.common.errors import UserError
from mav_lightning.runs.recipe import Recipe, load_recipe, plan_recipe
from mav_lightning.runs.stage_folder import Stage, StageFolder


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mine") / "shards"
    WriteShapesWorld(images=2, clips=2, val_images=1, val_clips=1, size=16, seconds=0.5, fps=8, processes=1).run(out)
    return out


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("recipe/own.yaml")


def planned(recipe: Recipe, root: Path, prompts: Path, **more: object) -> dict[str, Stage]:
    deltas = {"data.task.root": str(root), "sample.task.prompts": str(prompts)} | more
    return plan_recipe(recipe, deltas, 0, "study")


def prompts_in(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "prompts.txt").write_text(text)
    return folder / "prompts.txt"


def test_moved_shards_and_prompts_are_the_same_stages(recipe: Recipe, shards: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(shards, tmp_path / "moved")
    here, there = (prompts_in(tmp_path / name, "a cat\n") for name in "ab")

    before, after = planned(recipe, shards, here), planned(recipe, moved, there)

    assert {name: stage.id for name, stage in before.items()} == {name: stage.id for name, stage in after.items()}
    assert before["data"].config["task"]["root"] == str(shards.resolve()), "a stage may run in another folder"


def test_a_stage_that_is_not_done_finds_what_was_moved(recipe: Recipe, shards: Path, tmp_path: Path) -> None:
    moved, prompts = shutil.copytree(shards, tmp_path / "moved"), prompts_in(tmp_path, "a cat\n")
    before, after = (planned(recipe, root, prompts)["data"] for root in (shards, moved))
    folder = StageFolder(tmp_path / "stage")
    folder.create(before)
    folder.create(after)
    assert folder.read_stage() == after

    folder.done_file.write_text("{}")
    folder.create(before)
    assert folder.read_stage() == after, "what is done stays as it was"


def test_other_shards_are_other_stages_and_other_prompts_only_other_clips(
    recipe: Recipe, shards: Path, tmp_path: Path
) -> None:
    prompts = prompts_in(tmp_path, "a cat\n")
    before = planned(recipe, shards, prompts)
    more = shutil.copytree(shards, tmp_path / "more")
    (folder,) = {path.parent for path in (more / "clips" / "train").glob("*.tar")}
    shutil.copy(next((more / "clips" / "val").glob("*.tar")), folder / "more.tar")
    build_index(folder)

    other = planned(recipe, more, prompts)
    assert not {stage.id for stage in other.values()} & {stage.id for stage in before.values()}

    other = planned(recipe, shards, prompts_in(tmp_path, "a dog\n"))
    assert [name for name in other if other[name].id != before[name].id] == ["sample", "score"]


def test_the_shards_are_linked_and_refused_once_they_changed(recipe: Recipe, shards: Path, tmp_path: Path) -> None:
    task = planned(recipe, shards, prompts_in(tmp_path, "a cat\n"))["data"].config["task"]

    LinkShards(root=task["root"], root_sha256=task["root_sha256"]).run(tmp_path / "linked")
    assert (tmp_path / "linked" / "images" / "train").samefile(shards / "images" / "train")
    with pytest.raises(UserError, match="the shards have changed since the study was planned .*run the command again"):
        LinkShards(root=task["root"], root_sha256="0" * 64).run(tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("deltas", "message"),
    [
        (
            {"data.task.root": None},
            "stage `data`: `task.root`: must be the path of your folder, got None",
        ),
        ({"data.task.root": "/not/there"}, "`task.root`: /not/there is not a folder; set it to that of your data"),
        (
            {"data.task.root": "not/there"},
            "`task.root`: not/there is not a folder, seen from the current directory /.*; set it",
        ),
        ({"data.task.root": __file__}, "`task.root`: .*test_ids_of_user_files.py is not a folder; set it"),
        ({"sample.task.prompts": None}, "stage `sample`: .*task.prompts: must be a path, got None"),
        (
            {"spatial.data.root": "."},
            "stage `spatial`: `data.root` is ., whose content could change unnoticed; .*folder",
        ),
        (
            {"spatial.data.root": {"a": {"path": "@data", "weight": 1.0}, "b": {"path": ".", "weight": 2.0}}},
            r"stage `spatial`: `data.root.b.path` is ., whose content could change unnoticed; .*folder",
        ),
    ],
)
def test_what_is_not_there_or_not_identified_is_told(
    recipe: Recipe, shards: Path, tmp_path: Path, deltas: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        planned(recipe, shards, prompts_in(tmp_path, "a cat\n"), **deltas)
