"""Faults of the machine end in one message with the way out, however a library wraps them."""

import errno
import os
import re

import pytest

from mav_lightning.common.errors import UserError
from mav_lightning.common.machine_faults import fault_message, faults_are_user_errors


def system_error(number: int, *names: str) -> OSError:
    return OSError(number, os.strerror(number), *names)


def test_a_full_disk_is_found_under_the_errors_of_libraries() -> None:
    wrapped = RuntimeError("cannot write")
    wrapped.__cause__ = system_error(errno.ENOSPC, "x.bin")
    message = r"x\.bin: the disk is full \([\d.]+ \w+ left\); free some space and run the command again\."
    assert re.fullmatch(message, fault_message(wrapped) or "")
    assert fault_message(RuntimeError("I/O error: No space left on device (os error 28)")) is not None


def test_full_shared_memory_is_found_under_what_a_half_started_loader_raises() -> None:
    later = AttributeError("'_MultiProcessingDataLoaderIter' object has no attribute '_workers'")
    later.__context__ = RuntimeError("unable to write to file </torch_12_34_0>: No space left on device (28)")
    message = fault_message(later) or ""
    assert "/dev/shm" in message and "--shm-size" in message and "data.workers=0" in message


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (system_error(errno.EMFILE, "y"), "y: too many files are open in this process; raise the limit"),
        (RuntimeError("unable to open: Too many open files (24)"), "too many files are open"),
        (MemoryError(), "the memory is used up (no details); use a smaller batch"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"), "used up ([enf"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "the memory is used up (CUDA out of memory."),
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
            "a loader worker was killed (Data",
        ),
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), "was killed (DataLoader worker (pid(s) 7)"),
        (system_error(errno.EACCES, "y"), "y: Permission denied. Check its permissions"),
        (system_error(errno.EROFS, "y"), "y: Read-only file system. Check its permissions"),
        (system_error(errno.EEXIST, "y"), "y: File exists. A file is where a folder is expected"),
        (system_error(errno.ENOTDIR, "y"), "y: Not a directory. A file is where a folder is expected"),
        (system_error(errno.EIO), "Input/output error: its disk, or the connection to it, fails; check both"),
        (system_error(errno.EIO, "y"), "y: Input/output error: its disk"),
        (RuntimeError("I/O error: Input/output error (os error 5)"), "Input/output error: its disk"),
        (
            system_error(errno.EFBIG, "y"),
            "y: File too large: the file system or a limit (`ulimit -f`) allows no larger",
        ),
    ],
)
def test_each_fault_has_its_message(error: Exception, message: str) -> None:
    assert message in (fault_message(error) or "")
    with pytest.raises(UserError) as caught, faults_are_user_errors():
        raise error
    assert message in str(caught.value) and caught.value.__cause__ is error


@pytest.mark.parametrize("error", [RuntimeError("other"), ValueError("a shape"), KeyError("key"), OSError("odd")])
def test_errors_of_programs_keep_their_traceback(error: Exception) -> None:
    assert fault_message(error) is None
    with pytest.raises(type(error)) as caught, faults_are_user_errors():
        raise error
    assert caught.value is error


def test_errors_that_a_user_can_fix_pass_unchanged() -> None:
    error = UserError("no such file")
    error.__cause__ = system_error(errno.ENOENT, "y")
    with pytest.raises(UserError) as caught, faults_are_user_errors():
        raise error
    assert caught.value is error
