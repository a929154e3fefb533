"""Files and folders written atomically: they appear complete or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mav_lightning.common.output import check_output

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
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill and rename it to `out` on leaving the block.

    Raises:
        UserError: `out` holds something already or cannot be written; see `check_output`.
    """
    check_output(out, "new folder", argument=None)
    partial = out.absolute().parent / f".{out.absolute().name}.partial"
    shutil.rmtree(partial, ignore_errors=True)  # left by a killed process
    partial.mkdir(parents=True)
    try:
        yield partial
        os.replace(partial, out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _flush_to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
