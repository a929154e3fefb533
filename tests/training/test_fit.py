"""The whole run: it does what a loop written by hand does, and says clearly what it will not do."""

import json
import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from safetensors.torch import load_file
from toy_training import BATCH_SIZE, At, ToyBatch, ToyData, ToyLoader, ToyModule, run

from mav_lightning.common.errors import UserError
from mav_lightning.common.lease import claim
from mav_lightning.training.ema import EMA
from mav_lightning.training.rng import TRAIN, sample_numbers, seed_generators
from mav_lightning.training.sample_random import SampleRandom


def train_by_hand(steps: int, ranks: int) -> dict[str, torch.Tensor]:
    """EMA weights after averaging the gradients of `ranks` batches a step: what DDP promises."""
    module = ToyModule()
    settings: Any = module.configure_optimizers()
    optimizer, schedule = settings["optimizer"], settings["lr_scheduler"]["scheduler"]
    loaders = [iter(loader) for loader in [ToyLoader(rank, ranks) for rank in range(ranks)]]
    ema, no_trainer, draws = EMA(0.9), None, SampleRandom()
    ema.on_fit_start(no_trainer, module)  # type: ignore[arg-type]
    for step in range(steps):
        optimizer.zero_grad()
        for rank, loader in enumerate(loaders):
            seed_generators(0, TRAIN, step, process=(rank, step))
            draws.set_samples({BATCH_SIZE: sample_numbers(BATCH_SIZE, 0, rank, ranks, interleaved=False)})
            with draws:
                loss = module._loss(next(loader))
            (loss / ranks).backward()
        optimizer.step()
        schedule.step()
        ema.on_step_end(no_trainer, module)  # type: ignore[arg-type]
    return ema.ema_state_dict(module)


@pytest.mark.parametrize("ranks", [1, 2])
def test_fit_equals_a_loop_written_by_hand(ranks: int, launch: Any, tmp_path: Path) -> None:
    assert launch(tmp_path, ranks=ranks, steps=5) == 0

    expected = train_by_hand(5, ranks)
    weights = load_file(tmp_path / "weights.safetensors")
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-6, atol=1e-7)


def test_results_are_the_modules_keys_and_the_cost(tmp_path: Path) -> None:
    module = ToyModule()
    run(tmp_path, module=module, ema_decay=None)

    weights, cost = load_file(tmp_path / "weights.safetensors"), json.loads((tmp_path / "cost.json").read_text())
    assert weights.keys() == module.state_dict().keys()
    assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())
    assert (cost["steps"], cost["parameters"], cost["trainable_parameters"]) == (23, 152, 110)
    assert cost["seconds"] > 23 * cost["step_seconds"] / 2 > 0
    assert cost["peak_rss_bytes"] > 10**7


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    run(tmp_path, steps=5)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != "lease.json"}

    run(tmp_path, steps=5)

    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != "lease.json"}
    assert after == before


