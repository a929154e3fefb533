"""A run is what determines its result: resuming and asking again compare all of it and name what differs."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR
from toy_training import ToyData, ToyModule, run

from mav_lightning.common.errors import UserError
from mav_lightning.modules.optim import WarmupCosine
from mav_lightning.training import fit as fit_module
from mav_lightning.training.checkpoint_io import checkpoints

DIFFERENT = {
    "seed": ({"seed": 1}, "`seed` is 0 there and 1 here. Use another `out`, or restore the old value"),
    "steps": ({"steps": 9}, r"`fit.steps` is 5 there and 9 here. .* continue the run to more steps with `extend`"),
    "ema": ({"ema_decay": None}, "`fit.ema_decay` is 0.9 there and None here"),
    "precision": ({"trainer": {"precision": "bf16-mixed"}}, "`trainer.precision` is '32-true' there and 'bf16-mixed'"),
    "clipping": ({"trainer": {"gradient_clip_val": 1.0}}, "`trainer.gradient_clip_val` is None there and 1.0 here"),
    "accumulation": ({"trainer": {"accumulate_grad_batches": 2}}, "`trainer.accumulate_grad_batches` is 1 there and 2"),
    "fewer batches": (
        {"trainer": {"limit_val_batches": 1}},
        "`trainer.limit_val_batches` is nothing there and 1 here",
    ),
    "layer": ({"module": {"width": 9}}, r"`module.layers.net.0` is 'Linear\(.*=8\)' there and 'Linear\(.*=9\)' here"),
    "learning rate": ({"module": {"lr": 0.02}}, "`module.lr` is 0.01 there and 0.02 here"),
    "dropout": ({"module": {"dropout": 0.2}}, r"`module.layers.net.2` is 'Dropout\(.*0.3\)' there and .*0.2\)' here"),
    "data": ({"data": {"scale": 2.0}}, "`data.scale` is 1.0 there and 2.0 here"),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished")
    run(out, steps=5)
    return out


@pytest.fixture(params=["finished", "interrupted"])
def folder(request: pytest.FixtureRequest, finished: Path, tmp_path: Path) -> Path:
    """A copy of the run, finished or as it stood before its results were written."""
    shutil.copytree(finished, tmp_path / "run")
    if request.param == "interrupted":
        record = json.loads((tmp_path / "run" / "run.json").read_text())
        (tmp_path / "run" / "run.json").write_text(json.dumps(record | {"state": "unfinished", "artifacts": {}}))
        for name in ("weights.safetensors", "cost.json"):
            (tmp_path / "run" / name).unlink()
    return tmp_path / "run"


def content(folder: Path) -> dict[Path, bytes]:
    """Every file but the lease, which names the process that looked last."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lease.json"}


def arguments(change: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Callable[..., Any]] = {"module": ToyModule, "data": ToyData}
    return {"steps": 5} | {key: made[key](**value) if key in made else value for key, value in change.items()}


@pytest.mark.parametrize("difference", DIFFERENT)
def test_another_run_in_the_same_folder_is_refused_by_name(difference: str, folder: Path) -> None:
    change, message = DIFFERENT[difference]
    before = content(folder)

    with pytest.raises(UserError, match=message):
        run(folder, **arguments(change))

    assert content(folder) == before


@pytest.mark.parametrize(
    "change",
    [
        {"checkpoint_every": 2},
        {"trainer": {"val_check_interval": 3, "log_every_n_steps": 1, "num_sanity_val_steps": 0}},
        {"logger": "csv"},
        {"tags": {"variant": "a"}},
    ],
    ids=str,
)
def test_what_cannot_change_the_result_may_differ(change: dict[str, Any], folder: Path, finished: Path) -> None:
    run(folder, **arguments(change))

    assert (folder / "weights.safetensors").read_bytes() == (finished / "weights.safetensors").read_bytes()


def test_another_number_of_threads_or_version_is_refused_and_may_be_accepted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = fit_module.machine_identity("cpu")
    monkeypatch.setattr(fit_module, "machine_identity", lambda device: threads | {"threads": 7})
    with pytest.raises(UserError, match="`machine.threads` is 1 there and 7 here. Only the same machine computes"):
        run(folder, steps=5)

    run(folder, steps=5, any_machine=True)


def test_a_run_continued_elsewhere_records_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, steps=5)
    here = fit_module.machine_identity("cpu")
    monkeypatch.setattr(fit_module, "machine_identity", lambda device: here | {"processor": "other"})

    run(tmp_path, steps=9, extend=True, any_machine=True)

    record = json.loads((tmp_path / "run.json").read_text())
    assert record["other_machines"] == [here] and record["run"]["machine"]["processor"] == "other"


def test_results_of_another_version_of_the_code_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_module, "RESULTS", 99)
    with pytest.raises(UserError, match="`results` is .* there and 99 here. Results of the two versions of the code"):
        run(folder, steps=5)


def test_before_the_first_checkpoint_a_folder_may_become_another_run(launch: Any, tmp_path: Path) -> None:
    assert launch(tmp_path, fault="kill-in-step", at=2) == -9

    run(tmp_path, steps=5, seed=3)

    assert json.loads((tmp_path / "run.json").read_text())["run"]["seed"] == 3


def test_the_record_says_what_the_run_is_and_what_it_left(finished: Path) -> None:
    record = json.loads((finished / "run.json").read_text())
    assert (record["state"], record["steps"], list(record["artifacts"])) == (
        "finished",
        5,
        ["weights.safetensors", "cost.json"],
    )
    assert record["run"]["module"]["weights"]["net.0.bias"] == "float32 (8,)"
    assert record["run"]["optimizers"][0]["groups"][0]["betas"] == [0.9, 0.999]
    saved = torch.load(checkpoints(finished / "checkpoints")[0], weights_only=True)
    assert saved["callbacks"]["Checkpointer"]["run"] == record["run"]


