"""The whole run: it does what a loop written by hand does, and says clearly what it will not do."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from toy_training import ToyData, ToyLoader, ToyModule, run

from mav_lightning.common.errors import UserError
from mav_lightning.training.ema import EMA
from mav_lightning.training.rng import TRAIN, _seed_everything


def train_by_hand(steps: int, ranks: int) -> dict[str, torch.Tensor]:
    """EMA weights after averaging the gradients of `ranks` batches a step: what DDP promises."""
    module = ToyModule()
    settings: Any = module.configure_optimizers()
    optimizer, schedule = settings["optimizer"], settings["lr_scheduler"]["scheduler"]
    loaders = [iter(loader) for loader in [ToyLoader(rank, ranks) for rank in range(ranks)]]
    ema, no_trainer = EMA(0.9), None
    ema.on_fit_start(no_trainer, module)  # type: ignore[arg-type]
    for step in range(steps):
        optimizer.zero_grad()
        for rank, loader in enumerate(loaders):
            _seed_everything(0, rank, TRAIN, step)
            (module._loss(next(loader)) / ranks).backward()
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
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    run(tmp_path, steps=5)

    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


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
    ("change", "message"),
    [
        ({"seed": 1}, "run with seed=0, not 1. Use another `out`"),
        ({"steps": 9}, "run with steps=5, not 9"),
        ({"ema_decay": None}, "run with ema_decay=0.9, not None"),
        ({"trainer": {"precision": "bf16-mixed"}}, "run with precision=32-true, not bf16-mixed"),
        ({"module": ToyModule(width=9)}, r"another network: `net.0.bias` has shape \(8,\) there and \(9,\) here"),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_another_run_in_the_same_folder_is_refused(
    change: dict[str, Any], message: str, finished: bool, tmp_path: Path
) -> None:
    run(tmp_path, steps=5)
    if not finished:
        (tmp_path / "cost.json").unlink()

    with pytest.raises(UserError, match=message):
        run(tmp_path, **{"steps": 5, **change})


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

    with pytest.raises(UserError, match="`out` must be a folder, and this is a file"):
        run(tmp_path / "file")


def test_a_loader_that_cannot_continue_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToyData, "train_dataloader", ToyData.val_dataloader)

    with pytest.warns(UserWarning, match="ToyValLoader has no state_dict, load_state_dict: .* use the indexed reader"):
        run(tmp_path, steps=2)


def test_two_generations_are_kept(tmp_path: Path) -> None:
    run(tmp_path)

    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == [f"step-000000{step}.ckpt{end}" for step in (20, 23) for end in ("", ".sha256")]
