"""One stage run to its end in a process of its own, which a cluster has started for it."""

import time
from collections.abc import Sequence

from mav_lightning.runs.executor import Local
from mav_lightning.runs.stage_folder import StageFolder

__all__ = ["run_to_its_end"]

_POLL = 0.2  # seconds between two checks of the stage's subprocess
_GRACE = 30.0  # seconds a stopped stage may take to save


def run_to_its_end(folder: StageFolder, command: Sequence[str], threads: int, stall: float) -> bool | None:
    """Run a stage as a subprocess; return whether it is done, None if another process holds it.

    An exception, such as that of a stop signal, has the stage save and end; it can be resumed.

    Args:
        folder: Folder of the stage.
        command: See `Local`.
        threads: CPU threads of the stage.
        stall: Seconds without progress after which the stage is ended and started again, once.
    """
    job = Local(threads=threads, command=command, stall=stall).start(folder.read_stage(), folder)
    if job is None:
        return True if folder.done_file.exists() else None
    try:
        while not job.ended():
            time.sleep(_POLL)
    except BaseException:
        job.stop()
        job.abandon(_GRACE)
        raise
    return job.conclude()
