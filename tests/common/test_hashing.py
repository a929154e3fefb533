"""Content hashes: read once in a process, and again if the file was written to."""

import hashlib
import os
from pathlib import Path

import pytest
import torch

from mav_lightning.common import hashing
from mav_lightning.common.errors import UserError
from mav_lightning.common.hashing import file_sha256, tensors_sha256


def test_a_file_is_read_once_in_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    real = hashlib.file_digest
    monkeypatch.setattr(hashing.hashlib, "file_digest", lambda *args: reads.append(1) or real(*args))
    file = tmp_path / "a"
    file.write_bytes(b"abc")

    assert file_sha256(file) == file_sha256(file) == hashlib.sha256(b"abc").hexdigest()
    assert len(reads) == 1


def test_a_change_that_keeps_size_and_modification_time_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"abc")
    before, times = file_sha256(file), file.stat()

    file.write_bytes(b"abd")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert file_sha256(file) == hashlib.sha256(b"abd").hexdigest() != before


def test_a_missing_file_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none: cannot be read .*; give a readable file"):
        file_sha256(tmp_path / "none")


def test_tensors_count_by_name_type_shape_and_value() -> None:
    one = {"a": torch.zeros(2), "b": torch.ones(1, dtype=torch.bfloat16)}
    assert tensors_sha256(one) == tensors_sha256(dict(reversed(one.items())))
    others = [{"a": torch.zeros(2)}, one | {"a": torch.zeros(2, 1)}, one | {"a": torch.zeros(2).double()}]
    others += [{"c": one["a"], "b": one["b"]}, one | {"a": torch.tensor([0.0, -0.0])}]
    assert len({tensors_sha256(value) for value in [one, *others]}) == 6
