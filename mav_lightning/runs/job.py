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

from mav_lightning.common.json_files import read_json, write_json
from mav_lightning.runs import guard
from mav_lightning.runs.lease import Lease
from mav_lightning.runs.provenance import provenance
from mav_lightning.runs.stage_folder import Stage, StageFolder

__all__ = ["Job"]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# glibc gives large blocks back to the kernel at once and gets them anew: 14,000 page faults a step of the tiny decoder,
# which without them is a tenth faster. Other allocators do not read these.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "4000000000", "MALLOC_TRIM_THRESHOLD_": "8000000000"}


class Job:
    """A claimed stage, started: its process writes the artefacts, `conclude` writes what became of it.

    The process leads its own group, dies with this one (see `guard`), and shares the lease.

    Args:
        stage: What runs.
        folder: Its folder, created and claimed.
        lease: The claim; `conclude` and `abandon` release it.
        command: Gets the folder's path as its last argument.
        threads: Each of its processes computes with; pinned, so that siblings agree.
    """

    def __init__(self, stage: Stage, folder: StageFolder, lease: Lease, command: Sequence[str], threads: int) -> None:
        self.stage, self.folder = stage, folder
        self.started = time.time()
        self._lease, self._threads = lease, threads
        self._origin = provenance(folder.patch_file)  # now, as the process imports the code that is there now
        # what an earlier attempt left is no longer true; its artefacts and checkpoints are
        for file in (folder.failed_file, folder.cost_file, folder.progress_file):
            file.unlink(missing_ok=True)
        guarded = [sys.executable, "-IS", str(Path(guard.__file__)), str(os.getpid()), *command, str(folder.path)]
        with folder.log_file.open("ab") as log:
            log.write(f"--- {_utc(self.started)} ---\n".encode())
            log.flush()
            self._process = subprocess.Popen(
                guarded,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_KEEP_MEMORY
                | os.environ
                | {"PYTHONUNBUFFERED": "1"}
                | {name: str(threads) for name in _THREAD_VARIABLES},
                pass_fds=(lease.descriptor,),
                start_new_session=True,
            )

    def ended(self) -> bool:
        """Whether the process has ended; gives a sign of life where it has not."""
        self._lease.beat()
        return self._process.poll() is not None

    def conclude(self) -> bool:
        """Writes ``done.json`` or ``failed.json`` for an ended process; whether it is done."""
        code = self._process.wait()
        self._signal(signal.SIGKILL)  # workers it left behind
        cost = read_json(self.folder.cost_file)
        done = code == 0 and cost is not None
        if done:
            write_json(self.folder.done_file, self._record(code) | _known(cost))
        else:
            write_json(self.folder.failed_file, self._record(code) | {"log": self.folder.last_log_lines()})
        self._lease.release()
        return done

    def stop(self) -> None:
        """Asks the process to save and end."""
        self._signal(signal.SIGTERM)

    def abandon(self, grace: float) -> None:
        """Ends a stopped process, by force after `grace` seconds; the stage stays to be continued."""
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


def _known(cost: dict[str, Any]) -> dict[str, Any]:
    """The cost as the stage tells it: its seconds count earlier attempts too, and its device is the one it ran on."""
    return {key: value for key, value in cost.items() if value is not None}


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
