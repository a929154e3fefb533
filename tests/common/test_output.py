"""Output paths are checked before any work."""

import errno
import os
from pathlib import Path

import pytest

from mav_lightning.common.errors import UserError
from mav_lightning.common.output import OutputKind, check_output, disk_message


@pytest.mark.parametrize("kind", ["file", "folder", "new folder"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/", "is the root"),
        ("a.txt/b", "which is a file"),
        ("n" * 300, "bytes"),
        ("m" * 250, "bytes"),
        ("dangling", "does not exist"),
        ("dangling/x", "does not exist"),
        ("a\0b", "cannot be written"),
    ],
)
def test_paths_that_cannot_be_written_are_refused(tmp_path: Path, kind: OutputKind, name: str, message: str) -> None:
    (tmp_path / "a.txt").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=message) as caught:
        check_output(tmp_path / name, kind)
    assert caught.value.argument == "out"


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("folder", "file", "is a folder"),
        ("full", "new folder", "already holds something"),
        ("file", "folder", "is not a folder"),
        ("file", "new folder", "is not a folder"),
        ("pipe", "file", "is not a regular file"),
        ("pipe", "folder", "is not a folder"),
    ],
)
def test_paths_of_another_kind_are_refused(tmp_path: Path, name: str, kind: OutputKind, message: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "full" / "x").mkdir(parents=True)
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=message):
        check_output(tmp_path / name, kind)


def test_the_current_folder_is_no_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="current folder"):
        check_output(".", "new folder")
    assert check_output(".", "folder") == Path(".")


def test_a_device_is_refused() -> None:
    with pytest.raises(UserError, match="not a regular file"):
        check_output("/dev/null", "file")


def test_a_folder_that_takes_no_files_is_refused() -> None:
    with pytest.raises(UserError, match="does not take files"):
        check_output("/proc/x.json", "file")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("new/deep/x.json", "file"), ("file", "file"), ("folder", "folder"), ("folder", "new folder"), ("new", "folder")],
)
def test_paths_that_can_be_written_pass_and_leave_nothing_behind(tmp_path: Path, name: str, kind: OutputKind) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    assert check_output(tmp_path / name, kind) == tmp_path / name
    assert sorted(tmp_path.rglob("*")) == before


def test_a_full_disk_is_found_under_the_errors_of_libraries() -> None:
    wrapped = RuntimeError("cannot write")
    wrapped.__cause__ = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x.bin")
    assert disk_message(wrapped) == "x.bin: the disk is full; free some space and run the command again."
    assert disk_message(RuntimeError("I/O error: No space left on device (os error 28)")) is not None
    assert disk_message(PermissionError(errno.EACCES, "Permission denied", "y")) == "y: Permission denied."
    assert disk_message(RuntimeError("other")) is None
