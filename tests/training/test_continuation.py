"""A killed training, started again, ends with the bits of one that was left alone."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mav_lightning.training.checkpoint_io import checkpoint_step, checkpoints

STEPS = 23  # as in toy_training.run: four epochs of five batches and a bit; a checkpoint every four


def final_state(out: Path) -> dict[str, Any]:
    """Everything in the last checkpoint but the time it took and how often validations were begun."""
    state = torch.load(checkpoints(out / "checkpoints")[0], weights_only=True)
    del state["callbacks"]["Cost"], state["loops"]["validate_loop"]
    for name in [name for name in state["loops"]["fit_loop"] if "val_loop" in name]:
        del state["loops"]["fit_loop"][name]
    return state


def assert_same(one: Any, other: Any, where: str = "checkpoint") -> None:
    """Equality to the bit, all the way down."""
    assert type(one) is type(other), where
    if isinstance(one, Tensor):
        assert one.dtype == other.dtype and torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for i, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}[{i}]")
    else:
        assert one == other, where


def assert_same_run(out: Path, undisturbed: Path) -> None:
    """Weights, moments, EMA, schedule, loader and counters are equal, and so is every batch that counted."""
    assert_same(final_state(out), final_state(undisturbed))
    assert (out / "weights.safetensors").read_bytes() == (undisturbed / "weights.safetensors").read_bytes()
    assert last_of_each_batch(out) == last_of_each_batch(undisturbed)


def last_of_each_batch(out: Path, rank: int = 0) -> dict[int, list[Any]]:
    """Number → its sample, learning rate and loss. What a kill threw away is trained again, last counts."""
    return {line[0]: line for line in map(json.loads, (out / f"trace-{rank}.jsonl").read_text().splitlines())}


@pytest.mark.parametrize(
    ("fault", "steps"),
    [
        ("kill-in-step", [2]),  # before the first checkpoint
        ("kill-after-step", [4]),  # before a checkpoint is written
        ("kill-after-step", [5, 10, 20]),  # at the end of an epoch
        ("kill-in-step", [8, 9, 21]),  # right after a checkpoint, and in the last epoch
        ("kill-in-validation", [8]),
        ("kill-after-step", [STEPS]),  # before the last checkpoint
        ("save-half", [8]),
        ("save-written", [12]),
        ("save-sidecar", [20]),
    ],
)
def test_killed_runs_end_with_the_bits_of_an_undisturbed_one(
    fault: str, steps: list[int], launch: Any, undisturbed: Path, tmp_path: Path
) -> None:
    for step in steps:
        assert launch(tmp_path, fault=fault, at=step) == -9

    assert launch(tmp_path) == 0

    assert_same_run(tmp_path, undisturbed)
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize(
    ("fault", "code", "step"),
    [
        *(("term-in-step", 143, 9), ("term-in-validation", 143, 8), ("interrupt-in-step", 130, 9)),
        *(("hup-in-step", 129, 9), ("usr1-in-step", 138, 9), ("usr2-in-step", 140, 9)),
    ],
)
def test_a_signal_saves_leaves_with_its_code_and_continues(
    fault: str, code: int, step: int, launch: Any, undisturbed: Path, tmp_path: Path
) -> None:
    assert launch(tmp_path, fault=fault, at=8) == code

    # the step it was in, or whose validation it was in
    assert checkpoint_step(checkpoints(tmp_path / "checkpoints")[0]) == step
    assert launch(tmp_path) == 0
    assert_same_run(tmp_path, undisturbed)


def test_many_accidents_in_one_run_leave_no_trace(launch: Any, undisturbed: Path, tmp_path: Path) -> None:
    assert launch(tmp_path, fault="term-in-step", at=4) == 143
    assert launch(tmp_path, fault="fail-in-validation", at=8) == 1
    assert launch(tmp_path, fault="kill-after-step", at=10) == -9
    assert launch(tmp_path, fault="disk-full", at=14) == 1
    assert launch(tmp_path, fault="save-half", at=16) == -9

    assert launch(tmp_path) == 0

    assert_same_run(tmp_path, undisturbed)


@pytest.mark.parametrize("damage", ["flip", "cut", "no checksum"])
def test_a_spoilt_checkpoint_is_set_aside_for_the_one_before(
    damage: str, launch: Any, undisturbed: Path, tmp_path: Path
) -> None:
    assert launch(tmp_path, fault="kill-after-step", at=15) == -9
    newest, before = checkpoints(tmp_path / "checkpoints")[:2]  # a third, if the kill came before its removal
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "no checksum":
        newest.with_name(f"{newest.name}.sha256").unlink()
    else:
        newest.write_bytes(content if damage == "flip" else content[:-1])

    # the kill at that step is met only by a run that continues there
    assert launch(tmp_path, fault="kill-in-step", at=checkpoint_step(before)) == -9
    assert newest.with_name(f"{newest.name}.corrupt").exists()
    assert launch(tmp_path) == 0

    assert_same_run(tmp_path, undisturbed)


@pytest.mark.parametrize(
    "trainer", [{"precision": "bf16-mixed"}, {"accumulate_grad_batches": 3, "gradient_clip_val": 0.1}]
)
def test_ordinary_trainer_options_continue_as_exactly(trainer: dict[str, Any], launch: Any, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert launch(whole, trainer=trainer, steps=9) == 0

    assert launch(cut, trainer=trainer, steps=9, fault="kill-in-step", at=5) == -9
    assert launch(cut, trainer=trainer, steps=9, fault="term-in-step", at=6) == 143
    assert launch(cut, trainer=trainer, steps=9) == 0

    assert_same_run(cut, whole)


def test_two_processes_continue_as_exactly(launch: Any, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert launch(whole, ranks=2, steps=13) == 0

    assert launch(cut, ranks=2, steps=13, fault="term-in-step", at=6, rank=1) == 143  # rank 1 is told, all ranks leave
    assert launch(cut, ranks=2, steps=13, fault="kill-in-step", at=9, rank=1) == 1  # rank 0 does not wait for the dead
    assert launch(cut, ranks=2, steps=13) == 0

    assert_same_run(cut, whole)
    assert last_of_each_batch(cut, rank=1) == last_of_each_batch(whole, rank=1)


@pytest.mark.slow
def test_killed_at_every_step_in_turn(launch: Any, undisturbed: Path, tmp_path: Path) -> None:
    for step in range(1, STEPS + 1):
        for fault in ("kill-in-step", "kill-after-step"):
            launch(tmp_path / f"{fault}{step}", fault=fault, at=step)
            assert launch(tmp_path / f"{fault}{step}") == 0
            assert_same_run(tmp_path / f"{fault}{step}", undisturbed)


@pytest.mark.slow
def test_killed_again_and_again_at_random(launch: Any, undisturbed: Path, tmp_path: Path) -> None:
    chance = random.Random(0)
    for attempt in range(8):
        out = tmp_path / str(attempt)
        for step in sorted(chance.sample(range(1, STEPS + 1), 5)):
            launch(out, fault=chance.choice(["kill-in-step", "kill-after-step", "term-in-step"]), at=step)
        assert launch(out) == 0
        assert_same_run(out, undisturbed)


@pytest.mark.slow
def test_the_ddp_launcher_hands_143_on(tmp_path: Path) -> None:
    arguments = {"trainer": {"devices": 2, "strategy": "ddp"}, "fault": "term-in-step", "at": 6, "rank": 1}
    root = Path(__file__).parents[2]
    script = [sys.executable, str(root / "tests/training/toy_training.py"), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(root)}

    assert subprocess.run([*script, json.dumps(arguments)], env=environment).returncode == 143
    assert subprocess.run([*script, json.dumps({"trainer": arguments["trainer"]})], env=environment).returncode == 0
