"""Files and folders written atomically: they appear complete or not at all."""

import fcntl
import glob
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mav_lightning.common.errors import UserError
from mav_lightning.common.machine_faults import write_faults_name
from mav_lightning.common.output import TEMPORARY, FolderContent, check_output, check_replaceable

__all__ = ["new_folder", "remove_partial_files", "whole_file"]

_OWNER = ".mav-owner"  # locked by the process that fills a temporary folder
_LEVELS = 4  # of folders, each of which takes a handle while it is removed; so many are kept for a process without any


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to and rename it to `path` on leaving the block.

    The content is flushed to disk before the rename, and the rename before this returns, so neither a killed process
    nor a power cut leaves a partial file. If the block raises, `path` is unchanged and the temporary file is deleted.
    The temporary file is in the same folder because a rename is atomic within one file system only. Its name is random
    and it is created exclusively, so that it is neither another process's file nor a link.

    Raises:
        UserError: `path` cannot be written, see `check_output`, or the disk is full or fails.
    """
    check_output(path, "file", argument=None)
    partial = _temporary(path)
    with write_faults_name(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        mode = os.fstat(descriptor).st_mode
        os.close(descriptor)
        try:
            yield partial
            partial.chmod(mode)  # some writers replace the file by one with stricter permissions
            _flush_to_disk(partial)
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        _flush_to_disk(path.parent)


def remove_partial_files(folder: Path, *names: str) -> None:
    """Delete temporary files of interrupted writes. Call it only while no other process writes these files.

    Args:
        folder: The folder.
        *names: Names of the files that were written, or patterns of them, for example ``step-*.ckpt``.
    """
    for name in names:
        for partial in folder.glob(f".{name}.*{TEMPORARY}"):
            drawn = re.search(rf"\.[0-9a-f]{{8}}{re.escape(TEMPORARY)}$", partial.name)
            if drawn and stat.S_ISREG(partial.lstat().st_mode):
                partial.unlink(missing_ok=True)


@contextmanager
def new_folder(out: Path, replaces: FolderContent | None = None) -> Iterator[Path]:
    """Yield a temporary folder to fill and rename it to `out` on leaving the block.

    Temporary folders that killed processes have left for `out` are removed: those that hold a file with which a process
    marks a folder as its own, and that no living process has locked.

    Args:
        out: The new folder.
        replaces: Content that `out` may have and that the new folder replaces. None if `out` must be absent or empty.

    Raises:
        UserError: `out` holds something already, something else than `replaces`, or cannot be written, see
            `check_output`, or the disk is full or fails.
    """
    check_output(out, "new folder" if replaces is None else "folder", argument=None)
    if replaces is not None:
        check_replaceable(out, replaces)
    out = out.absolute()
    with write_faults_name(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(out)
        partial, old = _temporary(out), _temporary(out)
        partial.mkdir()
        marks: list[int] = []
        try:
            marks.append(os.open(partial / _OWNER, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            fcntl.flock(marks[0], fcntl.LOCK_EX)
            for _ in range(_LEVELS):
                marks.append(os.dup(marks[0]))
            yield partial
            (partial / _OWNER).unlink()
            if replaces is not None and out.exists():
                os.replace(out, old)
            os.replace(partial, out)
        except BaseException as error:
            _close(marks)
            _discard(partial)
            if isinstance(error, UserError):  # about a file in the temporary folder
                error.message = error.message.replace(str(partial), str(out))
            raise
        finally:
            _close(marks)
        shutil.rmtree(old, ignore_errors=True)


def _close(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())


def _discard(partial: Path) -> None:
    """Remove a temporary folder, also if no file can be opened as long as it is empty."""
    shutil.rmtree(partial, ignore_errors=True)
    with suppress(OSError):
        (partial / _OWNER).unlink(missing_ok=True)
        partial.rmdir()


def _remove_abandoned(out: Path) -> None:
    for partial in out.parent.glob(f".{glob.escape(out.name)}.*{TEMPORARY}"):
        try:
            mark = os.open(partial / _OWNER, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:  # not a folder of ours
            continue
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not partial.is_symlink():
                shutil.rmtree(partial, ignore_errors=True)
        except OSError:  # a living process fills it, or there are no locks here
            pass
        finally:
            os.close(mark)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")


def _flush_to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
