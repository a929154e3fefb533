"""Run one stage, in its folder or from a config: the work behind ``mav stage`` and ``mav train``.

Example:
    >>> from mav_lightning.runs.execute import run_stage
    >>> run_stage("runs/quick/stages/temporal-0123456789abcdef")  # doctest: +SKIP
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from mav_lightning.common.allowed import allow, source_sha256
from mav_lightning.common.errors import UserError
from mav_lightning.common.identity import RESULTS
from mav_lightning.common.json_files import write_json
from mav_lightning.common.lease import claimed
from mav_lightning.common.machine import peak_rss_bytes
from mav_lightning.common.task import Task
from mav_lightning.common.tracking import Track, untracked
from mav_lightning.config import instantiate, resolve_needs
from mav_lightning.config.trunk import Kind
from mav_lightning.runs.ids import run_identity
from mav_lightning.runs.records import TimeSpent
from mav_lightning.runs.stage_folder import Stage, StageFolder

if TYPE_CHECKING:
    from lightning.pytorch import Callback

__all__ = ["run_stage", "run_training"]

T = TypeVar("T")
Config = Mapping[str, Any]


def run_stage(folder: str | Path) -> None:
    """Run the stage in a folder, resuming from its own checkpoints.

    Args:
        folder: A stage's folder, with ``stage.json`` in it and the folders of the needed stages next to it.

    Raises:
        UserError: If the folder holds no stage, a needed stage is missing, or the stage's work cannot be done.
    """
    place = StageFolder(Path(folder))
    stage = place.read_stage()
    _allow_packages(place)
    with claimed(place.path):  # its executor has done so already; a person has not
        _run_claimed(place, stage)


def _run_claimed(place: StageFolder, stage: Stage) -> None:
    needs = {role: StageFolder(path).artifact for role, path in place.needed().items()}
    clock = _Clock(place)
    _RUNNERS[stage.kind](resolve_needs(stage.config, needs), place, needs, clock.track)
    if not place.cost_file.exists():  # trainings write their own, summed over restarts
        figures = {"seconds": round(clock.seconds(), 3), "peak_rss_bytes": peak_rss_bytes(), **_cuda_use()}
        write_json(place.cost_file, figures | _parameters(place.path))


def _parameters(folder: Path) -> dict[str, int]:
    """Return the number of weights of the network that a task has written; empty if it has written none."""
    from safetensors import safe_open

    from mav_lightning.networks.card import WEIGHTS

    if not (folder / WEIGHTS).exists():
        return {}
    with safe_open(folder / WEIGHTS, "pt") as weights:
        return {"parameters": sum(prod(weights.get_slice(name).get_shape()) for name in weights.keys())}  # noqa: SIM118


def _allow_packages(place: StageFolder) -> None:
    """Allow the packages that a stage and those it needs were planned with, if their source has not changed since.

    A stage that samples from a network of the user's own names it only through the stage that trained it.
    """
    for needed in place.needed().values():
        _allow_packages(StageFolder(needed))
    stage = place.read_stage()
    allow(stage.packages)
    for package, planned in stage.packages.items():
        if source_sha256(package) != planned:
            raise UserError(
                f"the source of `{package}` has changed since stage {stage.name} was planned; rerun the command that "
                "planned it, to run the stage again with the changed code."
            )


def run_training(
    config: Config,
    out: Path,
    callbacks: "Iterable[Callback]" = (),
    tags: Mapping[str, str | int] | None = None,
    track: Track = untracked,
    needs: Mapping[str, Path] = MappingProxyType({}),
    extend: bool = False,
    any_machine: bool = False,
) -> None:
    """Run a stage of kind train, or resume it. A finished run is left unchanged.

    Args:
        config: Resolved config; needed folders appear as ``@role``. It has either a `task`, which does the work, or
            `module`, `data` and `fit`.
        out: The stage's folder.
        callbacks: Lightning callbacks added to those of the config.
        tags: Tags for experiment trackers, for example variant and seed. None for none.
        track: Shows the progress of a task.
        needs: Role → folder of the needed stage.
        extend: Continue a run of fewer steps; see `fit`.
        any_machine: Continue a run of another machine; see `fit`.

    Raises:
        UserError: If a part or a needed folder is missing, a part rejects its arguments, or `out` holds another run.
    """
    import torch

    torch.manual_seed(config.get("seed", 0))  # initial weights
    if "task" in config:
        _fit_in_closed_form(config, needs, out, track, any_machine)
        return
    for key in ("module", "data", "fit"):
        if key not in config:
            raise UserError(f"{config['name']}: a training needs `{key}`; add it to the config.")
    _fit(config, needs, out, callbacks, tags or {}, {"extend": extend, "any_machine": any_machine})


def _fit_in_closed_form(config: Config, needs: Mapping[str, Path], out: Path, track: Track, any_machine: bool) -> None:
    from mav_lightning.common.machine import machine_identity
    from mav_lightning.networks.card import Card, write_card
    from mav_lightning.training.run_folder import RunFolder
    from mav_lightning.training.run_record import MACHINE

    resolved = resolve_needs(config, needs)
    task: Task = instantiate(resolved["task"], path="task")
    with claimed(out):
        place = RunFolder(out, any_machine)
        if not place.begin({"results": RESULTS, **run_identity(config, needs), MACHINE: machine_identity("cpu")}):
            return
        node = resolved["task"].get("network")
        if isinstance(node, Mapping):  # a network to build; otherwise the task writes the description
            write_card(out, Card.of(node, _trained_for(resolved)))
        task.run(out, seed=config.get("seed"), track=track)
        place.finish()


def _fit(
    config: Config,
    needs: Mapping[str, Path],
    out: Path,
    callbacks: "Iterable[Callback]",
    tags: Mapping[str, str | int],
    resuming: Mapping[str, bool],
) -> None:
    from mav_lightning.modules.base import NetworkModule
    from mav_lightning.networks.card import Card
    from mav_lightning.training.checkpointer import CardWriter
    from mav_lightning.training.fit import fit
    from mav_lightning.training.loggers import with_offline_loggers

    resolved = resolve_needs(config, needs)
    module, data = instantiate(resolved["module"], path="module"), instantiate(resolved["data"], path="data")
    data.setup("fit")  # mistakes in the data show before anything is written
    settings = instantiate(with_offline_loggers(resolved["fit"], out), path="fit")
    added = [*callbacks, *(settings.pop("callbacks", None) or ())]
    if isinstance(module, NetworkModule):
        node = module.network_config(resolved["module"])
        added.append(CardWriter(out, Card.of(node, _trained_for(resolved))))
    fit(
        module,
        data,
        out=out,
        seed=config.get("seed", 0),
        trainer=config.get("trainer"),
        callbacks=added,
        tags=dict(tags) | settings.pop("tags", {}),
        name=settings.pop("name", None) or _run_name(config["name"], out),
        identity=run_identity(config, needs),
        **resuming,
        **settings,
    )


def _run_name(stage: str, out: Path) -> str:
    """Return the name of a run in loggers: that of its folder, and that of the stage if the folder does not hold it."""
    folder = out.resolve().name
    return folder if stage in folder else f"{stage}-{folder}"


def _trained_for(config: Config) -> dict[str, Any]:
    """Return what a stage's network is trained for, as fields of `Trained`."""
    data = config.get("data", {})
    fps = data.get("clips", data).get("fps")
    kept = {key: config[key] for key in ("name", "seed", "size", "frames") if key in config}
    if denoising := config.get("module", {}).get("denoising"):
        kept["conditioned"] = denoising.get("encoder") is not None
    if latents := data.get("clips", data).get("latents"):
        kept["vae"] = latents
    if isinstance(fps, Mapping) and {"low", "high"} <= fps.keys():
        return kept | {"fps": [fps["low"], fps["high"]]}
    return kept | ({"fps": [fps, fps]} if isinstance(fps, int | float) else {})


