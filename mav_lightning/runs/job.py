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
from mav_lightning.common.whole_file import remove_partial_files
from mav_lightning.runs import parent_guard
from mav_lightning.runs.provenance import provenance
from mav_lightning.runs.stage_folder import Stage, StageFolder

__all__ = ["Job"]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# By default glibc returns large blocks to the kernel at once and requests them again: 14,000 page faults per step of
# the tiny decoder, which is a tenth faster without them. Other allocators ignore these variables.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "4000000000", "MALLOC_TRIM_THRESHOLD_": "8000000000"}


class Job:
    """A claimed stage that runs as a subprocess. The process writes the artifacts, `conclude` records how it ended.

    The process leads its own group, dies with this one (see `parent_guard`), and shares the lease.

    Args:
        stage: The stage.
        folder: Its folder, created and claimed.
        lease: The claim; `conclude` and `abandon` release it.
        command: Command that receives the folder's path as its last argument.
        threads: CPU threads of each of its processes; fixed, so that siblings agree.
    """

    def __init__(self, stage: Stage, folder: StageFolder, lease: Lease, command: Sequence[str], threads: int) -> None:
        self.stage, self.folder = stage, folder
        self.started = time.time()
        self._lease, self._threads = lease, threads
        self._origin = provenance(folder.patch_file)  # now, as the process imports the code as it is now
        # records of an earlier attempt are no longer true; its artifacts and checkpoints are
        for file in (folder.failed_file, folder.cost_file, folder.progress_file):
            file.unlink(missing_ok=True)
        remove_partial_files(folder.path, "*.json")
        guard = [sys.executable, "-IS", str(Path(parent_guard.__file__)), str(os.getpid())]
        with folder.log_file.open("ab") as log:
            log.write(f"--- {_utc(self.started)} ---\n".encode())
            log.flush()
            self._process = subprocess.Popen(
                [*guard, *command, str(folder.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_KEEP_MEMORY
                | os.environ
                | {"PYTHONUNBUFFERED": "1", INHERITED: str(lease.descriptor)}
                | {name: str(threads) for name in _THREAD_VARIABLES},
                pass_fds=(lease.descriptor,),
                start_new_session=True,
            )

    def ended(self) -> bool:
        """Return whether the process has ended, and renew the lease."""
        self._lease.beat()
        return self._process.poll() is not None

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