@pytest.mark.parametrize("damage", ["cut", "edited"])
def test_a_damaged_record_is_replaced_by_that_of_the_checkpoint(damage: str, finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    file.write_text(file.read_text()[:-30] if damage == "cut" else file.read_text().replace('"seed": 0', '"seed": 1'))

    with pytest.warns(UserWarning, match="run.json: .* The record of the newest checkpoint is used"):
        run(tmp_path / "run", steps=5)
    assert json.loads(file.read_text())["run"] == json.loads((finished / "run.json").read_text())["run"]

    file.write_text("{")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(UserError, match="run.json: not valid JSON"):
        run(tmp_path / "run", steps=5)


def test_results_without_a_record_are_not_taken_for_this_run(finished: Path, tmp_path: Path) -> None:
    shutil.copy(finished / "weights.safetensors", tmp_path)
    with pytest.raises(UserError, match="holds a trained network and no record of its training"):
        run(tmp_path, steps=5)


def test_damaged_results_are_written_again_from_the_last_checkpoint(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    file = tmp_path / "run" / "weights.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)

    with pytest.warns(UserWarning, match="weights.safetensors is missing or damaged: it is written again"):
        run(tmp_path / "run", steps=5)
    assert file.read_bytes() == (finished / "weights.safetensors").read_bytes()

    file.unlink()
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(UserError, match="the last checkpoint, to write it from, is gone; restore the file"):
        run(tmp_path / "run", steps=5)


def test_a_finished_run_is_extended_to_the_bits_of_the_longer_one(folder: Path, tmp_path: Path) -> None:
    run(tmp_path / "longer", steps=9)

    run(folder, steps=9, extend=True)

    assert (folder / "weights.safetensors").read_bytes() == (tmp_path / "longer" / "weights.safetensors").read_bytes()
    record = json.loads((folder / "run.json").read_text())
    assert (record["steps"], record["extended_from"], record["state"]) == (9, [5], "finished")
    run(folder, steps=9, extend=True)  # asked for again
    with pytest.raises(UserError, match="`fit.steps` is 9 there and 5 here"):
        run(folder, steps=5)


def test_an_extension_that_is_killed_is_continued_by_the_same_call(launch: Any, finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    assert launch(tmp_path / "run", steps=12, extend=True, fault="kill-in-step", at=6) == -9
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "unfinished"

    run(tmp_path / "run", steps=12, extend=True)

    run(tmp_path / "longer", steps=12)
    results = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("run", "longer")]
    assert results[0] == results[1]


class Scheduled(ToyModule):
    """The toy with another schedule."""

    def __init__(self, schedule: Callable[[torch.optim.Optimizer], Any]) -> None:
        super().__init__()
        self._schedule = schedule

    def configure_optimizers(self) -> dict[str, Any]:
        made = super().configure_optimizers()
        made["lr_scheduler"]["scheduler"] = self._schedule(made["optimizer"])
        return made


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("WarmupCosine", lambda optimizer: LambdaLR(optimizer, WarmupCosine(5, warmup=1))),
        ("CosineAnnealingLR", lambda optimizer: CosineAnnealingLR(optimizer, 5)),
    ],
)
def test_a_schedule_that_ends_with_the_run_cannot_be_extended(name: str, schedule: Any, tmp_path: Path) -> None:
    run(tmp_path, steps=5, module=Scheduled(schedule))
    with pytest.raises(
        UserError, match=f"extend: the schedule {name} ends at step 5, as the run does: .* Train from scratch"
    ):
        run(tmp_path, steps=9, module=Scheduled(schedule), extend=True)


def test_a_setting_that_follows_the_number_of_steps_cannot_be_extended(tmp_path: Path) -> None:
    run(tmp_path, steps=5, identity={"module": {"schedule": {"steps": 5}}})
    with pytest.raises(UserError, match="extend: cannot continue 5 steps to 9, .*`module.schedule.steps` is 5 there"):
        run(tmp_path, steps=9, identity={"module": {"schedule": {"steps": 9}}}, extend=True)


def test_a_callback_that_changes_batches_or_weights_counts(folder: Path) -> None:
    with pytest.raises(UserError, match=r"`fit.callbacks.*` is nothing there and .*GradientAccumulationScheduler"):
        run(folder, steps=5, extra=[GradientAccumulationScheduler({0: 2})])


@pytest.mark.parametrize("content", [b"", b"\x00\xff", b"[]"])
def test_a_damaged_record_of_nothing_is_replaced(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(content)

    with pytest.warns(UserWarning, match="run.json: .* the training starts from scratch"):
        run(tmp_path, steps=2)

    assert json.loads((tmp_path / "run.json").read_text())["state"] == "finished"


def test_a_damaged_record_of_a_result_alone_is_an_error(finished: Path, tmp_path: Path) -> None:
    shutil.copy(finished / "weights.safetensors", tmp_path)
    (tmp_path / "run.json").write_bytes(b"")

    with pytest.raises(UserError, match="run.json: not valid JSON .* use another `out`"):
        run(tmp_path, steps=5)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04"], ids=["empty", "cut"])
def test_a_checkpoint_that_is_none_in_spite_of_its_checksum_is_an_error(content: bytes, folder: Path) -> None:
    newest = checkpoints(folder / "checkpoints")[0]
    newest.write_bytes(content)
    newest.with_name(f"{newest.name}.sha256").write_text(hashlib.sha256(content).hexdigest())

    with pytest.raises(UserError, match=f"{newest.name}: cannot be loaded as a checkpoint"):
        run(folder, steps=5)
