"""``mav stage``: runs one stage of a study in its folder, as the study's executor calls it."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

__all__ = ["stage"]

T = TypeVar("T")


def stage(folder: Annotated[Path, typer.Argument(help="A stage's folder, holding stage.json.")]) -> None:
    """Run the stage in FOLDER, continuing from its own checkpoints.

    Example: mav stage runs/quick/stages/temporal-0123456789abcdef
    """
    from mav_lightning.config import resolve_needs
    from mav_lightning.runs.stage_folder import StageFolder

    place = StageFolder(folder)
    planned = place.read_stage()
    needs = {role: _artefact(StageFolder(path)) for role, path in place.needed().items()}
    config = resolve_needs(planned.config, needs)
    spent = _clock(place)
    run = {"data": _data, "train": _train, "pipeline": _pipeline, "sample": _sample, "score": _score}[planned.kind]
    run(config, place, needs, _reporter(place, spent))
    if not place.cost_file.exists():  # trainings write their own, summed over restarts
        _write_cost(place, spent())


def _artefact(place: Any) -> Path:
    """What others need of a finished stage."""
    within = {"data": "shards", "pipeline": "pipeline", "sample": place.clips.name}
    return place.path / within.get(place.read_stage().kind, "")


def _data(config: dict[str, Any], place: Any, needs: dict[str, Path], track: Any) -> None:
    from mav_lightning.config import instantiate

    if not _artefact(place).exists():  # appears only when it is whole
        instantiate(config["task"]).run(_artefact(place), seed=None, track=track)


def _train(config: dict[str, Any], place: Any, needs: dict[str, Path], track: Any) -> None:
    from mav_lightning.cli.train import run_training
    from mav_lightning.training.report import ReportProgress

    run_training(config, place.path, callbacks=(ReportProgress(place.write_progress),))


def _pipeline(config: dict[str, Any], place: Any, needs: dict[str, Path], track: Any) -> None:
    from mav_lightning.config import instantiate

    instantiate(config["task"])(out=_artefact(place))


def _sample(config: dict[str, Any], place: Any, needs: dict[str, Path], track: Any) -> None:
    from mav_lightning.config import instantiate

    instantiate(config["task"])(out=place.path, seed=config["seed"], track=track)


def _score(config: dict[str, Any], place: Any, needs: dict[str, Path], track: Any) -> None:

    from evaluation import evaluate
    from evaluation.protocol import parse_protocol
    from mav_lightning.common.json_files import write_json
    from mav_lightning.common.machine import default_device

    fields = {name: value for name, value in config["protocol"].items() if name not in ("name", "measures")}
    protocol = parse_protocol(Path(f"{config['protocol']['name']}.yaml"), fields)
    device = default_device()
    found = evaluate(needs["generated"], needs["real"], protocol, track=track, device=device)
    write_json(place.results_file, found)


def _write_cost(place: Any, seconds: float) -> None:
    from mav_lightning.common.json_files import write_json
    from mav_lightning.common.machine import peak_rss_bytes

    unknown = {"steps": None, "parameters": None, "step_seconds": None}
    write_json(
        place.cost_file, {"seconds": round(seconds, 3), "peak_rss_bytes": peak_rss_bytes(), **_cuda_use(), **unknown}
    )


def _cuda_use() -> dict[str, Any]:
    """See `cuda_use`, without importing torch in a stage that has not used it."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    from mav_lightning.training.timing import cuda_use

    return cuda_use()


def _clock(place: Any) -> Callable[[], float]:
    """Gives the seconds that the stage has taken so far: all that earlier attempts kept, and this one's."""
    from mav_lightning.common.json_files import read_json

    before, started = (read_json(place.spent_file) or {"seconds": 0.0})["seconds"], time.monotonic()
    return lambda: before + time.monotonic() - started


def _reporter(place: Any, spent: Callable[[], float]) -> Any:
    """A `Track` that about once a second tells the study's driver how far the stage is, and keeps its time."""
    from mav_lightning.common.json_files import write_json

    def track(items: Iterable[T], total: int, description: str) -> Iterator[T]:
        told = 0.0
        for done, item in enumerate(items, start=1):
            yield item
            if time.monotonic() - told > 1.0:
                place.write_progress(done, total, description)
                write_json(place.spent_file, {"seconds": round(spent(), 3)})
                told = time.monotonic()

    return track
