"""Stages on a Ray cluster, whose nodes share the ledger's file system. Needs the extra ``ray``."""

import functools
import os
import signal
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from mav_lightning.common.errors import UserError
from mav_lightning.common.json_files import write_json
from mav_lightning.runs.executor import STAGE_COMMAND, Local
from mav_lightning.runs.lease import claim, held
from mav_lightning.runs.stage_folder import Stage, StageFolder

__all__ = ["OnRay"]

_POLL = 0.2  # seconds between a worker's looks at its subprocess
_GRACE = 30.0  # seconds a stopped stage may take to save


class OnRay:
    """Runs each stage as a Ray task, which runs it as a subprocess as `Local` does.

    The worker claims the stage, so that even two drivers on two clusters run it once. A worker that is lost takes its
    subprocess with it, and the task is given to Ray again, to continue from the stage's own checkpoints.

    Args:
        threads: Each stage computes with, and CPU slots it takes. Its own number counts, not Ray's default.
        gpus: GPU slots of each stage; 0.5 lets two share one.
        retries: Of a stage whose worker was lost. A stage that fails by itself is not tried again.
        address: Of a running cluster, or ``auto``; None starts one on this machine, which only it can reach (where Ray
            was not imported before: it reads at its import that it should keep to the loopback).
        jobs: Stages that are given to Ray at once; None for as many as it has room for.
        command: See `Local`; at the same path on every node.

    Raises:
        UserError: Ray is not installed, the cluster is not there, or no node of it can ever run a stage.
    """

    def __init__(
        self,
        threads: int = 2,
        gpus: float = 0.0,
        retries: int = 3,
        address: str | None = None,
        jobs: int | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        if gpus > 1 and gpus % 1:
            raise UserError(f"--gpus {gpus:g}: more than one must be whole; give {gpus // 1:g} or {gpus // 1 + 1:g}.")
        ray = _connected(address)
        room = _room(ray, threads, gpus)
        self.jobs, self._ray, self._threads = jobs or room, ray, threads
        self._command = tuple(command or STAGE_COMMAND)
        # Ray counts only some of the workers it loses, so retries are counted here.
        self._remote = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=0)(_run_stage)
        self._retries = retries

    def start(self, stage: Stage, folder: StageFolder) -> "RayJob | None":
        """Hands the stage to Ray."""
        if folder.done_file.exists() or held(folder.path):
            return None
        place, remote = str(folder.path.resolve()), self._remote.options(name=folder.path.name)
        submit = functools.partial(remote.remote, place, self._command, self._threads)
        return RayJob(self._ray, stage, folder, submit, self._retries)


class RayJob:
    """A stage that Ray has been given; get one from `OnRay.start`."""

    def __init__(self, ray: Any, stage: Stage, folder: StageFolder, submit: Callable[[], Any], retries: int) -> None:
        self.stage, self.folder, self.started = stage, folder, time.time()
        self._ray, self._submit, self._left, self._task = ray, submit, retries, submit()

    def ended(self) -> bool:
        """Whether the task has ended, its last retry included; the worker itself gives the signs of life."""
        if not self._ray.wait([self._task], timeout=0)[0]:
            return False
        error = self._error()
        if error is None or isinstance(error, self._ray.exceptions.RayTaskError):
            return True
        if held(self.folder.path):  # by what the lost worker ran, which dies with it, or by another driver's
            return False
        if self._left == 0:
            return True
        self._left, self._task = self._left - 1, self._submit()
        return False

    def conclude(self) -> bool | None:
        """Whether the stage is done; None where somebody else had claimed it."""
        error = self._error()
        if error is None:
            return self._ray.get(self._task)
        lease = claim(self.folder.path)
        if lease is None:
            return None
        done = self.folder.done_file.exists()
        if not done:
            own = isinstance(error, self._ray.exceptions.RayTaskError)
            what = "the Ray worker could not run the stage" if own else "the Ray worker was lost"
            write_json(self.folder.failed_file, {"exit": None, "log": [what, *str(error).strip().splitlines()[-5:]]})
        lease.release()
        return done

    def _error(self) -> Exception | None:
        """Of a task that has ended: why without a result, by its own fault (RayTaskError) or its worker's end."""
        try:
            self._ray.get(self._task)
        except self._ray.exceptions.RayError as error:
            return error
        return None

    def stop(self) -> None:
        """Asks the worker to end its stage."""
        self._ray.cancel(self._task)

    def abandon(self, grace: float) -> None:
        """Waits for a stopped worker, and ends it by force after `grace` seconds."""
        if not self._ray.wait([self._task], timeout=grace)[0]:
            self._ray.cancel(self._task, force=True)


def _run_stage(place: str, command: Sequence[str], threads: int) -> bool | None:
    """What a worker does: whether the stage is done, None where somebody else holds it."""
    # Ray cancels a task by SIGINT, which all of a cluster that was started in a script's background ignores.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = StageFolder(Path(place))
    job = Local(threads=threads, command=command).start(folder.read_stage(), folder)
    if job is None:
        return True if folder.done_file.exists() else None
    try:
        while not job.ended():
            time.sleep(_POLL)
    except KeyboardInterrupt:  # how Ray cancels a task
        job.stop()
        job.abandon(_GRACE)
        raise
    return job.conclude()


def _connected(address: str | None) -> Any:
    # Before Ray is imported, which reads them: it would report how it is used, and warn of what we do anyway.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address is None:  # what keeps Ray on the loopback; an address of 127.0.0.1 it would turn into the machine's own
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        ray: Any = import_module("ray")
    except ImportError as error:
        raise UserError("the executor ray needs Ray; run `pip install 'mav-lightning[ray]'`.") from error
    if ray.is_initialized():
        return ray
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is None:
            ray.init(address="local", include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        why = (str(error).strip().splitlines() or [repr(error)])[0]
        if address is None:
            raise UserError(f"Ray does not start on this machine ({why}); try `--executor local`.") from error
        raise UserError(
            f"--address {address}: no Ray cluster answers there ({why}); start one with `ray start --head`, or leave "
            "the address out for one on this machine."
        ) from error
    return ray


def _room(ray: Any, threads: int, gpus: float) -> int:
    """The stages that all nodes together can run at once."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = [min(_slots(node.get("CPU", 0), threads), _slots(node.get("GPU", 0), gpus)) for node in nodes]
    if not sum(room):
        found = "; ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
        raise UserError(
            f"a stage asks for {threads} CPUs and {gpus:g} GPUs, and no node of the Ray cluster has them (there are: "
            f"{found}), so it would wait for ever; lower `threads` in the study or --gpus, or add a node."
        )
    return sum(room)


def _slots(there: float, asked: float) -> int:
    return int(there / asked) if asked else 10**6
