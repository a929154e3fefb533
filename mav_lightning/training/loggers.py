"""Experiment loggers by name, stored in the run's folder and offline by default."""

import csv
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning_utilities.core.rank_zero import rank_zero_only

from mav_lightning.common.errors import UserError, nearest
from mav_lightning.common.json_files import write_json
from mav_lightning.common.log_names import board_folder
from mav_lightning.common.schema import read_json
from mav_lightning.training.continued_board import continue_board

__all__ = ["LoggerChoice", "LoggerName", "Tags", "log_tags", "make_loggers", "with_offline_loggers"]

LoggerName = Literal["tensorboard", "csv", "wandb", "mlflow"]
LoggerChoice = bool | LoggerName | Logger | Sequence[LoggerName | Logger]
Tags = Mapping[str, str | int]

PROJECT = "mav-lightning"
IDS = "logger_ids.json"


def make_loggers(choice: LoggerChoice, out: Path, step: int | None, tags: Tags, name: str) -> list[Logger]:
    """Build the loggers of a run.

    Args:
        choice: True for TensorBoard, False for none, a short name, a logger, or a sequence of names and loggers.
        out: The run's folder. Loggers given by name write there and never to a server: W&B runs offline (upload them
            with ``wandb sync``), MLflow uses a file store.
        step: Optimizer step that the run resumes from; None for a new run.
        tags: Tag → value, for example variant and seed.
        name: Name of the run.

    Raises:
        UserError: If a name is unknown, or its package is not installed.
    """
    if isinstance(choice, bool):
        choice = ["tensorboard"] if choice else []
    if isinstance(choice, str | Logger):
        choice = [choice]
    return [one if isinstance(one, Logger) else _by_name(one, out, step, tags, name) for one in choice]


def with_offline_loggers(settings: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Complete the logger nodes of a config: unless set otherwise, they write into the run's folder and stay offline.

    Args:
        settings: The ``fit`` section of a config.
        out: The run's folder.
    """

    def complete(node: Any) -> Any:
        if isinstance(node, list):
            return [complete(one) for one in node]
        kind = str(node.get("_target_")).rpartition(".")[2] if isinstance(node, Mapping) else None
        if kind == "WandbLogger":
            return {"save_dir": str(out), "project": PROJECT, "offline": True} | dict(node)
        if kind == "MLFlowLogger":
            return {"save_dir": str((out / "mlruns").absolute()), "experiment_name": PROJECT} | dict(node)
        return node

    return {key: complete(value) if key == "logger" else value for key, value in settings.items()}


def log_tags(loggers: Sequence[Logger], tags: Tags) -> None:
    """Record a run's tags as hyperparameters of every logger: HParams, ``hparams.yaml``, config or parameters."""
    if tags:
        for logger in loggers:
            logger.log_hyperparams(dict(tags))


def _by_name(kind: str, out: Path, step: int | None, tags: Tags, name: str) -> Logger:
    makers: dict[str, Callable[[Path, int | None, Tags, str], Logger]] = {
        "tensorboard": _tensorboard,
        "csv": _csv,
        "wandb": _wandb,
        "mlflow": _mlflow,
    }
    if kind not in makers:
        known = ", ".join(get_args(LoggerName))
        raise UserError(
            f"unknown logger `{kind}`; known are {known}.", argument="logger", suggestion=nearest(str(kind), makers)
        )
    try:
        return makers[kind](out, step, tags, name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"the logger `{kind}` needs a package that is not installed; run `pip install {kind}`.", argument="logger"
        ) from error


class RunBoard(TensorBoardLogger):
    """TensorBoard without the epoch, which would be the first card and counts nothing here: training goes by steps."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log scalars, by name."""
        super().log_metrics({name: value for name, value in metrics.items() if name != "epoch"}, step)


def _tensorboard(out: Path, step: int | None, tags: Tags, name: str) -> Logger:
    folder = board_folder(out, name)
    if step is not None:
        continue_board(folder)
    # purge_step hides what an interrupted run wrote after its last checkpoint, or before its first; steps count from 0
    return RunBoard(folder.parent, name="", version=folder.name, default_hp_metric=False, purge_step=step or 0)


def _csv(out: Path, step: int | None, tags: Tags, name: str) -> Logger:
    return ContinuedCSVLogger(out, step)


class ContinuedCSVLogger(CSVLogger):
    """CSV logger that continues ``csv/metrics.csv`` of an interrupted run; Lightning's deletes it.

    Args:
        out: The run's folder.
        step: Optimizer step that the run resumes from; later rows are dropped. None drops all.
    """

    def __init__(self, out: Path, step: int | None) -> None:
        super().__init__(out, name="csv", version="")
        self._step = step

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer, which begins with the rows of the steps before the one that the run resumes at."""
        if self._experiment is None:
            file = Path(self.log_dir) / "metrics.csv"
            before = file.with_suffix(".before")  # there if the process was killed here, or the disk was full
            if file.exists() and not before.exists():
                file.rename(before)
            file.unlink(missing_ok=True)  # otherwise Lightning warns that it does so
            writer: Any = CSVLogger.experiment.fget(self)  # type: ignore[attr-defined]
            writer.metrics = [] if self._step is None else _rows_before(before, self._step)
            writer.save()
            before.unlink(missing_ok=True)
        return self._experiment


def _rows_before(file: Path, step: int) -> list[dict[str, str]]:
    """Return the rows of a CSV file for the first steps, which count from 0; empty without a file."""
    if not file.exists():
        return []
    with file.open(newline="") as lines:
        return [row for row in csv.DictReader(lines) if (row.get("step") or "").isdigit() and int(row["step"]) < step]


def _wandb(out: Path, step: int | None, tags: Tags, name: str) -> Logger:
    out.mkdir(parents=True, exist_ok=True)
    return WandbLogger(
        name=name,
        save_dir=out,
        project=PROJECT,
        offline=True,
        id=_kept_id(out, "wandb"),
        tags=[f"{tag}={value}" for tag, value in tags.items()],
    )


def _mlflow(out: Path, step: int | None, tags: Tags, name: str) -> Logger:
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3 refuses file stores without it
    logger = MLFlowLogger(
        experiment_name=PROJECT,
        run_name=name,
        tracking_uri=(out / "mlruns").absolute().as_uri(),
        tags={tag: str(value) for tag, value in tags.items()},
        run_id=_read_ids(out).get("mlflow"),
    )
    _keep_id(out, "mlflow", logger.run_id)
    return logger


def _kept_id(out: Path, name: str) -> str:
    """Return the tracker's id of this run, the same after a restart."""
    found = _read_ids(out).get(name) or uuid.uuid4().hex
    _keep_id(out, name, found)
    return found


def _read_ids(out: Path) -> dict[str, str]:
    file = out / IDS
    found: dict[str, str] = read_json(file, dict[str, str]) if file.exists() else {}
    return found


@rank_zero_only
def _keep_id(out: Path, name: str, value: str | None) -> None:
    if value is not None:
        write_json(out / IDS, _read_ids(out) | {name: value})
