"""Clips, histograms and scalars for any logger, through one interface."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning_utilities.core.rank_zero import rank_zero_warn
from numpy.typing import NDArray

from mav_lightning.common.clip_summary import clip_summary, tile_clips
from mav_lightning.common.gif import encode_gif
from mav_lightning.common.json_files import write_json
from mav_lightning.common.whole_file import whole_file

__all__ = ["LoggerMedia", "log_clips", "log_histogram", "log_scalars"]

BINS = 30


class LoggerMedia(ABC):
    """Base class: how clips and histograms are passed to one kind of logger.

    Loggers count optimizer steps from 0, as Lightning does; files are named after the number of steps done.

    Args:
        logger: The logger.
        folder: Folder for files, within the run's folder.
    """

    def __init__(self, logger: Logger, folder: Path) -> None:
        self.logger: Any = logger
        self.folder = folder

    @abstractmethod
    def clips(self, tag: str, clips: NDArray[np.uint8], fps: float, step: int) -> None:
        """Log clips, shape (N, T, H, W, 3), uint8, that play at `fps` frames per second."""

    @abstractmethod
    def histogram(self, tag: str, values: NDArray[np.float32], step: int) -> None:
        """Log the distribution of values, shape (N,)."""


class FileMedia(LoggerMedia):
    """Clips as animated GIFs and histograms as JSON, in ``media/<tag>/step-<step>`` of the run's folder."""

    def clips(self, tag: str, clips: NDArray[np.uint8], fps: float, step: int) -> None:
        """Write a GIF of the clips side by side."""
        self._gif(tag, clips, fps, step)

    def histogram(self, tag: str, values: NDArray[np.float32], step: int) -> None:
        """Write bin edges and counts as JSON."""
        counts, edges = np.histogram(values, bins=BINS)
        write_json(self._file(tag, step, "json"), {"edges": edges.tolist(), "counts": counts.tolist()})

    def _gif(self, tag: str, clips: NDArray[np.uint8], fps: float, step: int) -> Path:
        file = self._file(tag, step, "gif")
        with whole_file(file) as partial:
            partial.write_bytes(encode_gif(tile_clips(clips), fps))
        return file

    def _file(self, tag: str, step: int, suffix: str) -> Path:
        return self.folder / tag / f"step-{step:08d}.{suffix}"


class TensorBoardMedia(LoggerMedia):
    """Clips as image summaries that play, histograms as TensorBoard's own."""

    def clips(self, tag: str, clips: NDArray[np.uint8], fps: float, step: int) -> None:
        """Write an image summary that holds an animated GIF."""
        # SummaryWriter has no public method for a finished summary
        self.logger.experiment._get_file_writer().add_summary(clip_summary(tag, clips, fps), step - 1)

    def histogram(self, tag: str, values: NDArray[np.float32], step: int) -> None:
        """Write a histogram summary."""
        self.logger.experiment.add_histogram(tag, values, step - 1)


class WandbMedia(FileMedia):
    """Clips and histograms as W&B media; the GIFs are stored in the run's folder as well."""

    def clips(self, tag: str, clips: NDArray[np.uint8], fps: float, step: int) -> None:
        """Log a GIF file, as W&B needs moviepy to encode arrays."""
        self.logger.log_video(tag, [str(self._gif(tag, clips, fps, step))], step - 1, format=["gif"])

    def histogram(self, tag: str, values: NDArray[np.float32], step: int) -> None:
        """Log a W&B histogram."""
        import wandb

        self.logger.log_metrics({tag: wandb.Histogram(values.tolist(), num_bins=BINS)}, step - 1)


class MLflowMedia(FileMedia):
    """Clips and histograms as artifacts of the MLflow run; the files are stored in the run's folder as well."""

    def clips(self, tag: str, clips: NDArray[np.uint8], fps: float, step: int) -> None:
        """Log a GIF file as an artifact."""
        self._artifact(tag, self._gif(tag, clips, fps, step))

    def histogram(self, tag: str, values: NDArray[np.float32], step: int) -> None:
        """Log bin edges and counts as a JSON artifact."""
        super().histogram(tag, values, step)
        self._artifact(tag, self._file(tag, step, "json"))

    def _artifact(self, tag: str, file: Path) -> None:
        self.logger.experiment.log_artifact(self.logger.run_id, str(file), f"media/{tag}")


_KINDS: dict[type[Logger], type[LoggerMedia]] = {
    TensorBoardLogger: TensorBoardMedia,
    CSVLogger: FileMedia,
    WandbLogger: WandbMedia,
    MLFlowLogger: MLflowMedia,
}


def log_clips(loggers: Sequence[Logger], out: Path, tag: str, clips: NDArray[np.uint8], fps: float, step: int) -> None:
    """Log clips to every logger.

    Args:
        loggers: The run's loggers. For a kind without support the clips are written as GIFs, with a warning.
        out: The run's folder.
        tag: Name of the series.
        clips: Shape (N, T, H, W, 3), uint8.
        fps: Frame rate at which they play, frames per second.
        step: Optimizer step.
    """
    for media in _media(loggers, out):
        media.clips(tag, clips, fps, step)


def log_histogram(loggers: Sequence[Logger], out: Path, tag: str, values: NDArray[np.float32], step: int) -> None:
    """Log the distribution of values to every logger.

    Args:
        loggers: The run's loggers. For a kind without support the histogram is written as JSON, with a warning.
        out: The run's folder.
        tag: Name of the series.
        values: Shape (N,).
        step: Optimizer step.
    """
    for media in _media(loggers, out):
        media.histogram(tag, values, step)


def log_scalars(loggers: Sequence[Logger], values: Mapping[str, float], step: int) -> None:
    """Log scalars, by name, to every logger."""
    if values:
        for logger in loggers:
            logger.log_metrics(dict(values), step)


def _media(loggers: Sequence[Logger], out: Path) -> list[LoggerMedia]:
    folder = out / "media"
    found: list[LoggerMedia] = []
    for logger in loggers:
        kind = next((media for known, media in _KINDS.items() if isinstance(logger, known)), None)
        if kind is None:
            rank_zero_warn(
                f"{type(logger).__name__} cannot log clips and histograms; they are written to {folder} as GIF and "
                "JSON."
            )
        found.append((kind or FileMedia)(logger, folder))
    return found
