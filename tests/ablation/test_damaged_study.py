"""A study with unreadable files names each of them, makes them again, and ends with the results of an undamaged one."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mav_lightning.ablation.report import build_report
from mav_lightning.ablation.results import read_results
from mav_lightning.ablation.run import run_study
from mav_lightning.ablation.study_plan import read_plan
from mav_lightning.common.errors import UserError
from mav_lightning.common.hashing import file_sha256
from mav_lightning.common.identity import identity_sha256
from mav_lightning.common.json_files import write_json

Write = Callable[..., Path]


def scores(out: Path) -> dict[tuple[str, int], Any]:
    trials = read_results(out, read_plan(out)).trials
    return {(one.trial.variant, one.trial.seed): one.scores["metrics"] for one in trials}


def garble(file: Path) -> None:
    file.write_bytes(b"\x00{[")


def empty(file: Path) -> None:
    file.write_bytes(b"")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:20])


def other_type(file: Path) -> None:
    file.write_text("[3]")


def to_folder(file: Path) -> None:
    file.unlink(missing_ok=True)
    (file / "inside").mkdir(parents=True)


def to_file(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.write_text("no folder")


def remove(file: Path) -> None:
    file.unlink()


def bad_weights(stage: Path) -> None:
    """What a training leaves, with weights that were cut afterwards."""
    (stage / "weights.safetensors").write_bytes(b"weights")
    run = {"fit": {"steps": 6}}
    found = {"weights.safetensors": file_sha256(stage / "weights.safetensors")}
    record = {"id": identity_sha256(run), "run": run, "state": "finished", "steps": 6, "artifacts": found}
    write_json(stage / "run.json", record)
    (stage / "weights.safetensors").write_bytes(b"weig")


# stage, what of it, damage → the message, and whether the stage runs again
DAMAGES: list[tuple[str, str, Callable[[Path], None], str, bool]] = [
    ("spatial", "stage.json", garble, "stage.json: not valid JSON .*set aside as stage.json.damaged", False),
    ("spatial", "stage.json", to_folder, "stage.json: is a folder where a file belongs; set aside", False),
    ("spatial", "done.json", garble, "done.json: not valid JSON .*; stage spatial runs again; set aside", True),
    ("spatial", "done.json", cut, "done.json: not valid JSON .*; stage spatial runs again", True),
    ("spatial", "done.json", to_folder, "done.json: is a folder .*; stage spatial runs again", True),
    ("spatial", "cost.json", empty, "cost.json: not valid JSON", False),
    ("spatial", "progress.json", to_folder, "progress.json: is a folder where a file belongs", False),
    ("spatial", "lease.json", to_folder, "lease.json: is a folder where a file belongs", False),
    ("spatial", "log.txt", to_folder, "log.txt: is a folder where a file belongs", False),
    ("spatial", "checkpoints", to_file, "checkpoints: is a file where a folder belongs", False),
    ("spatial", ".", bad_weights, "but weights.safetensors is missing or damaged; stage spatial runs again", True),
    ("sample", "clips/manifest.json", garble, "but .*manifest.json.*; stage sample runs again", True),
    ("sample", "clips/manifest.json", remove, "but .*no such manifest.*; stage sample runs again", True),
    ("sample", "clips/000.mkv", empty, "but 000.mkv is missing or empty; stage sample runs again", True),
    ("sample", "clips", to_file, "clips: is a file where a folder belongs", True),
    ("score", "results.json", garble, "but .*results.json: not valid JSON .*; stage score runs again", True),
    ("score", "results.json", other_type, "but .*results.json: must be .*; stage score runs again", True),
    ("score", "results.json", to_folder, "results.json: is a folder where a file belongs", True),
]


@pytest.mark.parametrize(
    ("stage", "name", "damage", "message", "again"),
    DAMAGES,
    ids=[f"{stage}-{name.replace('/', '-')}-{damage.__name__}" for stage, name, damage, _, _ in DAMAGES],
)
def test_a_damaged_file_is_named_and_made_again(
    stage: str, name: str, damage: Callable[[Path], None], message: str, again: bool,
    finished_study: Path, write_study: Write, stubs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "out"
    shutil.copytree(finished_study, out, symlinks=True)
    folder = sorted(out.glob(f"stages/{stage}-*"))[0]
    damage(folder / name if name != "." else folder)

    run = run_study(write_study(), out, executor=stubs)

    printed = capsys.readouterr().out
    assert any(re.search(message, line) for line in printed.splitlines()), printed
    assert run.outcome.complete
    assert [one.name for one in run.outcome.ran] == ([stage] if again else [])
    assert list(folder.rglob("*.damaged")), "what was there is kept"
    assert scores(out) == scores(finished_study)


@pytest.mark.parametrize("damage", [garble, empty, other_type, to_folder])
def test_a_damaged_study_file_is_named_by_the_report_and_written_again_by_the_study(
    damage: Callable[[Path], None], finished_study: Path, write_study: Write, stubs: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished_study, out, symlinks=True)
    damage(out / "study.json")

    with pytest.raises(UserError, match=r"study\.json: "):
        build_report(out)

    if damage is to_folder:
        with pytest.raises(UserError, match=r"study\.json: is a folder; give the name of a file"):
            run_study(write_study(), out, executor=stubs)
    else:
        run_study(write_study(), out, executor=stubs)
        assert scores(out) == scores(finished_study)


@pytest.mark.parametrize("name", ["results.json", "done.json", "stage.json"])
@pytest.mark.parametrize("damage", [garble, empty, other_type, to_folder])
def test_a_report_names_a_damaged_record(
    name: str, damage: Callable[[Path], None], finished_study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished_study, out, symlinks=True)
    damage(sorted(out.glob("stages/score-*"))[0] / name)

    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        build_report(out)


def test_a_file_in_place_of_a_stages_folder_is_refused(
    finished_study: Path, write_study: Write, stubs: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished_study, out, symlinks=True)
    folder = sorted(out.glob("stages/score-*"))[0]
    to_file(folder)

    with pytest.raises(UserError, match="is a file where the folder of a stage belongs; move it"):
        run_study(write_study(), out, executor=stubs)
    assert folder.read_text() == "no folder"


@pytest.mark.parametrize("damage", [garble, empty, cut, to_folder])
def test_a_report_leaves_out_curves_that_cannot_be_read(
    damage: Callable[[Path], None], finished_study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished_study, out, symlinks=True)
    logs = sorted(out.glob("stages/temporal-*"))[0] / "tensorboard" / "temporal"
    logs.mkdir(parents=True)
    events = logs / "events.out.tfevents.1700000000.host.1.0"
    events.write_bytes(json.dumps({"no": "events"}).encode() * 20)
    damage(events)

    assert build_report(out).exists()
