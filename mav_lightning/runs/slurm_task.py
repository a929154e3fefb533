"""One element of a SLURM array: ``python -m mav_lightning.runs.slurm_task FILE`` runs the stage of its number."""

import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mav_lightning.common.console import SafeConsole
from mav_lightning.common.errors import UserError
from mav_lightning.common.lease import holder
from mav_lightning.common.schema import PositiveFloat, PositiveInt, read_json
from mav_lightning.common.slurm_queue import requeue
from mav_lightning.runs.scheduler import termination_raises
from mav_lightning.runs.stage_folder import StageFolder
from mav_lightning.runs.worker import run_to_its_end

__all__ = ["ArrayTasks", "run_task"]

_POLL = 1.0  # seconds between two attempts to claim a stage that another process holds


@dataclass(frozen=True)
class ArrayTasks:
    """Stages that the elements of a job array run.

    Attributes:
        folders: Folder of the stage of each element.
        command: Command that runs the stage in the folder given as its last argument.
        threads: CPU threads per stage.
        stall: Seconds without progress after which a stage is ended and started again, once.
    """

    folders: list[str]
    command: list[str]
    threads: PositiveInt
    stall: PositiveFloat


def run_task(file: Path, environment: Mapping[str, str]) -> int:
    """Run the stage of an element of an array; a stage that another process holds is waited for.

    A stop signal has the stage save and end. After SIGUSR1, which SLURM sends before the time is up, the element is
    requeued and resumes the stage; after a preemption, SLURM does so itself.

    Args:
        file: JSON file with `ArrayTasks`.
        environment: Environment of the element, with ``SLURM_ARRAY_TASK_ID``.

    Returns:
        Exit code: 0 if the stage is done, 1 if it has failed or a stage that it needs is not done.

    Raises:
        UserError: If the file or the stage's folder cannot be read, or the process is no element of an array.
        SystemExit: With 128 + number after a stop signal.
    """
    number = environment.get("SLURM_ARRAY_TASK_ID", "")
    tasks: ArrayTasks = read_json(file, ArrayTasks)
    if not number.isdigit() or int(number) >= len(tasks.folders):
        raise UserError(f"SLURM_ARRAY_TASK_ID={number}: {file} has {len(tasks.folders)} stages; submit it as an array.")
    folder = StageFolder(Path(tasks.folders[int(number)]))
    _tell(f"{folder.path}: attempt {environment.get('SLURM_RESTART_COUNT', '0')}")
    missing = [place for place in folder.needed().values() if not StageFolder(place).done_file.exists()]
    if missing:
        _tell(f"not run: it needs {', '.join(place.name for place in missing)}, which has not finished")
        return 1
    with termination_raises() as raise_if_terminated:
        while (done := run_to_its_end(folder, tasks.command, tasks.threads, tasks.stall)) is None:
            raise_if_terminated()
            _tell(f"waits for {holder(folder.path)}")
            time.sleep(_POLL)
    return 0 if done else 1


def _tell(line: str, stderr: bool = False) -> None:
    SafeConsole(stderr=stderr).print(line, soft_wrap=True, highlight=False)


def main() -> None:
    """Run the element of this process."""
    try:
        code = run_task(Path(sys.argv[1]), os.environ)
    except UserError as error:
        _tell(f"error: {error}", stderr=True)
        code = 2
    except SystemExit as stopped:
        again = stopped.code == 128 + signal.SIGUSR1 and requeue()
        _tell("requeued: SLURM starts it again" if again else "stopped; it resumes once it starts again")
        raise
    sys.exit(code)


if __name__ == "__main__":
    main()
