"""Files and folders written atomically: they appear complete or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mav_lightning.common.output import FolderContent, check_output, check_replaceable

__all__ = ["new_folder", "remove_partial_files", "whole_file"]


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to and rename it to `path` on leaving the block.

    The content is flushed to disk before the rename, and the rename before this returns, so neither a killed process
    nor a power cut leaves a partial file. If the block raises, `path` is unchanged and the temporary file is deleted.
    The temporary file is in the same folder because a rename is atomic within one file system only.

    Raises:
        UserError: `path` cannot be written; see `check_output`.
    """
    check_output(path, "file", argument=None)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.touch()
        mode = partial.stat().st_mode
        yield partial
        partial.chmod(mode)  # some writers replace the file by one with stricter permissions
        _flush_to_disk(partial)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _flush_to_disk(path.parent)


def remove_partial_files(folder: Path) -> None:
    """Delete temporary files of interrupted writes. Call it only while no other process writes to `folder`."""
    for partial in folder.glob(".*.partial"):
        partial.unlink(missing_ok=True)


@contextmanager
def new_folder(out: Path, replaces: FolderContent | None = None) -> Iterator[Path]:
    """Yield a temporary folder to fill and rename it to `out` on leaving the block.

    Args:
        out: The new folder.
        replaces: Content that `out` may have and that the new folder replaces. None if `out` must be absent or empty.

    Raises:
        UserError: `out` holds something already, something else than `replaces`, or cannot be written; see
            `check_output`.
    """
    check_output(out, "new folder" if replaces is None else "folder", argument=None)
    if replaces is not None:
        check_replaceable(out, replaces)
    partial, old = (out.absolute().parent / f".{out.absolute().name}.{state}" for state in ("partial", "old"))
    for left in (partial, old):  # by a killed process
        shutil.rmtree(left, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if replaces is not None and out.exists():
            os.replace(out, old)
        os.replace(partial, out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _flush_to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
