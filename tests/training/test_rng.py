"""Noise depends on seed, rank and batch, and on nothing else."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_training import run

from mav_lightning.training.rng import TRAIN, VALIDATION, _seed_everything


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_every_generator_repeats_for_a_key_and_differs_for_another() -> None:
    keys = [(0, 0, TRAIN, 0), (1, 0, TRAIN, 0), (0, 1, TRAIN, 0), (0, 0, VALIDATION, 0), (0, 0, TRAIN, 1)]
    drawn = []
    for key in keys:
        _seed_everything(*key)
        drawn.append(draw())

    _seed_everything(*keys[0])
    assert draw() == drawn[0]
    for values in zip(*drawn, strict=True):
        assert len(set(values)) == len(keys)


def test_noise_is_normal_across_batches_as_within_one() -> None:
    first = []
    for batch in range(4000):
        _seed_everything(0, 0, TRAIN, batch)
        first.append(torch.randn(2))
    noise = torch.stack(first)

    assert noise.mean().abs() < 0.05 and (noise.std() - 1).abs() < 0.05
    assert torch.corrcoef(noise.T)[0, 1].abs() < 0.05
    assert torch.corrcoef(torch.stack([noise[1:, 0], noise[:-1, 0]]))[0, 1].abs() < 0.05


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
