"""Files and folders that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mav_lightning.common.errors import UserError

__all__ = ["new_folder", "remove_partial_files", "whole_file"]


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary name beside `path` to write to; on leaving, the file gets its real name.

    The bytes reach the disk before the name does, and the name before this returns, so neither a killed process nor a
    power cut leaves half a file under `path`. Where the block raises, `path` is as it was and the temporary is gone.
    The temporary lies in the same folder because a rename is atomic within one file system only.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.touch()
        mode = partial.stat().st_mode
        yield partial
        partial.chmod(mode)  # some writers replace the file by one that nobody else may read
        _flush_to_disk(partial)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _flush_to_disk(path.parent)


def remove_partial_files(folder: Path) -> None:
    """Deletes what a killed `whole_file` left in `folder`; to be called while nobody writes there."""
    for partial in folder.glob(".*.partial"):
        partial.unlink(missing_ok=True)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Gives a folder to fill and renames it to `out` at the end, so `out` is whole or absent whatever happens.

    Raises:
        UserError: `out` holds something already.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: already holds something; remove it, or choose another folder.")
    partial = out.absolute().parent / f".{out.absolute().name}.partial"
    shutil.rmtree(partial, ignore_errors=True)  # what a killed process left
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
