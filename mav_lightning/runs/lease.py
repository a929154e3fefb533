"""Exclusive claims on stage folders that outlive no process.

A claim is an advisory lock on ``lease.json``. The driver takes it and its child inherits the open file, so the lock is
held exactly as long as one of them lives: after ``kill -9`` of the driver, no process can start the stage a second time
while the orphan still writes, and its end need not be guessed from time stamps.
"""

import fcntl
import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import read_json

__all__ = ["LEASE", "Lease", "claim", "held", "holder"]

LEASE = "lease.json"


@dataclass(frozen=True)
class _Holder:
    """``lease.json``: the process that claimed the folder, its machine, and when, in seconds since 1970."""

    pid: int
    host: str
    since: float


class Lease:
    """A held claim, returned by `claim`.

    Args:
        descriptor: File descriptor of the locked file. A child that inherits it holds the claim too.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def beat(self) -> None:
        """Update the file's time stamp, to show that the holder is alive."""
        os.utime(self.descriptor)

    def release(self) -> None:
        """Release the claim. A living process that inherited it keeps it, as it may still be writing."""
        os.close(self.descriptor)


def claim(folder: Path) -> Lease | None:
    """Claim a stage folder; return None if another process holds it.

    The file is never deleted, because a lock on a file that can be unlinked and created again is no lock.

    Raises:
        UserError: If the file system does not support locks.
    """
    descriptor = os.open(folder / LEASE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    while not _lock(descriptor, fcntl.LOCK_EX, folder):
        if not _lock(descriptor, fcntl.LOCK_SH, folder):
            os.close(descriptor)
            return None
        time.sleep(0.001)  # only a process that calls `held` is in the way, for an instant
    os.ftruncate(descriptor, 0)
    claimed = _Holder(os.getpid(), socket.gethostname(), time.time())
    os.write(descriptor, json.dumps(asdict(claimed)).encode())
    return Lease(descriptor)


def held(folder: Path) -> bool:
    """Return whether a living process holds the claim."""
    try:
        descriptor = os.open(folder / LEASE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _lock(descriptor, fcntl.LOCK_SH, folder)  # shared, so that two callers do not see each other
    finally:
        os.close(descriptor)


def holder(folder: Path) -> str:
    """Describe the process that claimed the folder last, and when it last showed that it was alive."""
    try:
        claimed: _Holder = read_json(folder / LEASE, _Holder)
        age = time.time() - (folder / LEASE).stat().st_mtime
        return f"process {claimed.pid} on {claimed.host}, last active {max(age, 0):.0f} s ago"
    except (UserError, OSError):  # read between truncating and writing
        return "another process"


def _lock(descriptor: int, how: int, folder: Path) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise UserError(
            f"{folder}: file locking is not supported on this file system ({error}); choose an output folder on a "
            "local disk or NFS 4."
        ) from error
    return True
