"""The study in TensorBoard's HParams tab: one run a trial, every metric declared."""

import os
import shutil
from pathlib import Path
from typing import Any

from mav_lightning.ablation.results import StudyResults, TrialResult

__all__ = ["write_hparams"]


def write_hparams(results: StudyResults) -> Path:
    """Writes ``<study>/tensorboard`` anew, as appended events would show every trial twice.

    Returns:
        The folder to give to ``tensorboard --logdir``.
    """
    folder, partial = results.root / "tensorboard", results.root / f".tensorboard.{os.getpid()}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    study = results.plan.study
    changed = sorted({key for name in study.variants for key in study.deltas(name)} - set(study.overrides))
    for result in results.trials:
        if result.complete:
            deltas = study.deltas(result.trial.variant)
            parameters = {key: _plain(deltas.get(key, "as in the recipe")) for key in changed}
            _write_run(partial, result, parameters, [metric.name for metric in study.metrics])
    shutil.rmtree(folder, ignore_errors=True)
    try:
        os.replace(partial, folder)
    except OSError:  # another driver of the same study put the same there in between
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _write_run(folder: Path, result: TrialResult, parameters: dict[str, Any], metrics: list[str]) -> None:
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    trial = result.trial
    values = {f"study/{name}": value for name in metrics if (value := result.value(name)) is not None}
    # SummaryWriter.add_hparams would hide these in a sub-run named by the clock
    summaries = hparams({"variant": trial.variant, "seed": trial.seed, **parameters}, values)
    with SummaryWriter(str(folder / f"{trial.variant}-seed{trial.seed}")) as writer:
        for summary in summaries:
            writer.file_writer.add_summary(summary)
        for name, value in values.items():
            writer.add_scalar(name, value, 0)


def _plain(value: Any) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else str(value)
