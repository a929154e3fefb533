"""Curves have one point per step, whatever happens to the process that draws them."""

import csv
import re
import time
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from toy_training import ToyModule, run

from mav_lightning.common.errors import UserError
from mav_lightning.common.log_names import board_run

CURVES = {"logger": ["tensorboard", "csv"], "trainer": {"log_every_n_steps": 1}}


def board(out: Path) -> dict[str, list[tuple[int, Any]]]:
    """Tag → steps and values, as TensorBoard shows them."""
    events = EventAccumulator(str(board_run(out)), size_guidance={"scalars": 0, "histograms": 0})
    events.Reload()
    shown = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    histograms = events.Tags()["histograms"]
    return shown | {
        tag: [(e.step, tuple(e.histogram_value.bucket)) for e in events.Histograms(tag)] for tag in histograms
    }


def table(out: Path) -> list[tuple[tuple[str, str], ...]]:
    with (out / "csv" / "metrics.csv").open() as file:
        return sorted(
            tuple(sorted((key, value) for key, value in row.items() if value)) for row in csv.DictReader(file)
        )


@pytest.fixture(scope="module")
def uninterrupted(launch: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("uninterrupted")
    assert launch(out, **CURVES) == 0
    return out


def test_every_step_has_its_point_and_the_last_one_its_validation(uninterrupted: Path) -> None:
    curves = board(uninterrupted)
    every = list(range(23))  # as Lightning counts
    assert [step for step, _ in curves["loss/train"]] == every == [step for step, _ in curves["optimizer/grad_norm"]]
    assert [step for step, _ in curves["optimizer/lr"]] == every
    validated = [3, 7, 11, 15, 19, 22]
    assert [step for step, _ in curves["loss/val"]] == validated
    assert [step for step, _ in curves["training_data/fps"]] == validated
    assert [step for step, _ in curves["temporal/net"]] == every
    assert len(table(uninterrupted)) == len({row for row in table(uninterrupted)})


@pytest.mark.parametrize(
    "accidents",
    [
        [("kill-in-step", 2), ("kill-in-validation", 4), ("kill-after-save", 8), ("term-in-step", 9)],
        [("kill-after-step", 4), ("term-in-validation", 12), ("kill-in-validation", 23), ("kill-after-save", 23)],
    ],
    ids=["early", "late"],
)
def test_killed_runs_draw_the_curves_of_an_uninterrupted_one(
    accidents: list[tuple[str, int]], launch: Any, uninterrupted: Path, tmp_path: Path
) -> None:
    for fault, step in accidents:
        assert launch(tmp_path, fault=fault, at=step, **CURVES) != 0
    assert launch(tmp_path, **CURVES) == 0

    assert board(tmp_path) == board(uninterrupted)
    assert table(tmp_path) == table(uninterrupted)


def steps_of(out: Path, tag: str) -> list[int]:
    return [step + 1 for step, _ in board(out)[tag]]


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"val_check_interval": 3}, [3, 6, 7]),
        ({"val_check_interval": 3, "accumulate_grad_batches": 2}, [2, 4, 5, 7]),
        ({"val_check_interval": 0.4}, [2, 4, 6, 7]),
        ({"check_val_every_n_epoch": 1}, [5, 7]),
        ({"val_check_interval": 1000}, [7]),
    ],
    ids=str,
)
def test_validation_goes_by_batches_or_passes_if_asked_to(
    options: dict[str, Any], steps: list[int], tmp_path: Path
) -> None:
    run(tmp_path, steps=7, logger="tensorboard", trainer=options)
    assert steps_of(tmp_path, "loss/val") == steps


def test_without_validation_there_is_none(tmp_path: Path) -> None:
    run(tmp_path, steps=4, logger="tensorboard", trainer={"limit_val_batches": 0, "log_every_n_steps": 2})
    assert "loss/val" not in board(tmp_path) and steps_of(tmp_path, "loss/train") == [2, 4]


def test_an_interval_of_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="val_check_interval: must be a whole number above 0 or a finite number"):
        run(tmp_path, trainer={"val_check_interval": "00:00:10:00"})


