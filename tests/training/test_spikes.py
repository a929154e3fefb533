"""A loss far above the usual one is recorded with its samples, and changes nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_training import ToyBatch, ToyModule, run

from mav_lightning.training import spikes
from mav_lightning.training.checkpoint_io import checkpoints


class Spiky(ToyModule):
    """Adds to the loss of some batches, counted over the run, a constant: gradients stay as they are."""

    def __init__(self, high: dict[int, float]) -> None:
        super().__init__()
        self.high = high

    def training_step(self, batch: ToyBatch, batch_idx: int) -> torch.Tensor:
        return super().training_step(batch, batch_idx) + self.high.get(self.trainer.fit_loop.total_batch_idx, 0.0)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spikes, "FEWEST", 3)


def recorded(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "spikes.json").read_text())


def test_a_spike_is_recorded_with_its_samples_and_changes_no_weight(tmp_path: Path) -> None:
    run(tmp_path / "plain", steps=8)
    run(tmp_path / "spiky", steps=8, module=Spiky({5: 100.0}))

    (spike,) = recorded(tmp_path / "spiky")
    (rank,) = spike["ranks"]
    assert spike["step"] == 5 and rank["samples"] == [["5-0", "5-1", "5-2", "5-3"]]
    assert [repr(spike["loss"])] == rank["losses"] and spike["loss"] > 100 > 5 * spike["median"]
    plain, spiky = (
        torch.load(checkpoints(tmp_path / name / "checkpoints")[0], weights_only=True) for name in ("plain", "spiky")
    )
    assert all(torch.equal(value, spiky["state_dict"][name]) for name, value in plain["state_dict"].items())
    assert spiky["callbacks"]["SpikeRecord"]["records"] == [spike]
    assert not (tmp_path / "plain" / "spikes.json").exists()


def test_the_loss_of_a_step_is_the_mean_over_its_accumulated_batches(tmp_path: Path) -> None:
    run(tmp_path, steps=6, module=Spiky({8: 100.0}), trainer={"accumulate_grad_batches": 2})

    (spike,) = recorded(tmp_path)
    assert spike["step"] == 4 and 50 < spike["loss"] < 60
    assert [batch[0] for batch in spike["ranks"][0]["samples"]] == ["7-0", "8-0"], "a pass has five batches"


def test_a_spike_moves_the_median_by_one_step_only_and_the_record_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spikes, "RECORDS", 2)
    run(tmp_path, steps=12, module=Spiky(dict.fromkeys((5, 7, 9), 100.0)))

    assert [spike["step"] for spike in recorded(tmp_path)] == [7, 9]


@pytest.mark.filterwarnings("ignore:Loss or gradient is not finite")
def test_a_loss_that_is_not_finite_is_no_spike(tmp_path: Path) -> None:
    run(tmp_path, steps=8, module=ToyModule(nan_steps=(5,)))

    assert not (tmp_path / "spikes.json").exists()