def test_a_second_training_in_a_folder_is_refused_with_the_first_ones_process(tmp_path: Path) -> None:
    lease = claim(tmp_path)
    assert lease is not None
    with pytest.raises(UserError, match=f"is in use by process {os.getpid()} on .*; wait for it to end, or use anoth"):
        run(tmp_path, trace=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lease.json"]
    lease.release()

    run(tmp_path, steps=2)


def vanish(out: Path, how: str) -> None:
    """Take the folder away from the training that works in it."""
    if how == "deleted":
        shutil.rmtree(out)
        return
    out.rename(out.with_name("elsewhere"))
    if how == "replaced":
        out.mkdir()
        claim(out)


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("logger", [False, "tensorboard"])
@pytest.mark.parametrize("how", ["deleted", "moved", "replaced"])
def test_a_training_whose_folder_is_taken_away_ends_and_writes_nothing_there(
    how: str, logger: bool | str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(UserError, match="run: was moved, deleted or replaced while this process worked in it"):
        accident = At("on_train_batch_end", 6, partial(vanish, out, how))
        run(out, extra=[accident], trace=False, logger=logger, background_checkpoints=False)

    assert not list(out.rglob("*.ckpt")) and out.exists() == (how == "replaced")
    if how == "moved":
        (tmp_path / "elsewhere").rename(out)
        run(out, trace=False, logger=logger)


def test_what_a_killed_training_was_writing_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    ours = ["checkpoints/.step-00000004.ckpt.0123abcd.partial", ".weights.safetensors.0123abcd.partial"]
    theirs = [".mine.partial", ".weights.safetensors.partial", "checkpoints/.notes.0123abcd.partial"]
    for name in (*ours, *theirs):
        (tmp_path / name).write_text("half")
    (tmp_path / "checkpoints" / ".step-00000008.ckpt.0123abcd.partial").symlink_to(tmp_path / ".mine.partial")

    run(tmp_path, steps=2)

    assert not any((tmp_path / name).exists() for name in ours)
    assert all((tmp_path / name).read_text() == "half" for name in theirs)
    assert (tmp_path / "checkpoints" / ".step-00000008.ckpt.0123abcd.partial").is_symlink()


def test_a_run_killed_between_training_and_results_writes_them(tmp_path: Path) -> None:
    run(tmp_path, steps=5)
    weights, cost = (tmp_path / "weights.safetensors").read_bytes(), json.loads((tmp_path / "cost.json").read_text())
    for name in ("weights.safetensors", "cost.json"):
        (tmp_path / name).unlink()

    run(tmp_path, steps=5)

    again = json.loads((tmp_path / "cost.json").read_text())
    assert (tmp_path / "weights.safetensors").read_bytes() == weights
    assert again["steps"] == 5 and 0 < again["seconds"] <= cost["seconds"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps: must be a whole number above 0, got 0"),
        ({"seed": -1}, "seed: must be a whole number ≥ 0, got -1"),
        ({"checkpoint_every": 0}, "checkpoint_every: must be a whole number above 0, got 0"),
        ({"trainer": {"max_epochs": 3}}, "trainer.max_epochs: cannot be set here; set `fit.steps`"),
        ({"trainer": {"precison": 16}}, "no such argument. Did you mean `precision`"),
        ({"trainer": {"strategy": "ddp_spawn"}}, "strategy=ddp_spawn: .*; use ddp"),
    ],
)
def test_mistakes_are_refused_before_anything_is_built(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        run(tmp_path, **arguments)

    assert not (tmp_path / "checkpoints").exists()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(UserError, match="file: is not a folder; choose another path"):
        run(tmp_path / "file")


def test_a_loader_that_cannot_continue_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToyData, "train_dataloader", ToyData.val_dataloader)

    with pytest.warns(UserWarning, match="ToyValLoader has no state_dict, load_state_dict: .* use the indexed reader"):
        run(tmp_path, steps=2)


def test_two_generations_are_kept(tmp_path: Path) -> None:
    run(tmp_path)

    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == [f"step-000000{step}.ckpt{end}" for step in (20, 23) for end in ("", ".sha256")]


def stop_at(step: int) -> Callback:
    """A callback that ends the training early, as Lightning's EarlyStopping does."""
    callback = Callback()

    def stop(trainer: Trainer, *_: object) -> None:
        trainer.should_stop = trainer.global_step == step

    callback.on_train_batch_end = stop  # type: ignore[method-assign]
    return callback


class NoBatches:
    """A loader without a batch."""

    def __iter__(self) -> Iterator[ToyBatch]:
        return iter(())


class Sized(NoBatches):
    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"extra": [stop_at(7)]}, "ended at step 7 of 23, because `trainer.max_time` or a callback stopped it"),
        ({"trainer": {"max_time": timedelta(milliseconds=1)}}, "ended at step 1 of 23, because `trainer.max_time`"),
        ({"trainer": {"limit_train_batches": 0}}, "trainer.limit_train_batches=0: leaves nothing to train on"),
    ],
)
def test_a_run_that_ends_early_is_not_finished_and_continues(
    arguments: dict[str, Any], message: str, undisturbed: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        run(tmp_path, **arguments)
    assert not (tmp_path / "weights.safetensors").exists() and not (tmp_path / "cost.json").exists()

    run(tmp_path)
    assert (tmp_path / "weights.safetensors").read_bytes() == (undisturbed / "weights.safetensors").read_bytes()


def test_the_time_of_an_attempt_does_not_end_the_next(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        with pytest.raises(UserError, match=f"ended at step {step} of 23"):
            run(tmp_path, trainer={"max_time": timedelta(milliseconds=1)})


@pytest.mark.parametrize("loader", [NoBatches, Sized])
def test_data_without_a_batch_end_the_run(loader: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToyData, "train_dataloader", lambda data: loader())

    with pytest.raises(UserError, match="ended at step 0 of 23, because the training data yield no batch"):
        run(tmp_path)


def test_a_dry_run_of_the_parts_keeps_nothing(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="trainer.fast_dev_run: the parts work together; nothing is kept"):
        run(tmp_path / "run", trainer={"fast_dev_run": True}, trace=False)

    assert not (tmp_path / "run").exists()