def _data(config: Config, place: StageFolder, needs: Mapping[str, Path], track: Track) -> None:
    if not place.artifact.exists():  # it appears only once it is complete
        _run_task(config["task"], place.artifact, config.get("seed"), track)


def _train(config: Config, place: StageFolder, needs: Mapping[str, Path], track: Track) -> None:
    from mav_lightning.training.progress_bar import ReportProgress

    reports = [ReportProgress(place.write_progress)]
    run_training(place.read_stage().config, place.path, reports, place.read_tags(), track, needs)


def _pipeline(config: Config, place: StageFolder, needs: Mapping[str, Path], track: Track) -> None:
    _run_task(config["task"], place.artifact, None, track)


def _sample(config: Config, place: StageFolder, needs: Mapping[str, Path], track: Track) -> None:
    _run_task(config["task"], place.path, config["seed"], track)


def _score(config: Config, place: StageFolder, needs: Mapping[str, Path], track: Track) -> None:
    from evaluation import evaluate
    from evaluation.protocol import protocol_of_stage
    from mav_lightning.common.machine import default_device

    protocol = protocol_of_stage(config["protocol"])
    found = evaluate(needs["generated"], needs["real"], protocol, track=track, device=default_device())
    write_json(place.results_file, found)


_RUNNERS: dict[Kind, Callable[[Config, StageFolder, Mapping[str, Path], Track], None]] = {
    "data": _data,
    "train": _train,
    "pipeline": _pipeline,
    "sample": _sample,
    "score": _score,
}


def _run_task(node: Config, place: Path, seed: int | None, track: Track) -> None:
    task: Task = instantiate(node, path="task")
    task.run(place, seed=seed, track=track)


def _cuda_use() -> dict[str, Any]:
    """Return `mav_lightning.training.timing.cuda_use`, without importing torch for a stage that never used it."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    from mav_lightning.training.timing import cuda_use

    return cuda_use()


class _Clock:
    """Wall-clock seconds of a stage over all its attempts, saved about once a second together with its progress."""

    def __init__(self, place: StageFolder) -> None:
        self._place = place
        self._before = (place.read_spent() or TimeSpent()).seconds
        self._started = time.monotonic()

    def seconds(self) -> float:
        """Return the seconds spent so far: those that earlier attempts saved, and this attempt's."""
        return self._before + time.monotonic() - self._started

    def track(self, items: Iterable[T], total: int, description: str) -> Iterator[T]:
        """Yield the items and write progress and time; see `Track`."""
        written = 0.0
        for done, item in enumerate(items, start=1):
            yield item
            if time.monotonic() - written > 1.0:
                self._place.write_progress(done, total, description)
                write_json(self._place.spent_file, asdict(TimeSpent(round(self.seconds(), 3))))
                written = time.monotonic()
