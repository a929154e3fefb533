"""Faults of the machine that a program runs on, as messages: disk, memory, open files, shared memory, permissions."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mav_lightning.common.errors import UserError
from mav_lightning.common.units import memory

__all__ = ["fault_message", "faults_are_user_errors", "full_disk_names"]

_SHARED = re.compile(r"/torch_|shared memory|/dev/shm|torch_shm_manager|\bshm\b|Bus error", re.IGNORECASE)
_MEMORY = re.compile(r"can't allocate memory|Cannot allocate memory|out of memory|bad_alloc|can't start new thread")
_WORKER = re.compile(r"DataLoader worker \(pid.*(killed by signal|exited unexpectedly)")
_FULL = (os.strerror(errno.ENOSPC), "os error 28", os.strerror(errno.EDQUOT), "os error 122")
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_FILES = os.strerror(errno.EMFILE)
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def fault_message(error: BaseException | None) -> str | None:
    """Return what is wrong with the machine, and the way out, or None if an error is not of that kind.

    Libraries wrap the operating system's error in their own, so the chain of causes is searched.
    """
    chain = _chain(error)
    for one in chain:
        if (message := _exhausted(one)) is not None:
            return message
    first = chain[0] if chain else None
    return _file_message(first) if isinstance(first, OSError) and first.strerror else None


@contextmanager
def full_disk_names(path: Path) -> Iterator[None]:
    """Name the file that a block writes if the disk is full; few libraries do.

    Args:
        path: The file or folder.

    Raises:
        UserError: The disk is full.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        chain = _chain(error)
        if not any(map(_is_full, chain)) or any("/torch_" in str(one) for one in chain):  # shared memory
            raise
        raise UserError(_full_message(path)) from error


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
        message = fault_message(error)
        if message is None:
            raise
        nameless = place is not None and message == _full_message(None)
        raise UserError(_full_message(place) if nameless else message) from error


def _chain(error: BaseException | None) -> list[BaseException]:
    """Return an error, and those that it was raised from or while."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _is_full(error: BaseException) -> bool:
    return getattr(error, "errno", None) in _NO_SPACE or any(word in str(error) for word in _FULL)


def _full_message(path: Path | None) -> str:
    left = _left(path) if path is not None else ""
    return f"{f'{path}: ' if path else ''}the disk is full{left}; free some space and run the command again."


def _left(path: Path) -> str:
    """Return how much space is left where a file is to be, in brackets."""
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        return f" ({memory(shutil.disk_usage(path).free)} left)"
    except OSError:
        return ""


def _exhausted(error: BaseException) -> str | None:
    """Return the message for something that is used up, or None."""
    text, code = str(error), getattr(error, "errno", None)
    if code == errno.EMFILE or _FILES in text:
        return "too many files are open in this process; raise the limit (`ulimit -n 4096`), or use fewer workers."
    full = _is_full(error)
    if _SHARED.search(text) and (full or isinstance(error, RuntimeError)):
        return (
            "the shared memory (/dev/shm), through which loader workers hand over batches, is full or too small; "
            "give it more room (docker run --shm-size=8g), or read in this process with data.workers=0."
        )
    if full:
        place = getattr(error, "filename2", None) or getattr(error, "filename", None)
        return _full_message(Path(os.fsdecode(place)) if place else None)
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


def _file_message(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    way_out = {
        errno.ENOTDIR: " A file is where a folder is expected; move it, or choose another folder.",
        errno.EEXIST: " A file is where a folder is expected; move it, or choose another folder.",
        errno.EISDIR: " A folder is where a file is expected; move it, or choose another name.",
    }.get(error.errno or 0, " Check its permissions, or choose another path." if error.errno in _FORBIDDEN else "")
    return f"{place}{error.strerror}.{way_out}"
