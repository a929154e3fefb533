"""A step that a run has recorded is repeated with the same samples and the same loss, and the run is not touched."""

import json
from pathlib import Path

import pytest
from lightning.pytorch import Callback
from torch import Tensor
from toy_training import ToyBatch, ToyModule, run

from mav_lightning.common.errors import UserError
from mav_lightning.training import spikes
from mav_lightning.training.step_replay import ReplayedStep, replay_step


class Overflows(ToyModule):
    """A layer divides by zero on the samples of one batch."""

    def training_step(self, batch: ToyBatch, batch_idx: int) -> Tensor:
        if batch.key[0] == "9-0":
            batch.x = batch.x / 0.0
        return super().training_step(batch, batch_idx)


def replayed(out: Path, step: int, module: type[ToyModule] = Overflows, **settings: object) -> ReplayedStep:
    def train(folder: Path, callback: Callback) -> None:
        run(folder, module=module(), extra=[callback], trace=False, **{"steps": 12, **settings})

    return replay_step(train, out, step)


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.mark.filterwarnings("ignore:Loss or gradient is not finite")
def test_a_recorded_step_is_repeated_to_the_same_loss_and_names_the_layer(tmp_path: Path) -> None:
    run(tmp_path, module=Overflows(), steps=12)
    before = contents(tmp_path)
    (record,) = json.loads((tmp_path / "nonfinite.json").read_text())

    again = replayed(tmp_path, record["step"])

    assert (again.step, again.begun_at) == (9, 8)
    assert again.samples == record["ranks"][0]["samples"] == [["9-0", "9-1", "9-2", "9-3"]]
    assert again.losses == again.recorded == ["nan"]
    assert again.layer == "net.0"
    assert contents(tmp_path) == before


class Spike(ToyModule):
    """The loss of one batch is far above that of the others."""

    def training_step(self, batch: ToyBatch, batch_idx: int) -> Tensor:
        return super().training_step(batch, batch_idx) * (1000.0 if batch.key[0] == "9-0" else 1.0)


def test_a_recorded_spike_is_repeated_to_the_same_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spikes, "FEWEST", 3)
    run(tmp_path, module=Spike(), steps=10)
    (record,) = json.loads((tmp_path / "spikes.json").read_text())

    again = replayed(tmp_path, record["step"], Spike, steps=10)

    assert again.step == 9 and again.layer is None
    assert again.losses == again.recorded == record["ranks"][0]["losses"]


@pytest.mark.parametrize("content", ["{", "[1]", '[{"step": 9, "ranks": [{"loss": 1.0}]}]'])
def test_a_damaged_record_is_named_before_anything_is_repeated(content: str, tmp_path: Path) -> None:
    (tmp_path / "spikes.json").write_text(content)
    with pytest.raises(UserError, match=r"spikes.json: is damaged, or of an earlier version; remove it."):
        replay_step(lambda folder, callback: pytest.fail("trained"), tmp_path, 9)


@pytest.mark.filterwarnings("ignore:Loss or gradient is not finite")
@pytest.mark.parametrize(("step", "begun_at"), [(2, 0), (8, 8), (11, 8)])
def test_any_step_has_the_bits_of_the_run(tmp_path: Path, step: int, begun_at: int) -> None:
    run(tmp_path, module=Overflows(), steps=12)
    trace = [json.loads(line) for line in (tmp_path / "trace-0.jsonl").read_text().splitlines()]

    again = replayed(tmp_path, step)

    assert (again.begun_at, again.layer, again.recorded) == (begun_at, None, None)
    assert again.losses == [repr(trace[step][-1])]


def test_another_run_and_steps_after_the_last_are_errors(tmp_path: Path) -> None:
    run(tmp_path, module=ToyModule(), steps=12)

    with pytest.raises(UserError, match=r"belongs to another run: `seed` is 0 there and 1 here"):
        replayed(tmp_path, 9, ToyModule, seed=1)
    with pytest.raises(UserError, match="the training ends before step 12; nonfinite.json and spikes.json name steps"):
        replayed(tmp_path, 12, ToyModule)


def test_a_step_that_would_end_the_training_is_repeated(tmp_path: Path) -> None:
    settings = {"nan_steps": tuple(range(2, 23))}

    class Never(ToyModule):
        def __init__(self) -> None:
            super().__init__(**settings)

    with pytest.warns(UserWarning, match="not finite"), pytest.raises(UserError, match="11 steps in a row"):
        run(tmp_path, module=Never(), steps=23)
    with pytest.warns(UserWarning, match="not finite"):
        assert replayed(tmp_path, 12, Never, steps=23).losses == ["nan"]