def test_a_point_is_the_mean_over_the_accumulated_batches(tmp_path: Path) -> None:
    losses: list[float] = []

    class Watch(Callback):
        def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, *_: object) -> None:
            losses.append(float(outputs["loss"]))

    options = {"accumulate_grad_batches": 2, "log_every_n_steps": 1}
    run(tmp_path, steps=2, logger="tensorboard", trainer=options, extra=[Watch()])
    logged = [value for _, value in board(tmp_path)["loss/train"]]
    # Lightning reports the loss divided by the number of accumulated batches
    assert logged == pytest.approx([losses[0] + losses[1], losses[2] + losses[3]])


class Verbose(ToyModule):
    """Logs in every way that Lightning allows."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        self.log_dict({"train/a": 1.0, "train/b": loss}, on_step=True, on_epoch=False)
        self.log("train/both", loss, on_step=True, on_epoch=True, batch_size=len(batch))
        self.log("train/bar", loss, logger=False, prog_bar=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)
        self.log("val/largest", float(batch_idx), reduce_fx="max", batch_size=len(batch))


def test_all_ways_of_logging_reach_the_loggers_and_callbacks(tmp_path: Path) -> None:
    stop = EarlyStopping("loss/val", patience=100)
    run(tmp_path, steps=6, module=Verbose(), logger="tensorboard", trainer={"log_every_n_steps": 1}, extra=[stop])
    curves = board(tmp_path)
    assert [value for _, value in curves["train/a"]] == [1.0] * 6
    assert [value for _, value in curves["train/b"]] == [value for _, value in curves["loss/train"]]
    assert "train/bar" not in curves and "train/both_epoch" in curves
    assert [value for _, value in curves["val/largest"]] == [1.0, 1.0]
    assert float(stop.best_score) == pytest.approx(min(value for _, value in curves["loss/val"]))


class AtEnd(ToyModule):
    """Logs when a batch has ended."""

    def on_train_batch_end(self, *_: Any) -> None:
        self.log("train/module", float(self.trainer.global_step))


class CallbackAtEnd(Callback):
    """Logs when a batch has ended."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        pl_module.log("train/callback", float(trainer.global_step))


@pytest.mark.parametrize("every", [1, 3])
def test_what_is_logged_when_a_batch_has_ended_is_drawn_at_its_step(every: int, tmp_path: Path) -> None:
    options = {"log_every_n_steps": every, "limit_val_batches": 0}
    run(tmp_path, steps=6, module=AtEnd(), logger="tensorboard", trainer=options, extra=[CallbackAtEnd()])
    due = [(step - 1, float(step)) for step in range(every, 7, every)]
    assert board(tmp_path)["train/module"] == due
    assert board(tmp_path)["train/callback"] == due


def test_a_stop_by_early_stopping_is_saved_with_its_validation(tmp_path: Path) -> None:
    stop = EarlyStopping("loss/val", patience=1, divergence_threshold=0.0, check_finite=False)
    with pytest.raises(UserError, match="ended at step 4 of 23"):
        run(tmp_path, logger="tensorboard", extra=[stop])
    assert steps_of(tmp_path, "loss/val") == [4]
    assert (tmp_path / "checkpoints" / "step-00000004.ckpt").exists()


def test_a_run_that_was_renamed_and_whose_clock_was_set_back_keeps_its_curves(
    launch: Any, uninterrupted: Path, tmp_path: Path
) -> None:
    assert launch(tmp_path / "old", fault="kill-after-step", at=10, **CURVES) == -9
    for file in (tmp_path / "old" / "tensorboard" / "old").glob("events.*"):
        file.rename(file.with_name(re.sub(r"\d{10}", str(int(time.time()) + 10**6), file.name, count=1)))
    (tmp_path / "old").rename(tmp_path / "new")

    assert launch(tmp_path / "new", **CURVES) == 0

    assert board(tmp_path / "new") == board(uninterrupted)
    assert [path.name for path in (tmp_path / "new" / "tensorboard").iterdir()] == ["new"]
