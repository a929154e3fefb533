"""Stages on a Ray cluster whose nodes share the ledger's file system. Needs the extra ``ray``."""

import functools
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mav_lightning.common.errors import UserError
from mav_lightning.common.json_files import write_json
from mav_lightning.common.lease import claim, held
from mav_lightning.common.optional_import import optional_module
from mav_lightning.runs.executor import STAGE_COMMAND
from mav_lightning.runs.job import STALL
from mav_lightning.runs.stage_folder import Stage, StageFolder
from mav_lightning.runs.worker import run_to_its_end

__all__ = ["OnRay", "RayJob"]


class OnRay:
    """Runs each stage as a Ray task, which runs a subprocess as `Local` does.

    The worker claims the stage, so that even two drivers on two clusters run it once. A lost worker takes its
    subprocess with it; the task is submitted again and resumes from the stage's own checkpoints.

    Args:
        threads: CPU threads per stage, and CPU slots that it takes.
        gpus: GPU slots per stage; with 0.5 two stages share a GPU.
        retries: How often a stage whose worker was lost is submitted again. A stage that fails is not retried.
        address: Address of a running cluster, or ``auto``. None starts a cluster on this machine that only this machine
            can reach, provided that Ray was not imported before (it reads the setting at import).
        jobs: Number of stages submitted at once; None for as many as the cluster has room for.
        command: See `Local`; it must exist at the same path on every node.
        stall: Seconds without progress after which a stage is ended and started again, once; see `Job`.

    Raises:
        UserError: If Ray is not installed, the cluster cannot be reached, or no node can ever run a stage.
    """

    def __init__(
        self,
        threads: int = 2,
        gpus: float = 0.0,
        retries: int = 3,
        address: str | None = None,
        jobs: int | None = None,
        command: Sequence[str] | None = None,
        stall: float = STALL,
    ) -> None:
        if gpus > 1 and gpus % 1:
            raise UserError(
                f"{gpus:g} is not possible: more than 1 must be an integer; give {gpus // 1:g} or {gpus // 1 + 1:g}.",
                argument="gpus",
            )
        ray = _connected(address)
        room = _room(ray, threads, gpus)
        self.jobs, self._ray, self._threads = jobs or room, ray, threads
        self._command, self._stall = tuple(command or STAGE_COMMAND), stall
        # Ray counts only some of the workers it loses, so retries are counted here.
        self._remote = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=0)(_run_stage)
        self._retries = retries

    def start(self, stage: Stage, folder: StageFolder) -> "RayJob | None":
        """Submit the stage to Ray."""
        if folder.done_file.exists() or held(folder.path):
            return None
        place, remote = str(folder.path.resolve()), self._remote.options(name=folder.path.name)
        submit = functools.partial(remote.remote, place, self._command, self._threads, self._stall)
        return RayJob(self._ray, stage, folder, submit, self._retries)


class RayJob:
    """A stage submitted to Ray, returned by `OnRay.start`."""

    def __init__(self, ray: Any, stage: Stage, folder: StageFolder, submit: Callable[[], Any], retries: int) -> None:
        self.stage, self.folder, self.started = stage, folder, time.time()
        self._ray, self._submit, self._left, self._task = ray, submit, retries, submit()

    def ended(self) -> bool:
        """Return whether the task has ended, its last retry included; the worker itself renews the lease."""
        if not self._ray.wait([self._task], timeout=0)[0]:
            return False
        error = self._error()
        if error is None or isinstance(error, self._ray.exceptions.RayTaskError):
            return True
        if held(self.folder.path):  # by the lost worker's subprocess, which dies with it, or by another driver
            return False
        if self._left == 0:
            return True
        self._left, self._task = self._left - 1, self._submit()
        return False

    def conclude(self) -> bool | None:
        """Return whether the stage is done; None if another process had claimed it."""
        error = self._error()
        if error is None:
            result: bool | None = self._ray.get(self._task)
            return result
        lease = claim(self.folder.path)
        if lease is None:
            return None
        try:
            done = self.folder.done_file.exists()
            if not done:
                own = isinstance(error, self._ray.exceptions.RayTaskError)
                what = "the Ray worker could not run the stage" if own else "the Ray worker was lost"
                log = [what, *str(error).strip().splitlines()[-5:]]
                write_json(self.folder.failed_file, {"exit": None, "log": log})
        finally:
            lease.release()
        return done

    def _error(self) -> Exception | None:
        """Return why an ended task has no result: its own failure (RayTaskError) or the loss of its worker."""
        try:
            self._ray.get(self._task)
        except self._ray.exceptions.RayError as error:
            found: Exception = error
            return found
        return None

    def stop(self) -> None:
        """Ask the worker to end its stage."""
        self._ray.cancel(self._task)

    def abandon(self, grace: float) -> None:
        """Wait for a stopped worker, and end it by force after `grace` seconds."""
        if not self._ray.wait([self._task], timeout=grace)[0]:
            self._ray.cancel(self._task, force=True)


def _run_stage(place: str, command: Sequence[str], threads: int, stall: float) -> bool | None:
    """Run a stage on a worker; return whether it is done, None if another process holds it."""
    # Ray cancels a task by SIGINT, which a cluster started in the background of a script ignores.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return run_to_its_end(StageFolder(Path(place)), command, threads, stall)


def _connected(address: str | None) -> Any:
    # Ray reads these at import; without them it reports usage statistics and warns about what is done here anyway.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address is None:  # keeps Ray on the loopback; it would replace an address of 127.0.0.1 by the machine's own
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    ray = optional_module("ray", "ray")
    if ray.is_initialized():
        return ray
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is None:
            ray.init(address="local", include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except Exception as error:  # of many kinds, a bare one too if a busy machine starts it too slowly
        why = (str(error).strip().splitlines() or [repr(error)])[0]
        if address is None:
            raise UserError(f"Ray does not start on this machine ({why}); use the executor `local`.") from error
        if "InvalidAuthToken" in str(error.__cause__):
            raise UserError(
                f"the Ray cluster at {address} requires its token; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to what "
                "`ray get-auth-token` prints on its head node.",
                argument="address",
            ) from error
        raise UserError(
            f"no Ray cluster answers at {address} ({why}); start one with `ray start --head`, or leave the address out "
            "to start one on this machine.",
            argument="address",
        ) from error
    return ray


def _room(ray: Any, threads: int, gpus: float) -> int:
    """Return the number of stages that all nodes together can run at once."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = [min(_slots(node.get("CPU", 0), threads), _slots(node.get("GPU", 0), gpus)) for node in nodes]
    if not sum(room):
        found = "; ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
        raise UserError(
            f"a stage needs {threads} CPUs and {gpus:g} GPUs, and no node of the Ray cluster has them (available: "
            f"{found}), so it would wait forever; lower `threads` or `gpus`, or add a node."
        )
    return sum(room)


def _slots(available: float, needed: float) -> int:
    return int(available / needed) if needed else 10**6
