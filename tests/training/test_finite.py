"""A loss that is not a number never reaches the weights, nor a checkpoint."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from toy_training import At, LastRankFails, ToyModule, run

from mav_lightning.common.errors import UserError
from mav_lightning.training.checkpoint_io import checkpoints
from mav_lightning.training.finite import FiniteGuard, StepRecorder


def last_checkpoint(out: Path) -> dict[str, Any]:
    return torch.load(checkpoints(out / "checkpoints")[0], weights_only=True)


def test_a_bad_step_changes_neither_weights_nor_moments(tmp_path: Path) -> None:
    run(tmp_path / "good", steps=5)
    with pytest.warns(UserWarning, match="the optimizer step is skipped: step 5: 5-0, 5-1, 5-2, 5-3"):
        run(tmp_path / "bad", steps=6, module=ToyModule(nan_steps=(5,)))

    good, bad = last_checkpoint(tmp_path / "good"), last_checkpoint(tmp_path / "bad")
    for name, value in good["state_dict"].items():
        assert torch.equal(value, bad["state_dict"][name])
    for number, moments in good["optimizer_states"][0]["state"].items():
        for name, value in moments.items():
            assert torch.equal(value, bad["optimizer_states"][0]["state"][number][name])
    assert bad["callbacks"]["FiniteGuard"]["skipped"] == 1


def test_a_bad_step_is_recorded_with_what_reproduces_it(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="the optimizer step is skipped"):
        run(tmp_path, steps=6, module=ToyModule(nan_steps=(2, 3)), trainer={"accumulate_grad_batches": 2})

    (record,) = json.loads((tmp_path / "nonfinite.json").read_text())
    (rank,) = record["ranks"]
    assert (record["step"], record["gradient_norm"], rank["losses"]) == (1, "nan", ["nan", "nan"])
    assert rank["samples"] == [["2-0", "2-1", "2-2", "2-3"], ["3-0", "3-1", "3-2", "3-3"]]
    assert last_checkpoint(tmp_path)["callbacks"]["FiniteGuard"]["records"] == [record]


def test_losses_are_recorded_without_the_scale_of_half_precision() -> None:
    recorder, scaler = StepRecorder(), torch.amp.GradScaler("cpu", init_scale=8.0)
    trainer: Any = SimpleNamespace(precision_plugin=SimpleNamespace(scaler=scaler))
    recorder.on_before_backward(trainer, ToyModule(), scaler.scale(torch.tensor(3.0)))
    assert recorder.taken()[1] == [torch.tensor(3.0)]


def test_a_loss_that_one_rank_alone_has_stops_the_step_of_all(launch: Any, tmp_path: Path) -> None:
    assert launch(tmp_path / "good", ranks=2, steps=5, build=LastRankFails) == 0
    assert launch(tmp_path / "bad", ranks=2, steps=6, build=partial(LastRankFails, (5,))) == 0

    good = last_checkpoint(tmp_path / "good")
    for file in ("rank-0.pt", "rank-1.pt"):
        weights = torch.load(tmp_path / "bad" / file, weights_only=True)
        assert all(torch.equal(weights[name], value) for name, value in good["state_dict"].items())
    (record,) = json.loads((tmp_path / "bad/nonfinite.json").read_text())
    first, last = record["ranks"]
    assert record["step"] == 5 and last["losses"] == ["nan"] and first["losses"] != ["nan"]
    assert last["samples"] == [["11-0", "11-1", "11-2", "11-3"]]


def test_too_many_bad_steps_of_one_rank_end_all_ranks_and_keep_finite_checkpoints(launch: Any, tmp_path: Path) -> None:
    assert launch(tmp_path, ranks=2, build=partial(LastRankFails, tuple(range(4, 23)))) == 1

    (*_, record) = json.loads((tmp_path / "nonfinite.json").read_text())
    assert record["step"] == 14 and not list(tmp_path.glob("rank-*.pt"))
    assert all(weight.isfinite().all() for weight in last_checkpoint(tmp_path)["state_dict"].values())


def test_a_good_run_leaves_no_record(tmp_path: Path) -> None:
    run(tmp_path, steps=2)
    assert not (tmp_path / "nonfinite.json").exists()


def test_too_many_bad_steps_in_a_row_stop_the_run_and_name_the_samples(tmp_path: Path) -> None:
    module = ToyModule(nan_steps=(2, *range(4, 23)))

    with (
        pytest.warns(UserWarning, match="not finite"),
        pytest.raises(UserError, match=r"not finite in 11 steps in a row.*gradient_clip_val=1\.0") as caught,
    ):
        run(tmp_path, module=module)

    assert "step 4: 4-0, 4-1, 4-2, 4-3\n" in str(caught.value) and "step 14: 14-0" in str(caught.value)
    assert all(weight.isfinite().all() for weight in module.parameters())
    assert all(weight.isfinite().all() for weight in last_checkpoint(tmp_path)["state_dict"].values())


def test_a_restart_gives_no_new_patience() -> None:
    guard, continued = FiniteGuard(), FiniteGuard()
    guard.skipped, guard._in_a_row = 3, ["step 1: a", "step 2: b"]

    continued.load_state_dict(guard.state_dict())

    assert (continued.skipped, continued._in_a_row) == (3, ["step 1: a", "step 2: b"])


def test_weights_that_are_not_finite_push_out_no_good_checkpoint(tmp_path: Path) -> None:
    module = ToyModule()

    def spoil() -> None:
        module.net[0].weight.data[0, 0] = float("inf")

    with pytest.raises(UserError, match=r"`net\.0\.weight` is not finite at step 12, so nothing is saved; .* are good"):
        run(tmp_path, module=module, extra=[At("on_train_batch_end", 12, spoil)])

    assert [path.name for path in checkpoints(tmp_path / "checkpoints")] == ["step-00000008.ckpt", "step-00000004.ckpt"]
