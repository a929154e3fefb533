"""Faults of the machine that a program runs on, as messages: disk, memory, open files, shared memory, permissions."""

import errno
import os
import re
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path

from mav_lightning.common.counting import counted
from mav_lightning.common.errors import UserError
from mav_lightning.common.retries import MachineError
from mav_lightning.common.units import memory

__all__ = ["fault_message", "faults_are_user_errors", "is_disk_fault", "unreadable", "write_faults_name"]

_SHARED = re.compile(r"/torch_|shared memory|/dev/shm|torch_shm_manager|\bshm\b|Bus error", re.IGNORECASE)
_MEMORY = re.compile(r"can't allocate memory|Cannot allocate memory|out of memory|bad_alloc|can't start new thread")
_WORKER = re.compile(r"DataLoader worker \(pid.*(killed by signal|exited unexpectedly)")
_FULL = {errno.ENOSPC, errno.EDQUOT}
_OPEN_FILES = {errno.EMFILE}
_BROKEN = {
    errno.EIO: "its disk, or the connection to it, fails; check both, or choose another path.",
    errno.EFBIG: "the file system or a limit (`ulimit -f`) allows no larger file; choose another path.",
}
_FEW_FILES = 1000  # a disk with room for fewer may be full although bytes are left
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def fault_message(error: BaseException | None, place: Path | None = None) -> str | None:
    """Describe a fault of the machine and a remedy; None if an error is of another kind.

    Libraries wrap the operating system's error in their own, so the chain of causes is searched.

    Args:
        error: The error.
        place: File or folder at fault. None for the one that the error names, if it names one.
    """
    chain = _chain(error)
    for one in chain:
        if (message := _known_fault(one, place)) is not None:
            return message
    first = chain[0] if chain else None
    return _file_message(first, place) if isinstance(first, OSError) and first.strerror else None


def is_disk_fault(error: BaseException) -> bool:
    """Return whether an error or one of its causes is a full or failing disk, or too many open files."""
    chain = _chain(error)
    if any("/torch_" in str(one) for one in chain):  # shared memory
        return False
    return any(_is(one, _FULL | _OPEN_FILES | _BROKEN.keys()) for one in chain)


def unreadable(path: Path, error: OSError) -> UserError:
    """Return the error to raise for a file that cannot be read; a `MachineError` if the machine is at fault."""
    if is_disk_fault(error):
        return MachineError(str(fault_message(error, path)))
    return UserError(f"{path}: cannot be read ({error.strerror}); give a readable file.")


@contextmanager
def write_faults_name(path: Path) -> Iterator[None]:
    """Add the name of the file that a block writes to errors of a full or failing disk, which most libraries omit.

    Args:
        path: The file or folder.

    Raises:
        UserError: Such a fault.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not is_disk_fault(error):
            raise
        raise UserError(str(fault_message(error, path))) from error


@contextmanager
def faults_are_user_errors(place: Path | None = None) -> Iterator[None]:
    """Raise a fault of the machine within the block as `UserError`.

    Args:
        place: Folder that the block writes to, for messages. None if there is none.

    Raises:
        UserError: The disk, the memory, the shared memory or the limit of open files is exhausted, or a file cannot be
            read or written.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        named = any(getattr(one, "filename", None) for one in _chain(error))
        message = fault_message(error, None if named else place)
        if message is None:
            raise
        raise UserError(message) from error


def _chain(error: BaseException | None) -> list[BaseException]:
    """Return an error, and those that it was raised from or while."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _is(error: BaseException, codes: Set[int]) -> bool:
    """Return whether an error is one of the operating system's, also in the words of a library in Rust or C."""
    words = [word for code in codes for word in (os.strerror(code), f"os error {code})")]
    return getattr(error, "errno", None) in codes or any(word in str(error) for word in words)


def _named(error: BaseException, place: Path | None) -> Path | None:
    """Return the file at fault, or None if it is not known."""
    name = getattr(error, "filename2", None) or getattr(error, "filename", None)
    return place or (Path(os.fsdecode(name)) if isinstance(name, str | bytes) and name else None)


def _before(place: Path | None) -> str:
    return f"{place}: " if place else ""


def _left(path: Path) -> str:
    """Return how much space is left where a file is to be, in brackets."""
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        disk = os.statvfs(path)
    except OSError:
        return ""
    few = disk.f_files and disk.f_favail < _FEW_FILES
    files = f" and room for {counted(disk.f_favail, 'file')}" if few else ""
    return f" ({memory(disk.f_bavail * disk.f_frsize)}{files} left)"


def _known_fault(error: BaseException, place: Path | None) -> str | None:
    """Return the message for something that is used up or broken, or None."""
    text, code, place = str(error), getattr(error, "errno", None), _named(error, place)
    if _is(error, _OPEN_FILES):
        return (
            f"{_before(place)}too many files are open in this process; raise the limit (`ulimit -n 4096`), or use "
            "fewer workers."
        )
    for broken, way_out in _BROKEN.items():
        if _is(error, {broken}):
            return f"{_before(place)}{os.strerror(broken)}: {way_out}"
    full = _is(error, _FULL)
    if _SHARED.search(text) and (full or isinstance(error, RuntimeError)):
        return (
            "the shared memory (/dev/shm), through which loader workers hand over batches, is full or too small; "
            "give it more room (docker run --shm-size=8g), or read in this process with data.workers=0."
        )
    if full:
        left = _left(place) if place else ""
        return f"{_before(place)}the disk is full{left}; free some space and run the command again."
    if isinstance(error, RuntimeError) and _WORKER.search(text):  # raised at any line of the main thread
        return (
            f"a loader worker was killed ({text.strip().splitlines()[0]}); if the machine's memory is short, use fewer "
            "workers, and run the command again to resume."
        )
    if (
        code == errno.ENOMEM
        or isinstance(error, MemoryError)
        or (isinstance(error, RuntimeError) and _MEMORY.search(text))
    ):
        return (
            f"the memory is used up ({text.strip().splitlines()[0][:160] if text.strip() else 'no details'}); use a "
            "smaller batch (with trainer.accumulate_grad_batches for the same result), fewer workers, or a larger "
            "machine."
        )
    return None


def _file_message(error: OSError, place: Path | None) -> str:
    way_out = {
        errno.ENOTDIR: " A file is where a folder is expected; move it, or choose another folder.",
        errno.EEXIST: " A file is where a folder is expected; move it, or choose another folder.",
        errno.EISDIR: " A folder is where a file is expected; move it, or choose another name.",
    }.get(error.errno or 0, " Check its permissions, or choose another path." if error.errno in _FORBIDDEN else "")
    return f"{_before(_named(error, place))}{error.strerror}.{way_out}"
