"""TensorBoard view of a study: the HParams tab, and each training's curves, clips and histograms by variant."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mav_lightning.ablation.differences import settings
from mav_lightning.ablation.results import StudyResults, TrialResult
from mav_lightning.common.clip_summary import clip_summary
from mav_lightning.common.escaping import file_name
from mav_lightning.common.log_names import SAMPLES, board_run
from mav_lightning.common.manifest import ClipRecord, read_manifest
from mav_lightning.common.output import FolderContent
from mav_lightning.common.whole_file import new_folder
from mav_lightning.media.media_reader import read_frames

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

__all__ = ["write_board"]

SHOWN_CLIPS = 16  # per frame rate
_CONTENT = FolderContent(("*/events.out.tfevents.*",), "*/events.out.tfevents.*")


def write_board(results: StudyResults) -> Path:
    """Write ``<study>/tensorboard`` from scratch, because appended events would show every trial twice.

    The run ``<variant>-seed<seed>`` holds the settings and metrics of a trial, some of its clips as animations, and
    links to the logs of its trainings; ``all-seed<seed>`` links to those of the trainings that all variants share.

    Args:
        results: Results of the study.

    Returns:
        The folder to pass to ``tensorboard --logdir``.

    Raises:
        UserError: The folder holds a file that is not TensorBoard's, or the disk is full.
    """
    folder, complete = results.root / "tensorboard", False
    try:
        with new_folder(folder, _CONTENT) as partial:
            _fill(partial, results)
            complete = True
    except OSError:  # another process of the same study has written the same folder in the meantime
        if not complete:
            raise
    return folder


def _fill(folder: Path, results: StudyResults) -> None:
    study = results.plan.study
    changed = sorted({key for name in study.variants for key in study.deltas(name)} - set(study.overrides))
    for result in results.trials:
        _link_trainings(folder, results, result)
        if result.complete:
            _write_run(folder, result, changed, [metric.name for metric in study.metrics])


def _link_trainings(folder: Path, results: StudyResults, result: TrialResult) -> None:
    trial = result.trial
    for name, stage in trial.stages.items():
        logs = board_run(results.folder(stage).path)
        if logs is None:
            continue
        run = "all" if results.plan.shared(trial, name) else trial.variant
        link = folder / file_name(f"{run}-seed{trial.seed}") / file_name(name)
        if not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(logs.resolve(), link.parent.resolve()), target_is_directory=True)


def _write_run(folder: Path, result: TrialResult, changed: list[str], metrics: list[str]) -> None:
    from torch.utils.tensorboard import SummaryWriter, summary

    trial = result.trial
    own = {f"{stage}.{key}": value for stage, keys in settings(trial).items() for key, value in keys.items()}
    nodes = {key: own.get(f"{key}._target_", "not part of the system") for key in changed}
    parameters = {key: _plain(own.get(key, nodes[key])) for key in changed}
    values = {f"study/{name}": value for name in metrics if (value := result.value(name)) is not None}
    # SummaryWriter.add_hparams would write these to a sub-run named by the current time
    make_summaries: Any = summary.hparams  # untyped
    summaries = make_summaries({"variant": trial.variant, "seed": trial.seed, **parameters}, values)
    with SummaryWriter(str(folder / file_name(f"{trial.variant}-seed{trial.seed}"))) as writer:
        for one in summaries:
            writer.file_writer.add_summary(one)
        for name, value in values.items():
            writer.add_scalar(name, value, 0)
        if result.clips:
            for one in _clips(result.clips):
                writer.file_writer.add_summary(one)


def _clips(folder: Path) -> Iterator["Summary"]:
    """Yield the first clips of each frame rate; all variants show the same prompts, sampled from the same noise."""
    by_rate: dict[float, list[ClipRecord]] = {}
    for clip in read_manifest(folder):
        by_rate.setdefault(clip.fps, []).append(clip)
    for fps, clips in sorted(by_rate.items()):
        shown = np.stack([read_frames(folder / clip.file) for clip in clips[:SHOWN_CLIPS]])
        yield clip_summary(f"{SAMPLES}/{fps:g}fps", shown, fps)


def _plain(value: Any) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else str(value)
