"""Noise depends on seed, step and sample, and on nothing else."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.overrides import _get_current_function_mode_stack
from toy_training import ToyData, run

from mav_lightning.common.log_names import board_run
from mav_lightning.training.rng import TRAIN, VALIDATION, sample_numbers, seed_generators
from mav_lightning.training.sample_random import SampleRandom


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_every_generator_repeats_for_a_key_and_differs_for_another() -> None:
    keys = [(0, TRAIN, 0), (1, TRAIN, 0), (0, VALIDATION, 0), (0, TRAIN, 1)]
    drawn = []
    for key in keys:
        seed_generators(*key, process=(0,))
        drawn.append(draw())

    seed_generators(*keys[0], process=(0,))
    assert draw() == drawn[0]
    for values in zip(*drawn, strict=True):
        assert len(set(values)) == len(keys)


def test_processes_share_the_draws_of_torch_alone() -> None:
    drawn = []
    for rank in (0, 1):
        seed_generators(0, TRAIN, 0, process=(rank,))
        drawn.append(draw())
    assert [one == other for one, other in zip(*drawn, strict=True)] == [False, False, True]


def test_samples_are_numbered_over_all_processes() -> None:
    parts = [sample_numbers(2, 4, rank, 3, interleaved=False).tolist() for rank in range(3)]
    assert sum(parts, []) == list(range(12, 18))
    dealt = [sample_numbers(2, 4, rank, 3, interleaved=True).tolist() for rank in range(3)]
    assert sorted(sum(dealt, [])) == list(range(12, 18)) and dealt[1] == [13, 16]


def curves(out: Path) -> dict[str, list[float]]:
    events = EventAccumulator(str(board_run(out)))
    events.Reload()
    return {
        tag: [event.value for event in events.Scalars(tag)] for tag in ("loss/train", "optimizer/grad_norm", "loss/val")
    }


@pytest.fixture(scope="module")
def alone(launch: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process that accumulates the gradients of four batches."""
    out = tmp_path_factory.mktemp("alone")
    options = {"log_every_n_steps": 1, "accumulate_grad_batches": 4}
    assert launch(out, steps=5, data=ToyData(batches=20), logger="tensorboard", trainer=options) == 0
    return out


@pytest.mark.parametrize("ranks", [2, 4])
def test_losses_and_weights_do_not_depend_on_the_number_of_processes(
    ranks: int, launch: Any, alone: Path, tmp_path: Path
) -> None:
    options = {"log_every_n_steps": 1, "accumulate_grad_batches": 4 // ranks}
    data = ToyData(batches=20 // ranks)
    assert launch(tmp_path, ranks=ranks, steps=5, data=data, logger="tensorboard", trainer=options) == 0

    one, several = curves(alone), curves(tmp_path)
    assert {tag: len(values) for tag, values in several.items()} == {
        "loss/train": 5,
        "optimizer/grad_norm": 5,
        "loss/val": 2,
    }
    for tag in ("optimizer/grad_norm", "loss/val"):
        assert several[tag] == pytest.approx(one[tag], rel=1e-5)
    # a loss is logged before it is divided by the number of accumulated batches
    assert several["loss/train"] == pytest.approx(one["loss/train"], rel=1e-5)
    weights = [load_file(out / "weights.safetensors") for out in (alone, tmp_path)]
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("change", [{"trainer": {"limit_val_batches": 0}}, {"checkpoint_every": 3}])
def test_neither_validation_nor_checkpoints_shift_training(change: dict[str, object], tmp_path: Path) -> None:
    run(tmp_path / "one", steps=9)
    run(tmp_path / "other", steps=9, **change)  # type: ignore[arg-type]

    one, other = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("one", "other"))
    assert one == other


def test_the_seed_changes_training(tmp_path: Path) -> None:
    run(tmp_path / "one", steps=2, seed=0)
    run(tmp_path / "other", steps=2, seed=1)

    one, other = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("one", "other"))
    assert one != other


class Draws(Callback):
    """Records whether each part of a step draws by sample."""

    def __init__(self) -> None:
        self.by_sample: dict[str, bool] = {}

    def _note(self, name: str) -> None:
        modes = [type(mode) for mode in _get_current_function_mode_stack()]
        self.by_sample[name] = SampleRandom in modes

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Any) -> None:
        self._note("backward")

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        self._note("optimizer")

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self._note("end")


def test_an_optimizer_draws_as_usual(tmp_path: Path) -> None:
    draws = Draws()
    run(tmp_path, steps=1, extra=[draws])
    assert draws.by_sample == {"backward": True, "optimizer": False, "end": False}
