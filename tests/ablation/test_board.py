"""TensorBoard's view of a study, and the learning curves read back from its logs."""

import io
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tensorboard.backend.event_processing import io_wrapper
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.tensorboard import SummaryWriter

from mav_lightning.ablation import board as board_module
from mav_lightning.ablation.board import write_board
from mav_lightning.ablation.report import build_report
from mav_lightning.ablation.report.curves import learning_curves
from mav_lightning.ablation.results import StudyResults, read_results
from mav_lightning.ablation.run import run_study
from mav_lightning.ablation.study_plan import read_plan
from mav_lightning.common.errors import UserError

STEPS = 100


@pytest.fixture(scope="module")
def logged(finished_study: Path, tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """The study with a log in every training: losses that fall as 100 - step."""
    root = tmp_path_factory.mktemp("logged") / "out"
    shutil.copytree(finished_study, root)
    for name in ("clip", "spatial", "temporal"):
        for stage in (root / "stages").glob(f"{name}-*"):
            with SummaryWriter(str(stage / "tensorboard" / stage.name)) as writer:
                for step in range(STEPS):
                    writer.add_scalar("loss/train", STEPS - step, step)
    return read_results(root, read_plan(root))


def test_hparams_hold_each_trials_settings_and_the_declared_metrics(logged: StudyResults) -> None:
    board = write_board(logged)

    runs = {file.parent.name for file in board.glob("*/events*")}
    assert runs == {"temporal-seed0", "temporal-seed1", "per_frame-seed0", "per_frame-seed1"}
    for variant, decoder in (("per_frame", "spatial"), ("temporal", "temporal")):
        events = EventAccumulator(str(board / f"{variant}-seed0"))
        events.Reload()
        content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        hparams = HParamsPluginData.FromString(content).session_start_info.hparams
        assert hparams["variant"].string_value == variant
        assert hparams["sample.needs.decoder"].string_value == decoder, "what it is, not what the study wrote"
        metrics = {f"study/{name}" for name in ("shapes-fvd", "law", "flicker", "appearance")}
        assert metrics <= set(events.Tags()["scalars"])


def test_two_processes_that_write_it_at_once_leave_one(logged: StudyResults, monkeypatch: pytest.MonkeyPatch) -> None:
    fill, others = board_module._fill, [1]

    def filled(folder: Path, results: StudyResults) -> None:
        fill(folder, results)
        if others.pop() if others else 0:  # another driver, for example the first process of another container
            write_board(results)

    monkeypatch.setattr(board_module, "_fill", filled)
    board = write_board(logged)

    assert len(list(board.glob("*/events*"))) == 4
    assert not list(logged.root.glob(".tensorboard*"))


def test_a_foreign_file_in_it_is_not_deleted(logged: StudyResults, tmp_path: Path) -> None:
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard/notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"tensorboard: holds `notes\.txt`, which would be lost"):
        write_board(replace(logged, root=tmp_path))
    assert (tmp_path / "tensorboard/notes.txt").read_text() == "mine"


def test_the_same_prompts_play_for_every_trial(logged: StudyResults) -> None:
    board = write_board(logged)

    shown = {}
    for run in ("temporal-seed0", "per_frame-seed0"):
        events = EventAccumulator(str(board / run), {"images": 0})
        events.Reload()
        assert events.Tags()["images"] == ["samples/4fps", "samples/8fps"], "one stub clip of each"
        shown[run] = Image.open(io.BytesIO(events.Images("samples/8fps")[0].encoded_image_string))
        assert shown[run].n_frames == 9 and shown[run].info["duration"] in (120, 130)  # type: ignore[attr-defined]
    assert len({picture.size for picture in shown.values()}) == 1
    assert len({picture.tobytes() for picture in shown.values()}) == 2


def test_each_variants_trainings_are_shown_and_shared_ones_once(logged: StudyResults) -> None:
    board = write_board(logged)

    links = [path for path in board.glob("*/*") if path.is_symlink()]
    found = {f"{link.parent.name}/{link.name}": link.resolve().name.partition("-")[0] for link in links}
    shared = {f"all-seed{seed}/{stage}": stage for seed in (0, 1) for stage in ("clip", "spatial")}
    assert found == shared | {f"temporal-seed{seed}/temporal": "temporal" for seed in (0, 1)}
    assert {os.path.relpath(run, board) for run in io_wrapper.GetLogdirSubdirectories(str(board))} >= set(found)


def test_the_name_of_a_variant_never_leaves_the_board(
    write_study: Callable[..., Path], stubs: Any, tmp_path: Path
) -> None:
    study = write_study(("per_frame: {", "1/2: {sample.size: 8}\n  ../../x: {sample.size: 4}\n  per_frame: {"))

    run = run_study(study, tmp_path / "out", ["seeds=[0]"], stubs)

    assert run.outcome.complete
    assert {file.parent.name for file in (tmp_path / "out" / "tensorboard").glob("*/events*")} == {
        "1%2F2-seed0", "%2E.%2F..%2Fx-seed0", "temporal-seed0", "per_frame-seed0",
    }  # fmt: skip
    assert not list(tmp_path.glob("x-seed0"))


def test_a_moved_study_keeps_its_curves(logged: StudyResults, tmp_path: Path) -> None:
    write_board(logged)
    shutil.copytree(logged.root, tmp_path / "moved", symlinks=True)

    events = EventAccumulator(str(tmp_path / "moved" / "tensorboard" / "temporal-seed1" / "temporal"))
    events.Reload()
    link = tmp_path / "moved" / "tensorboard" / "temporal-seed1" / "temporal"
    assert link.resolve().is_relative_to(tmp_path / "moved") and len(events.Scalars("loss/train")) == STEPS


def test_learning_curves_are_means_over_stretches_of_what_sets_variants_apart(logged: StudyResults) -> None:
    curves = learning_curves(logged)

    assert list(curves) == ["temporal"] and list(curves["temporal"]) == [("temporal",)]
    assert list(curves["temporal"][("temporal",)]) == [0, 1]
    steps, losses = curves["temporal"][("temporal",)][0]
    assert len(steps) == 40 and steps[-1] == STEPS - 1
    assert losses[0] == pytest.approx(STEPS - 1.0) and losses[-1] == pytest.approx(1.5)  # steps 0-2 and 98-99


def test_a_training_that_some_variants_share_is_one_curve(logged: StudyResults) -> None:
    trials = []
    for result in logged.trials:
        trials.append(result)
        if result.trial.variant == "temporal":
            trials.append(replace(result, trial=replace(result.trial, variant="twin")))
        else:  # one that has no such stage shares nothing, and hides nothing
            trials.append(replace(result, trial=replace(result.trial, variant="other", stages={})))
    changed = {"temporal": replace(trials[0].trial.stages["temporal"], id="0" * 16)}
    plan = replace(logged.plan, trials=[one.trial for one in trials])
    assert learning_curves(replace(logged, plan=plan, trials=trials)) == {}, "all that have the stage share it"

    unlike = replace(trials[0].trial, variant="unlike", stages=trials[0].trial.stages | changed)
    plan = replace(plan, trials=[*plan.trials, unlike])
    curves = learning_curves(replace(logged, plan=plan, trials=trials))
    assert list(curves["temporal"]) == [("temporal", "twin")] and list(curves["temporal"]["temporal", "twin"]) == [0]


def test_the_page_shows_the_curves(logged: StudyResults, stubs: Callable[..., object], tmp_path: Path) -> None:
    page = build_report(logged.root, tmp_path).read_text()

    assert "training loss of temporal" in page
    assert (tmp_path / "figures" / "curve-temporal.pdf").is_file()
