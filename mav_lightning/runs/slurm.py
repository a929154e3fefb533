"""Stages as job arrays of SLURM: submitted, never waited for. The stages' folders must be on a shared file system."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mav_lightning.common.errors import UserError
from mav_lightning.common.json_files import write_json, write_text
from mav_lightning.common.schema import build
from mav_lightning.common.slurm_queue import queued, submit
from mav_lightning.runs import executor
from mav_lightning.runs.job import STALL
from mav_lightning.runs.ledger import Ledger, State
from mav_lightning.runs.records import read_record
from mav_lightning.runs.slurm_task import ArrayTasks
from mav_lightning.runs.stage_folder import Stage

__all__ = ["Slurm", "Submission", "submit_stages"]

_JOB = "slurm.json"
_MOST = 1000  # elements of an array; SLURM's own default allows 1001
_WARNING = 120  # seconds before the end of its time at which a job is asked to save
_OWN = ("array", "dependency", "parsable", "wrap", "signal", "requeue", "no-requeue", "output", "open-mode", "wait")


@dataclass(frozen=True)
class Slurm:
    """Settings with which stages are submitted.

    Attributes:
        threads: CPU threads of each stage.
        gpus: GPUs of each stage.
        jobs: Number of stages of an array that run at once. None for as many as SLURM allows.
        partition: Partition. None for the cluster's default.
        account: Account that is charged. None for the user's default.
        options: Further options of ``sbatch``, for example ``--time=24:00:00``.
        command: See `Local`. None for `STAGE_COMMAND`.
        stall: Seconds without progress after which a stage is ended and started again, once.

    Raises:
        UserError: If an option is not one of ``sbatch``'s long options, or is set by the submission itself.
    """

    threads: int = 2
    gpus: int = 0
    jobs: int | None = None
    partition: str | None = None
    account: str | None = None
    options: tuple[str, ...] = ()
    command: tuple[str, ...] | None = None
    stall: float = STALL

    def __post_init__(self) -> None:
        for option in self.options:
            name = option.partition("=")[0]
            if not name.startswith("--"):
                raise UserError(f"`{option}` must be a long option of sbatch: --time=24:00:00.", argument="sbatch")
            if name.removeprefix("--") in _OWN:
                raise UserError(f"`{name}` is set by the submission itself; leave it out.", argument="sbatch")

    def arguments(self) -> list[str]:
        """Return the options of ``sbatch`` that all arrays share; those of the user come last and take precedence."""
        given = {"partition": self.partition, "account": self.account, "gpus": self.gpus or None}
        return [
            "--requeue",
            f"--signal=B:USR1@{_WARNING}",
            "--open-mode=append",
            f"--cpus-per-task={self.threads}",
            *(f"--{name}={value}" for name, value in given.items() if value is not None),
            *self.options,
        ]


@dataclass(frozen=True)
class _QueuedStage:
    """``slurm.json`` in the folder of a stage: the element of an array that runs it, as ``JOB_ELEMENT``."""

    job: str


@dataclass
class Submission:
    """Outcomes of the stages of a plan.

    Attributes:
        jobs: Number of each submitted array → its stages.
        queued: Stages that an earlier submission waits for or runs.
        done: Finished stages.
    """

    jobs: dict[str, list[Stage]] = field(default_factory=dict)
    queued: list[Stage] = field(default_factory=list)
    done: list[Stage] = field(default_factory=list)


def submit_stages(root: Path, stages: Sequence[Stage], slurm: Slurm, name: str) -> Submission:
    """Submit every stage that is neither done nor queued, and return at once.

    Stages of a level, which need none of each other, are one array (or several, of at most 1000). An array starts once
    those with stages that it needs have ended; an element whose needed stages are not done then ends without running,
    the others run.

    Args:
        root: Folder of the study, on a file system that all nodes share; its stages' folders exist.
        stages: Stages, needed ones before those that need them.
        slurm: Submission settings.
        name: Name of the jobs.

    Raises:
        UserError: If SLURM is not available or rejects a job. What was submitted before stays submitted.
    """
    ledger, found = Ledger(root), Submission()
    found.done = [stage for stage in stages if ledger.state(stage) is State.DONE]
    missing = [stage for stage in stages if stage not in found.done]
    if not missing:
        return found
    alive, jobs = queued(), dict[str, str]()  # of stages that are not done
    for stage in missing:
        record = read_record(ledger.folder(stage).path / _JOB, _QueuedStage)
        if record is not None and record.job in alive:
            jobs[stage.id] = record.job.partition("_")[0]
            found.queued.append(stage)
    for level in _levels([stage for stage in missing if stage.id not in jobs]):
        for start in range(0, len(level), _MOST):
            part = level[start : start + _MOST]
            job = _submit_array(root, ledger, part, slurm, name, jobs)
            jobs |= {stage.id: job for stage in part}
            found.jobs[job] = part
    return found


def _levels(stages: Sequence[Stage]) -> list[list[Stage]]:
    """Group stages so that each group needs earlier groups only."""
    depth: dict[str, int] = {}
    for stage in stages:
        depth[stage.id] = 1 + max((depth[needed] for needed in stage.needs.values() if needed in depth), default=-1)
    return [[stage for stage in stages if depth[stage.id] == level] for level in sorted(set(depth.values()))]


def _submit_array(
    root: Path, ledger: Ledger, stages: Sequence[Stage], slurm: Slurm, name: str, jobs: Mapping[str, str]
) -> str:
    folder = (root / "slurm").resolve()
    folder.mkdir(exist_ok=True)
    folders = [ledger.folder(stage) for stage in stages]
    number = 1 + max((int(one.stem) for one in folder.glob("*.json") if one.stem.isdigit()), default=0)
    tasks, script = folder / f"{number:04}.json", folder / f"{number:04}.sh"
    command = list(slurm.command or executor.STAGE_COMMAND)
    places = [str(one.path.resolve()) for one in folders]
    write_json(tasks, asdict(build(ArrayTasks, {
        "folders": places, "command": command, "threads": slurm.threads, "stall": slurm.stall,
    }, str(tasks))))  # fmt: skip
    run = shlex.join([sys.executable, "-m", "mav_lightning.runs.slurm_task", str(tasks)])
    # SLURM signals the script's process, which `exec` makes the one that stops the stage
    write_text(script, f"#!/bin/sh\nexec {run}\n")
    after = list(dict.fromkeys(jobs[needed] for stage in stages for needed in stage.needs.values() if needed in jobs))
    job = submit(script, [
        f"--job-name={name}",
        f"--array=0-{len(stages) - 1}{f'%{slurm.jobs}' if slurm.jobs else ''}",
        f"--output={folder}/%A_%a.log",
        *([f"--dependency=afterany:{':'.join(after)}"] if after else []),
        *slurm.arguments(),
    ])  # fmt: skip
    for element, one in enumerate(folders):
        write_json(one.path / _JOB, asdict(_QueuedStage(f"{job}_{element}")))
    return job
