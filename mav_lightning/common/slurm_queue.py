"""Commands of SLURM: submit, ask and requeue."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from mav_lightning.common.errors import UserError

__all__ = ["queued", "requeue", "submit"]

_TIMEOUT = 120.0  # seconds; a busy controller answers within a minute


def submit(script: Path, options: Sequence[str]) -> str:
    """Submit a script with ``sbatch``; return the number of its job.

    Args:
        script: The script. SLURM copies it when it is submitted.
        options: Options of ``sbatch``.

    Raises:
        UserError: If there is no ``sbatch``, or it rejects the job.
    """
    return _answer("sbatch", "--parsable", *options, str(script)).strip().partition(";")[0]


def queued() -> set[str]:
    """Return the jobs of this user that wait or run, elements of arrays as ``JOB_ELEMENT``.

    Raises:
        UserError: If there is no ``squeue``, or it does not answer.
    """
    return set(_answer("squeue", "--me", "--noheader", "--array", "--format=%i").split())


def requeue() -> bool:
    """Ask SLURM to start the job of this process again; return whether it agreed.

    For jobs with ``#SBATCH --signal=USR1@90``, which are warned 90 seconds before their time is up. Nothing happens
    outside of a batch job.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if job is None or os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive") or not shutil.which("scontrol"):
        return False
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return subprocess.run(["scontrol", "requeue", job], check=False, capture_output=True).returncode == 0


def _answer(*command: str) -> str:
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_TIMEOUT)
    except FileNotFoundError as error:
        raise UserError(
            f"`slurm` needs the command `{command[0]}`, which this machine does not have; run on a login node of a "
            "SLURM cluster, or use another executor.",
            argument="executor",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise UserError(f"`{command[0]}` has not answered for {_TIMEOUT:.0f} s; run this again later.") from error
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UserError(f"`{command[0]}` failed: {reason}. Jobs submitted so far stay; run the command again.")
    return done.stdout
