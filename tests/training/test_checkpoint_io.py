"""Checkpoints are whole, verified and safe, or an error says why not."""

import os
import pickle
import resource
import shutil
import subprocess
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch

from mav_lightning.common.errors import UserError
from mav_lightning.training import checkpoint_io
from mav_lightning.training.checkpoint_io import AtomicCheckpointIO

IO = AtomicCheckpointIO()
STATE = {"state_dict": {"w": torch.arange(5000.0)}, "nested": [{"n": torch.tensor(3)}, "text", None]}


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    IO.save_checkpoint(STATE, tmp_path / "new" / "a.ckpt")

    loaded = IO.load_checkpoint(tmp_path / "new" / "a.ckpt")

    assert torch.equal(loaded["state_dict"]["w"], STATE["state_dict"]["w"])  # type: ignore[index, call-overload]
    assert loaded["nested"][1:] == ["text", None]
    assert sorted(os.listdir(tmp_path / "new")) == ["a.ckpt", "a.ckpt.sha256"]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs coreutils")
def test_the_checksum_is_what_sha256sum_checks(tmp_path: Path) -> None:
    IO.save_checkpoint(STATE, tmp_path / "a.ckpt")

    subprocess.run(["sha256sum", "--check", "--quiet", "a.ckpt.sha256"], cwd=tmp_path, check=True)


def test_a_disk_known_to_be_too_full_is_not_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(checkpoint_io.shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1000))

    with pytest.raises(UserError, match=r"needs 1\.\d\d MiB and the disk has 1000 B left; free space and resume"):
        IO.save_checkpoint(STATE, tmp_path / "a.ckpt")

    assert not os.listdir(tmp_path)


def test_a_write_that_fails_halfway_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    IO.save_checkpoint(STATE, tmp_path / "a.ckpt")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(UserError, match="cannot be written .* free space or make the folder writable"):
            IO.save_checkpoint({"w": torch.zeros(5000)}, tmp_path / "a.ckpt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_could_not_be_loaded_again_is_refused_on_saving(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a safe load rejects: `.*` is of the class PosixPath; save tensors"):
        IO.save_checkpoint({"hyper_parameters": {"root": Path("/")}}, tmp_path / "a.ckpt")

    assert not os.listdir(tmp_path)


class Malicious:
    def __reduce__(self) -> Any:
        return os.system, ("touch pwned",)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_loading_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"w": Malicious()}, "zip.ckpt")
    Path("pickle.ckpt").write_bytes(pickle.dumps(Malicious()))

    for name in ("zip.ckpt", "pickle.ckpt"):
        with pytest.raises(UserError, match="cannot be loaded as a checkpoint of tensors and plain values"):
            IO.load_checkpoint(name, weights_only=False)

    assert not Path("pwned").exists()


def test_addresses_missing_files_and_spoilt_bytes_are_refused(tmp_path: Path) -> None:
    IO.save_checkpoint(STATE, tmp_path / "a.ckpt")
    with (tmp_path / "a.ckpt").open("ab") as file:
        file.write(b"x")

    with pytest.raises(UserError, match="local files only; download it and check its sha256"):
        IO.load_checkpoint("https://example.org/a.ckpt")
    with pytest.raises(UserError, match="no such checkpoint"):
        IO.load_checkpoint(tmp_path / "b.ckpt")
    with pytest.raises(UserError, match=r"does not match its checksum in a\.ckpt\.sha256; use an older"):
        IO.load_checkpoint(tmp_path / "a.ckpt")


def test_leftovers_of_a_kill_are_removed_and_nothing_else(tmp_path: Path) -> None:
    IO.save_checkpoint(STATE, tmp_path / "step-00000004.ckpt")
    for name in (".step-00000006.ckpt.0a1b2c3d.partial", "step-00000006.ckpt.sha256", "notes.sha256"):
        (tmp_path / name).write_text("x")

    checkpoint_io.remove_leftovers(tmp_path)

    assert sorted(os.listdir(tmp_path)) == ["notes.sha256", "step-00000004.ckpt", "step-00000004.ckpt.sha256"]


def test_a_removed_checkpoint_takes_its_checksum_with_it(tmp_path: Path) -> None:
    IO.save_checkpoint(STATE, tmp_path / "a.ckpt")

    IO.remove_checkpoint(tmp_path / "a.ckpt")

    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    "content",
    [None, [1], {"a": 1}, {"state_dict": None}, {"state_dict": {"w": 5}}, {"state_dict": {5: torch.zeros(1)}}],
)
def test_what_is_no_checkpoint_of_a_training_is_one_message(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match="holds no `state_dict` of tensors"):
        IO.load_checkpoint(tmp_path / "a.ckpt")


@pytest.mark.parametrize("data", [b"", b"x" * 100, b"PK\x03\x04" + b"\x99" * 200])
def test_damaged_bytes_are_one_message(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.ckpt").write_bytes(data)
    with pytest.raises(UserError, match="cannot be loaded as a checkpoint"):
        IO.load_checkpoint(tmp_path / "a.ckpt")


def test_copies_made_by_hand_and_folders_are_no_checkpoints(tmp_path: Path) -> None:
    IO.save_checkpoint(STATE, tmp_path / "step-00000004.ckpt")
    for name in ("step-00000008 (1).ckpt", "step-best.ckpt", "step-00000008.ckpt.bak"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "step-00000009.ckpt").mkdir()

    assert checkpoint_io.newest_checkpoint(tmp_path) == tmp_path / "step-00000004.ckpt"
    assert len(os.listdir(tmp_path)) == 6


def test_a_checksum_of_any_bytes_is_no_checksum(tmp_path: Path) -> None:
    IO.save_checkpoint(STATE, tmp_path / "step-00000004.ckpt")
    (tmp_path / "step-00000004.ckpt.sha256").write_bytes(b"\xff\xfe\x00")

    assert not checkpoint_io.is_intact(tmp_path / "step-00000004.ckpt")


def test_damaged_checkpoints_are_set_aside_and_a_training_without_any_other_begins_anew(tmp_path: Path) -> None:
    for step in (2, 4):
        IO.save_checkpoint(STATE, tmp_path / f"step-0000000{step}.ckpt")
    (tmp_path / "step-00000004.ckpt").write_bytes(b"")
    with pytest.warns(UserWarning, match="4.ckpt does not match its checksum"):
        assert checkpoint_io.newest_checkpoint(tmp_path) == tmp_path / "step-00000002.ckpt"

    (tmp_path / "step-00000002.ckpt").write_bytes(b"")
    with pytest.warns(UserWarning, match="no checkpoint matches its checksum, so the training starts from scratch"):
        assert checkpoint_io.newest_checkpoint(tmp_path) is None
