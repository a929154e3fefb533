"""One stage running as a subprocess."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mav_lightning.common.errors import UserError
from mav_lightning.common.json_files import write_json
from mav_lightning.common.lease import INHERITED, Lease
from mav_lightning.common.machine_faults import write_faults_name
from mav_lightning.common.whole_file import remove_partial_files
from mav_lightning.runs import parent_guard
from mav_lightning.runs.provenance import provenance
from mav_lightning.runs.stage_folder import Stage, StageFolder
from mav_lightning.runs.stall_watch import StallWatch

__all__ = ["STALL", "Job"]

STALL = 1800.0  # seconds without any change in its folder after which a stage counts as stuck
_GRACE = 30.0  # seconds that a stuck process has to save and end

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# By default glibc returns large blocks to the kernel at once and requests them again: 14,000 page faults per step of
# the tiny decoder, which is a tenth faster without them. Other allocators ignore these variables.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "4000000000", "MALLOC_TRIM_THRESHOLD_": "8000000000"}


class Job:
    """A claimed stage that runs as a subprocess. The process writes the artifacts, `conclude` records how it ended.

    The process leads its own process group, ends when this process does (see `parent_guard`), and shares the lease.

    Args:
        stage: The stage.
        folder: Folder of the stage, created and claimed.
        lease: The claim; `conclude` and `abandon` release it.
        command: Command that receives the folder's path as its last argument.
        threads: CPU threads of each process; fixed, since results depend on their number.
        stall: Seconds without progress, log or any other change in its folder after which the process is ended and
            started again, once; it resumes from its checkpoints. The second time, the stage has failed.
    """

    def __init__(
        self,
        stage: Stage,
        folder: StageFolder,
        lease: Lease,
        command: Sequence[str],
        threads: int,
        stall: float = STALL,
    ) -> None:
        self.stage, self.folder = stage, folder
        self.started = time.time()
        self._lease, self._threads, self._command = lease, threads, tuple(command)
        self._watch, self._stalls = StallWatch(folder.path, stall), 0
        self._origin = provenance(folder.patch_file)  # now, as the process imports the code as it is now
        # records of an earlier attempt are no longer true; its artifacts and checkpoints are
        for file in (folder.failed_file, folder.cost_file, folder.progress_file):
            file.unlink(missing_ok=True)
        remove_partial_files(folder.path, "*.json")
        self._process = self._spawn()

    def ended(self) -> bool:
        """Return whether the process has ended for good; renew the lease if the stage has made progress."""
        code = self._process.poll()
        if code is not None:
            if code == 0 or self._stalls != 1 or self._watch.ending is None:
                return True
            self._signal(signal.SIGKILL)  # workers it left behind
            self._process = self._spawn()
        elif self._watch.moved():
            self._lease.beat()
        elif (force := self._watch.must_end(_GRACE)) is not None:
            self._end_stalled(force)
        return False

    def _end_stalled(self, force: bool) -> None:
        if not force:
            self._stalls += 1
            self._log(f"no progress for {self._watch.limit:g} s: ended{', starts again' if self._stalls == 1 else ''}")
        self._signal(signal.SIGKILL if force else signal.SIGTERM)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        self._watch.start()
        guard = [sys.executable, "-IS", str(Path(parent_guard.__file__)), str(os.getpid())]
        self._log(_utc(time.time()))
        with self.folder.log_file.open("ab") as log:
            return subprocess.Popen(
                [*guard, *self._command, str(self.folder.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_KEEP_MEMORY
                | os.environ
                | {"PYTHONUNBUFFERED": "1", INHERITED: str(self._lease.descriptor)}
                | {name: str(self._threads) for name in _THREAD_VARIABLES},
                pass_fds=(self._lease.descriptor,),
                start_new_session=True,
            )

    def _log(self, text: str) -> None:
        with write_faults_name(self.folder.log_file), self.folder.log_file.open("ab") as log:
            log.write(f"--- {text} ---\n".encode())

    def conclude(self) -> bool:
        """Write ``done.json`` or ``failed.json`` for an ended process; return whether the stage is done."""
        code = self._process.wait()
        self._signal(signal.SIGKILL)  # workers it left behind
        log = self.folder.last_log_lines()
        try:
            cost = self.folder.read_cost()
        except UserError as error:
            cost, log = None, [*log, str(error)]
        if code == 0 and cost is not None:
            # the stage's seconds include earlier attempts, and its device is the one it ran on
            write_json(self.folder.done_file, self._record(code) | cost.known())
        else:
            write_json(self.folder.failed_file, self._record(code) | {"log": log})
        self._lease.release()
        return code == 0 and cost is not None

    def stop(self) -> None:
        """Ask the process to save and end."""
        self._signal(signal.SIGTERM)

    def abandon(self, grace: float) -> None:
        """End a stopped process, by force after `grace` seconds. The stage can be resumed."""
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            pass
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._lease.release()

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            pass

    def _record(self, code: int) -> dict[str, Any]:
        stopped = time.time()
        return {
            "exit": code,
            "started": _utc(self.started),
            "stopped": _utc(stopped),
            "seconds": round(stopped - self.started, 3),
            "threads": self._threads,
            **self._origin,
        }


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
