"""The check of output paths, made before any work is done."""

import os
import stat
import tempfile
from pathlib import Path
from typing import Literal, NamedTuple

from mav_lightning.common.errors import UserError
from mav_lightning.common.machine_faults import is_disk_fault, write_faults_name

__all__ = ["TEMPORARY", "FolderContent", "OutputKind", "check_output", "check_replaceable"]

OutputKind = Literal["file", "new file", "folder", "new folder"]
TEMPORARY = ".partial"  # ending of the names under which files and folders are written first
_CURRENT = "is the current folder; give the name of a new one."
_LONGEST_NAME = 255 - len(f"..12345678{TEMPORARY}")  # bytes


class FolderContent(NamedTuple):
    """Files of one kind of result.

    Attributes:
        files: Patterns of all its files, relative to its folder.
        sign: Pattern of a file that every result of this kind has, and other folders do not.
    """

    files: tuple[str, ...]
    sign: str


def check_output(
    path: str | Path, kind: OutputKind = "file", argument: str | None = "out", replacing: str = "overwrite=True"
) -> Path:
    """Check that output can be written to a path.

    Args:
        path: Path of the output. Missing parent folders are fine; they are created on writing.
        kind: ``file`` may replace a regular file; ``new file`` must be absent; ``folder`` may exist and hold something,
            for work that resumes; ``new folder`` must be absent or empty.
        argument: Name of the argument that gave the path, for messages. None if there is none.
        replacing: What the caller sets to replace what exists, for messages.

    Returns:
        The path.

    Raises:
        UserError: The path is the root folder, a device or a dangling link, is under a file, has too long a name,
            is of the other kind, exists or holds something already, its folder is read-only, or the disk is full.
    """
    path = Path(path)
    with write_faults_name(path):
        problem = _problem(path, kind, replacing)
    if problem is not None:
        raise UserError(f"{path}: {problem}", argument=argument)
    return path


def check_replaceable(folder: Path, content: FolderContent, argument: str | None = "out") -> None:
    """Check that a folder holds results of one kind and nothing else, so that new results may replace it.

    Args:
        folder: The folder. It may be missing or empty. Hidden files, as file managers add them, do not count.
        content: Content of such results.
        argument: Name of the argument that gave the path, for messages. None if there is none.

    Raises:
        UserError: The folder is the current one, or holds something else.
    """
    if not folder.is_dir():
        return
    if folder.resolve() == Path.cwd():
        raise UserError(f"{folder}: {_CURRENT}", argument=argument)
    known = {path for pattern in content.files for path in folder.glob(pattern)}
    files = [path for path in folder.rglob("*") if not path.is_dir() and not path.name.startswith(".")]
    foreign = [path for path in files if path not in known] or (files if not any(folder.glob(content.sign)) else [])
    if foreign:
        raise UserError(
            f"{folder}: holds `{min(foreign).relative_to(folder)}`, which would be lost; only an earlier result of the "
            "same kind is replaced: choose another folder, or move the file.",
            argument=argument,
        )


def _problem(path: Path, kind: OutputKind, replacing: str) -> str | None:
    """Return what is wrong with a path, or None."""
    try:
        if path.resolve() == Path(path.resolve().anchor):
            return "is the root of the file system; choose a path below it."
        if len(os.fsencode(path.name)) > _LONGEST_NAME:
            return f"the name has more than {_LONGEST_NAME} bytes; choose a shorter one."
        if path.is_symlink() and not path.exists():
            return "is a link to something that does not exist; remove it or choose another path."
        if path.exists():
            return _existing_problem(path, kind, replacing)
        return _parent_problem(path)
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of links
        if is_disk_fault(error):
            raise
        reason = getattr(error, "strerror", None) or error
        return f"cannot be written ({reason}); choose another path."


def _existing_problem(path: Path, kind: OutputKind, replacing: str) -> str | None:
    mode = path.stat().st_mode
    if kind in ("file", "new file"):
        if stat.S_ISDIR(mode):
            return "is a folder; give the name of a file."
        if not stat.S_ISREG(mode):
            return "is not a regular file (a device, pipe or socket); choose another path."
        if kind == "new file":
            return f"exists; replace it with {replacing}, or choose another path."
        return _parent_problem(path)
    if not stat.S_ISDIR(mode):
        return "is not a folder; choose another path."
    if kind == "new folder":
        if path.resolve() == Path.cwd():
            return _CURRENT
        if any(path.iterdir()):
            return f"already holds something; replace it with {replacing}, or choose another folder."
        return _parent_problem(path)
    return _write_problem(path)


def _parent_problem(path: Path) -> str | None:
    """Check the nearest folder above the path that exists."""
    parent = path.absolute().parent
    while not parent.exists():
        if parent.is_symlink():
            return f"is under {parent}, a link to something that does not exist; choose another path."
        parent = parent.parent
    if not parent.is_dir():
        return f"is under {parent}, which is a file; choose another path."
    return _write_problem(parent)


def _write_problem(folder: Path) -> str | None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        if is_disk_fault(error):
            raise
        return f"cannot be written: {folder} does not take files ({error.strerror}); choose another path."
