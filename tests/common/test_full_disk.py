"""A disk that is full or fails: every file that is written names itself, is whole or absent, and is written later.

Libraries fail in their own ways, and few name the file. `/dev/full` takes the place of the temporary file, so that each
library meets the error where it writes.
"""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError

from mav_lightning.cascade import clip_writer
from mav_lightning.cascade.clip_writer import write_clip
from mav_lightning.common import whole_file as writing
from mav_lightning.common.errors import UserError
from mav_lightning.common.json_files import write_json, write_text
from mav_lightning.common.machine_faults import fault_message, faults_are_user_errors
from mav_lightning.common.manifest import ClipRecord, write_manifest
from mav_lightning.common.output import check_output
from mav_lightning.common.whole_file import new_folder, whole_file
from mav_lightning.training.checkpoint_io import AtomicCheckpointIO

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
FULL = r"the disk is full \(.* left\); free some space and run the command again\."


def weights(path: Path) -> None:
    """Write weights, as safetensors does: to a temporary file of its own, with an error of its own."""
    with whole_file(path) as partial:
        try:
            partial.write_bytes(bytes(1000))
        except OSError:
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)") from None


def picture(path: Path) -> None:
    with whole_file(path) as partial:
        Image.fromarray(FRAMES[0]).save(partial, "PNG")


FILES: dict[str, Callable[[Path], None]] = {
    "a.json": lambda path: write_json(path, {"a": 1}),
    "report.csv": lambda path: write_text(path, "a,b\n"),
    "weights.safetensors": weights,
    "sheet.png": picture,
    "manifest.json": lambda path: write_manifest(path.parent, [ClipRecord("0", "0.mp4", 8.0, "a dot", {}, 0)]),
    "step-00000004.ckpt": lambda path: AtomicCheckpointIO().save_checkpoint({"w": torch.ones(1000)}, path),
    "0.mp4": lambda path: write_clip(path, FRAMES, 8.0, "made by a test"),
    "0.mkv": lambda path: write_clip(path, FRAMES, 8.0, "made by a test"),
    "0.gif": lambda path: write_clip(path, FRAMES, 8.0, "made by a test"),
}


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """From now on, temporary files have no room."""

    def close(descriptor: int) -> None:
        partial = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        os.close(descriptor)
        if partial.suffix == writing.TEMPORARY:
            partial.unlink()
            partial.symlink_to("/dev/full")

    def remove(path: Path) -> None:
        clip_remove(path)
        if path.name.startswith(".partial-"):
            path.symlink_to("/dev/full")

    clip_remove = clip_writer.remove
    monkeypatch.setattr(writing, "os", SimpleNamespace(**{**vars(os), "close": close}))
    monkeypatch.setattr(clip_writer, "remove", remove)
    return monkeypatch


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.is_symlink()}


@pytest.mark.parametrize("name", FILES)
def test_a_file_without_room_names_itself_and_leaves_the_old_one(
    name: str, full: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / name).write_text("old")
    with pytest.raises(UserError) as caught:
        FILES[name](tmp_path / name)
    message = str(caught.value)
    assert f"{tmp_path / name}: " in message and ("the disk is full" in message or "free space" in message)
    assert content(tmp_path) == {name: b"old"}

    full.undo()
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    FILES[name](tmp_path / name)
    assert len(content(tmp_path)[name]) > 3


@pytest.mark.parametrize(
    ("call", "code", "message"),
    [
        ("fsync", errno.EIO, "Input/output error: its disk, or the connection to it, fails; check both"),
        ("open", errno.EMFILE, "too many files are open in this process; raise the limit"),
        ("open", errno.EFBIG, "File too large: the file system or a limit"),
        ("replace", errno.ENOSPC, "the disk is full"),
    ],
)
@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("0.")])
def test_a_failing_disk_names_the_file_and_leaves_the_old_one(
    name: str, call: str, code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise OSError(code, os.strerror(code))

    (tmp_path / name).write_text("old")
    monkeypatch.setattr(writing, "os", SimpleNamespace(**{**vars(os), call: fail}))
    with pytest.raises(UserError) as caught:
        FILES[name](tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name)) and message in str(caught.value)
    assert content(tmp_path) == {name: b"old"}


@pytest.mark.parametrize("replaces", [None, writing.FolderContent(("*.txt",), "*.txt")])
def test_a_folder_without_room_names_itself_and_leaves_the_old_one(replaces: Any, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    if replaces:
        out.mkdir()
        (out / "a.txt").write_text("old")

    def fill() -> None:
        with new_folder(out, replaces) as folder:
            (folder / "a.txt").write_text("new")
            Path("/dev/full").write_text("no room")

    with pytest.raises(UserError, match=f"^{out}: {FULL}"):
        fill()
    assert sorted(path.name for path in tmp_path.iterdir()) == (["shards"] if replaces else [])
    assert not replaces or content(out) == {"a.txt": b"old"}


def test_a_file_in_a_new_folder_is_named_as_it_will_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill() -> None:
        with new_folder(tmp_path / "shards") as folder:
            monkeypatch.setattr(writing, "_flush_to_disk", lambda _: Path("/dev/full").write_text("no room"))
            write_json(folder / "index.json", {})

    with pytest.raises(UserError, match=f"^{tmp_path}/shards/index.json: {FULL}$"):
        fill()
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_before_any_work_is_no_wrong_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_file(**_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.TemporaryFile", no_file)
    for kind, path in (("file", tmp_path / "a"), ("folder", tmp_path)):
        with pytest.raises(UserError, match=f"^{path}: {FULL}$"):
            check_output(path, kind)  # type: ignore[arg-type]


def test_a_disk_with_room_but_for_no_more_files_is_described_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = SimpleNamespace(f_files=100, f_favail=0, f_bavail=1 << 20, f_frsize=4096)
    monkeypatch.setattr("os.statvfs", lambda _: few)
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "a"))
    assert fault_message(error) == (
        f"{tmp_path}/a: the disk is full (4.00 GiB and room for 0 files left); free some space and run the command "
        "again."
    )


def test_an_error_that_names_no_file_gets_the_folder_that_was_written_to(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"^{tmp_path}: {FULL}"), faults_are_user_errors(tmp_path):
        Path("/dev/full").write_text("no room")
