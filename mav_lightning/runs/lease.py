"""Exclusive claims on stage folders that outlive no process.

A claim is an advisory lock on ``lease.json``. The driver takes it and its child inherits the open file, so the lock is
held exactly as long as one of them lives: after ``kill -9`` of the driver, nobody can start the stage a second time
while the orphan still writes, and nobody has to guess from time stamps when it has ended.
"""

import fcntl
import json
import os
import socket
import time
from pathlib import Path

from mav_lightning.common.errors import UserError
from mav_lightning.common.json_files import read_json

__all__ = ["LEASE", "Lease", "claim", "held", "holder"]

LEASE = "lease.json"


class Lease:
    """A claim that is held; get one from `claim`.

    Args:
        descriptor: Of the locked file. A child that inherits it holds the claim too.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def beat(self) -> None:
        """Moves the file's time stamp: a sign of life for people who look."""
        os.utime(self.descriptor)

    def release(self) -> None:
        """Lets go. A process that inherited the claim and still lives keeps it: it may still be writing."""
        os.close(self.descriptor)


def claim(folder: Path) -> Lease | None:
    """Claims a stage folder; None where another process holds it.

    The file is never deleted, as a lock on a file that somebody unlinks and makes anew is no lock.

    Raises:
        UserError: The file system knows no locks.
    """
    descriptor = os.open(folder / LEASE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    while not _lock(descriptor, fcntl.LOCK_EX, folder):
        if not _lock(descriptor, fcntl.LOCK_SH, folder):
            os.close(descriptor)
            return None
        time.sleep(0.001)  # only somebody who looks stands in the way, and for an instant
    os.ftruncate(descriptor, 0)
    os.write(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}).encode())
    return Lease(descriptor)


def held(folder: Path) -> bool:
    """Whether a living process holds the claim."""
    try:
        descriptor = os.open(folder / LEASE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _lock(descriptor, fcntl.LOCK_SH, folder)  # shared, so that two who look do not see each other
    finally:
        os.close(descriptor)


def holder(folder: Path) -> str:
    """Who claimed the folder last and when it gave its last sign of life, in words."""
    try:
        claimed = read_json(folder / LEASE)
        age = time.time() - (folder / LEASE).stat().st_mtime
        return f"process {claimed['pid']} on {claimed['host']}, last sign of life {max(age, 0):.0f} s ago"
    except (ValueError, KeyError, TypeError, OSError):  # caught between truncating and writing
        return "another process"


def _lock(descriptor: int, how: int, folder: Path) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise UserError(f"{folder}: this file system knows no locks ({error}); choose an --out on another.") from error
    return True
