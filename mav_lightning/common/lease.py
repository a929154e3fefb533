"""Exclusive claims on folders that outlive no process.

A claim is an advisory lock on ``lease.json``. A driver takes it and its child inherits the open file, so the lock is
held exactly as long as one of them lives: after ``kill -9`` of the driver, no process can start the stage a second time
while the orphan still writes, and its end need not be guessed from time stamps. Processes that the holder forks, such
as the workers of a data loader, do not hold it: they outlive a killed holder by seconds and write nothing.
"""

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from mav_lightning.common.errors import UserError
from mav_lightning.common.machine_faults import write_faults_name
from mav_lightning.common.schema import read_json

__all__ = ["INHERITED", "LEASE", "Lease", "claim", "claimed", "held", "holder"]

LEASE = "lease.json"
INHERITED = "MAV_LEASE"  # environment variable: descriptor of the claim that a child inherits
_mine: set[int] = set()
_taken = threading.local()  # folder → claim that a block of this thread holds


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
        _mine.add(descriptor)

    def beat(self) -> None:
        """Update the file's time stamp, to show that the holder is alive."""
        os.utime(self.descriptor)

    def check(self, folder: Path) -> None:
        """Check that a folder is still the claimed one, before something is written there.

        Raises:
            UserError: If it was moved, deleted or replaced.
        """
        try:
            here = os.path.samestat(os.stat(folder / LEASE), os.fstat(self.descriptor))
        except (FileNotFoundError, NotADirectoryError):
            here = False
        if not here:
            raise UserError(
                f"{folder}: was moved, deleted or replaced while this process worked in it, so nothing more is "
                "written; move it back and run the command again, or start from scratch."
            )

    def release(self) -> None:
        """Release the claim. A living process that inherited it keeps it, as it may still be writing."""
        _mine.discard(self.descriptor)
        os.close(self.descriptor)


def claim(folder: Path) -> Lease | None:
    """Claim a folder; return None if another process holds it.

    A process that has inherited the claim from its parent holds it already. The file is never deleted, because a lock
    on a file that can be unlinked and created again is no lock.

    Raises:
        UserError: If the file system does not support locks, or the disk is full or fails.
    """
    lease = None
    with write_faults_name(folder / LEASE):
        descriptor = os.open(folder / LEASE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            if (inherited := _inherited(descriptor)) is not None:
                return Lease(inherited)
            if _locked(descriptor, folder):
                claimed = _Holder(os.getpid(), socket.gethostname(), time.time())
                os.ftruncate(descriptor, 0)
                os.write(descriptor, json.dumps(asdict(claimed)).encode())
                lease = Lease(descriptor)
        finally:
            if lease is None:
                os.close(descriptor)
    return lease


@contextmanager
def claimed(folder: Path) -> Iterator[Lease]:
    """Hold the claim on a folder, which is created if it does not exist; within the block it may be claimed again.

    Raises:
        UserError: If another process or thread holds it; the message names the process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place, outer = folder.resolve(), _taken.__dict__
    if str(place) in outer:
        yield outer[str(place)]
        return
    lease = claim(folder)
    if lease is None:
        raise UserError(f"{folder}: is in use by {holder(folder)}; wait for it to end, or use another folder.")
    outer[str(place)] = lease
    try:
        yield lease
    finally:
        del outer[str(place)]
        lease.release()


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


def _inherited(descriptor: int) -> int | None:
    """Return a duplicate of the claim that this process inherited, if it is one on the same file."""
    try:
        inherited = int(os.environ.get(INHERITED, ""))
        if os.path.sameopenfile(inherited, descriptor):
            return fcntl.fcntl(inherited, fcntl.F_DUPFD_CLOEXEC, 0)
    except (ValueError, OSError):  # no such variable, or a descriptor of something else by now
        pass
    return None


def _forget() -> None:
    """Close the claims in a forked process. The lock belongs to the open file and stays with the parent."""
    inherited = os.environ.get(INHERITED, "")
    for descriptor in {*_mine, *([int(inherited)] if inherited.isdigit() and _mine else [])}:
        try:
            os.close(descriptor)
        except OSError:
            pass
    _mine.clear()


os.register_at_fork(after_in_child=_forget)


def _locked(descriptor: int, folder: Path) -> bool:
    """Lock a file, and return whether no other process had done so."""
    while not _lock(descriptor, fcntl.LOCK_EX, folder):
        if not _lock(descriptor, fcntl.LOCK_SH, folder):
            return False
        time.sleep(0.001)  # only a process that calls `held` is in the way, for an instant
    return True


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
