"""Requeueing of the SLURM job that a training runs in."""

import os
import shutil
import subprocess

__all__ = ["requeue"]


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
