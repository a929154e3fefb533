"""Checkpoints written by a thread have the same bytes, and nothing that goes wrong there is lost."""

import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from toy_training import ToyData, ToyModule, run

from mav_lightning.common.errors import UserError
from mav_lightning.training import checkpointer
from mav_lightning.training.checkpoint_io import AtomicCheckpointIO, checkpoint_path, checkpoints
from mav_lightning.training.checkpoint_writer import CheckpointWriter

IO = AtomicCheckpointIO()


def a_training_state() -> dict[str, Any]:
    """Weights of which two are tied, one of them in another memory format, and the moments of an optimizer."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    module[1].weight = module[0].weight
    module[2].to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(module.parameters())
    for weight in module.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    return {"state_dict": module.state_dict(), "optimizer_states": [optimizer.state_dict()], "loops": {"done": [1, 2]}}


def content(path: Path) -> dict[str, bytes]:
    """What a checkpoint holds: torch names the archive and its id after the temporary file."""
    with zipfile.ZipFile(path) as archive:
        entries = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    return {name: data for name, data in entries.items() if name != ".data/serialization_id"}


@pytest.mark.parametrize("times", [1, 3])
def test_the_bytes_are_those_of_a_write_at_once(tmp_path: Path, times: int) -> None:
    state, writer = a_training_state(), CheckpointWriter()
    IO.save_checkpoint(state, tmp_path / "at_once" / "a.ckpt")

    for _ in range(times):  # the memory of a copy is used again
        IO.save_checkpoint(state, tmp_path / "later" / "a.ckpt", storage_options=writer.submit)
        writer.wait()

    assert content(tmp_path / "later" / "a.ckpt") == content(tmp_path / "at_once" / "a.ckpt")
    loaded = IO.load_checkpoint(tmp_path / "later" / "a.ckpt")["state_dict"]
    assert loaded["2.weight"].is_contiguous(memory_format=torch.channels_last)
    assert loaded._metadata["3"] == {"version": 2}


def test_what_training_changes_meanwhile_is_not_written() -> None:
    written: list[dict[str, Any]] = []
    may_write = threading.Event()

    def write(checkpoint: dict[str, Any]) -> None:
        assert may_write.wait(60)
        written.append(checkpoint)

    state: dict[str, Any] = {"state_dict": {"w": torch.zeros(5)}, "records": [{"step": 1}]}
    writer = CheckpointWriter()
    writer.submit(state, write)
    state["state_dict"]["w"] += 1
    state["records"][0]["step"] = 2
    may_write.set()
    writer.wait()

    assert written[0]["records"] == [{"step": 1}]
    assert torch.equal(written[0]["state_dict"]["w"], torch.zeros(5))


def test_memory_is_taken_once() -> None:
    places: list[list[int]] = []

    def write(checkpoint: dict[str, Any]) -> None:
        places.append([value.data_ptr() for value in checkpoint["state_dict"].values()])

    state, writer = a_training_state(), CheckpointWriter()
    for _ in range(2):
        writer.submit(state, write)
        writer.wait()

    assert places[0] == places[1]
    assert places[0][0] == places[0][2]  # the tied weight
    assert not set(places[0]) & {value.data_ptr() for value in state["state_dict"].values()}


def test_without_a_thread_nothing_is_copied() -> None:
    state, seen = a_training_state(), []
    CheckpointWriter(background=False).submit(state, seen.append)
    assert seen == [state]
    assert seen[0] is state


@pytest.mark.parametrize("notice", ["check", "wait", "submit"])
def test_an_error_is_raised_in_the_main_thread_once(notice: str) -> None:
    def fail(checkpoint: dict[str, Any]) -> None:
        raise UserError("the disk is full")

    writer = CheckpointWriter()
    writer.submit({}, fail)
    writer._join()

    with pytest.raises(UserError, match="the disk is full"):
        getattr(writer, notice)(*([{}, lambda checkpoint: None] if notice == "submit" else []))
    writer.wait()


def test_an_error_is_a_warning_where_another_one_ends_the_program() -> None:
    def fail(checkpoint: dict[str, Any]) -> None:
        raise UserError("the disk is full")

    writer = CheckpointWriter()
    writer.submit({}, fail)
    with pytest.warns(UserWarning, match="The last checkpoint could not be written: the disk is full"):
        writer.close()
    writer.close()  # warns once


def test_an_error_that_comes_while_the_main_thread_looks_for_one_is_not_lost() -> None:
    class FailsMeanwhile(CheckpointWriter):
        """The write fails right after `check` has read that it has not."""

        found: BaseException | None = None

        def __getattribute__(self, name: str) -> Any:
            if name != "_error":
                return super().__getattribute__(name)
            found, self.found = self.found, UserError("the disk is full")
            return found

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__("found" if name == "_error" else name, value)

    writer = FailsMeanwhile()
    writer.check()
    with pytest.raises(UserError, match="the disk is full"):
        writer.check()


@pytest.mark.parametrize("error", [MemoryError("no details"), RuntimeError("DefaultCPUAllocator: can't allocate")])
def test_too_little_memory_for_the_copy_names_the_way_out(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*args: Any, **kwargs: Any) -> Tensor:
        raise error

    monkeypatch.setattr(torch, "empty_like", short)
    with pytest.raises(UserError, match=f"{error}.*; set fit.background_checkpoints=false to write without a copy"):
        CheckpointWriter().submit({"w": torch.zeros(2)}, print)


class Held(Callback):
    """Holds back all writes until the training is about to end, and records what was on disk by then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fault: Callable[[], None] | None = None) -> None:
        self.may_write, self.before = threading.Event(), list[Path]()
        self.steps, self.threads = list[int](), set[str]()
        refuse = checkpointer._refuse_nonfinite

        def held(*args: Any) -> None:
            self.threads.add(threading.current_thread().name)
            assert self.may_write.wait(60)
            refuse(*args)
            if fault is not None:
                fault()

        monkeypatch.setattr(checkpointer, "_refuse_nonfinite", held)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.steps.append(trainer.global_step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.before = checkpoints(Path(trainer.default_root_dir, "checkpoints"))
        self.may_write.set()


def test_steps_go_on_during_a_write_and_the_end_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    run(tmp_path, steps=7, checkpoint_every=7, extra=[held])
    assert (held.before, held.threads) == ([], {"checkpoint writer"})
    assert checkpoints(tmp_path / "checkpoints") == [checkpoint_path(tmp_path / "checkpoints", 7)]


def test_an_error_of_the_writer_stops_the_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise UserError("the disk is full")

    held = Held(monkeypatch, fail)
    held.may_write.set()
    failed = threading.Event()
    run_thread = CheckpointWriter._run

    def observed(writer: CheckpointWriter, *args: Any) -> None:
        run_thread(writer, *args)
        failed.set()

    class Waits(Callback):
        """Begins no step after the checkpoint until its write has failed."""

        def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
            assert trainer.global_step < 4 or failed.wait(60)

    monkeypatch.setattr(CheckpointWriter, "_run", observed)
    with pytest.raises(UserError, match="the disk is full"):
        run(tmp_path, steps=12, extra=[held, Waits()])
    assert held.steps == [1, 2, 3, 4, 5]


def test_no_bit_depends_on_the_thread(tmp_path: Path) -> None:
    def weights(background: bool) -> dict[str, Tensor]:
        out = tmp_path / str(background)
        run(out, steps=9, background_checkpoints=background, module=ToyModule(), data=ToyData())
        found: dict[str, Tensor] = IO.load_checkpoint(checkpoints(out / "checkpoints")[0])["state_dict"]
        return found

    one, other = weights(True), weights(False)
    assert all(torch.equal(one[name], other[name]) for name in one)
    # neither is another run
    run(tmp_path / "True", steps=9, background_checkpoints=False)
