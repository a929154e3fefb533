"""Errors of the machine, which are no property of the data: they are retried, and then stop the run."""

import errno
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TypeVar

from mav_lightning.common.errors import UserError
from mav_lightning.common.terminal import SafeLog

__all__ = ["MachineError", "attempts", "with_retries"]

log = SafeLog(__name__)
T = TypeVar("T")
WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds between attempts
_LASTING = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG}


class MachineError(UserError):
    """An error of disk, network or memory, such as EIO, ESTALE or EMFILE. Readers must not treat it as bad data."""


def attempts(where: object) -> Iterator["_Attempt"]:
    """Yield contexts for repeated attempts at something that may fail temporarily, until one succeeds.

    Use it as ``for attempt in attempts(path):`` and, within the loop, ``with attempt:``.

    Args:
        where: File or address that is read, for messages.

    Raises:
        MachineError: The last attempt fails, or one fails as the next would, for example because there is no such
            file, or memory is used up.
    """
    for wait in (*WAITS, None):
        attempt = _Attempt(where, wait)
        yield attempt
        if attempt.done:
            return


def with_retries(action: Callable[[], T], where: object) -> T:
    """Return what a function returns at the first attempt without an error of the system; see `attempts`."""
    found: list[T] = []
    for attempt in attempts(where):
        with attempt:
            found.append(action())
    return found[-1]


class _Attempt:
    """One attempt; an error of the system leads to a pause before the next one."""

    def __init__(self, where: object, wait: float | None) -> None:
        self._where, self._wait, self.done = where, wait, False

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.done = error is None
        if isinstance(error, MemoryError):
            raise MachineError(f"{self._where}: out of memory; use fewer workers or a smaller cache_mb.") from error
        if not isinstance(error, OSError):
            return False
        reason = error.strerror or str(error) or type(error).__name__
        if self._wait is None or error.errno in _LASTING:
            tried = "" if error.errno in _LASTING else f" after {len(WAITS) + 1} attempts"
            raise MachineError(
                f"{self._where}: cannot be read{tried} ({reason}). Samples are not skipped for errors of the machine; "
                "check disk, network and memory, then run the command again."
            ) from error
        log.warning("%s: %s; next attempt in %g s", self._where, reason, self._wait)
        time.sleep(self._wait)
        return True
