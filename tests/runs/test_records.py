"""Records from disk are checked: whatever is wrong, the message names the file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mav_lightning.common.errors import UserError
from mav_lightning.common.json_files import write_json
from mav_lightning.runs.execute import run_stage
from mav_lightning.runs.ledger import Ledger
from mav_lightning.runs.records import DoneRecord
from mav_lightning.runs.stage_folder import Stage, StageFolder

STAGE = Stage.of("clip", {"kind": "train", "seed": 0}, {})
READERS: dict[str, Callable[[StageFolder], object]] = {
    "stage.json": StageFolder.read_stage,
    "done.json": StageFolder.read_done,
    "failed.json": StageFolder.read_failure,
    "cost.json": StageFolder.read_cost,
    "progress.json": StageFolder.read_progress,
    "tags.json": StageFolder.read_tags,
}
BROKEN = {
    "empty": "",
    "no JSON": "{",
    "a list": "[]",
    "nested": "[" * 100_000 + "]" * 100_000,
    "nested in a mapping": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "an unknown key": '{"secondz": 3}',
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("name", READERS)
def test_a_broken_record_is_an_error_that_names_the_file(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)

    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        READERS[name](StageFolder(tmp_path))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("done.json", {"seconds": "3"}),
        ("done.json", {"seconds": -1.0}),
        ("progress.json", {"done": 1.5, "total": 3}),
        ("progress.json", {"total": 3}),
        ("stage.json", {"id": "a", "name": "b", "kind": "dance", "config": {}, "needs": {}}),
        ("stage.json", {"id": "a", "name": "b", "kind": "data", "config": {}, "needs": {"data": 3}}),
        ("tags.json", {"seed": [0]}),
    ],
)
def test_a_value_of_the_wrong_type_is_an_error_that_names_the_file(name: str, content: object, tmp_path: Path) -> None:
    write_json(tmp_path / name, content)

    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        READERS[name](StageFolder(tmp_path))


def test_records_that_do_not_exist_are_none(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path)

    assert folder.read_done() is folder.read_failure() is folder.read_cost() is folder.read_progress() is None
    assert folder.read_tags() == {}


def test_records_are_read_back(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path)
    write_json(folder.tags_file, {"study": "quick", "variants": ["full", "frozen"], "seed": 0})
    write_json(folder.done_file, {"exit": 0, "seconds": 2.5, "versions": {"torch": "2"}, "steps": 3})

    assert folder.read_tags() == {"study": "quick", "variant": "full, frozen", "seed": 0}
    assert folder.read_done() == DoneRecord(exit=0, seconds=2.5, versions={"torch": "2"}, steps=3)


def test_tags_do_not_change_a_stage(tmp_path: Path) -> None:
    folder = Ledger(tmp_path).folder(STAGE)
    folder.create(STAGE)
    write_json(folder.tags_file, {"variants": ["full"]})

    assert folder.read_stage() == STAGE


def test_a_folder_without_a_stage_cannot_be_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no stage\.json here"):
        run_stage(tmp_path)
