"""The motion measures of a whole folder, at one frame rate or several."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from evaluation.arguments import check_argument
from evaluation.clip_sources import VideoSource, sources_sha256, with_content
from evaluation.cuts import Cut, Window, read_cut, source_info
from evaluation.extractors.motion_measures import NAMES, MotionMeasures
from evaluation.failures import Failures
from evaluation.folders import open_clips
from evaluation.metrics.base import to_plain
from evaluation.metrics.motion_summary import MotionSummary
from evaluation.motion.working_size import LONGER_SIDE
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import PositiveFloat
from mav_lightning.common.tracking import Track, untracked

__all__ = ["motion_of"]


def motion_of(folder: Path, frames: int, rates: Sequence[float] = (), track: Track = untracked) -> dict[str, Any]:
    """Measures the motion of every clip of a folder, by no network at all.

    Args:
        folder: As `evaluation.folders.open_clips` takes it.
        frames: Of each clip, from its start; 3 or more.
        rates: Frames per second to cut videos at, each at all of them. Empty: consecutive frames, as they are stored.
            Clips of a manifest are always taken as they are.
        track: Wraps the clips, to show progress.

    Returns:
        Plain data: ``protocol``, ``n``, ``metrics`` (name → `Score`; with several rates also ``name@fps``, and
        ``displacement-slope``, 1 for clips that play real time), ``clips`` (id → values) and ``generated_sha256``.

    Raises:
        UserError: A folder without clips, an argument out of range, or clips that cannot be measured: all of them are
            counted, the first named.
    """
    check_argument("frames", frames, Annotated[int, Ge(3)])
    check_argument("rates", list(rates), list[PositiveFloat])
    sources = with_content(open_clips(folder))
    asked: list[float | None] = [*rates] or [None]
    wishes = [(source, rate) for source in sources for rate in (asked if source.fps is None else [source.fps])]
    cuts, values = _measured(folder, wishes, frames, track)
    fps, groups = np.array([cut.fps for cut in cuts]), [cut.source.group for cut in cuts]
    scores = MotionSummary.summarize(values, fps, groups, by_rate=all(rate for _, rate in wishes))
    results: dict[str, Any] = to_plain({
        "protocol": {"name": "motion", "frames": frames, "fps": list(rates) or None, "longer_side": LONGER_SIDE},
        "n": {"generated": len(cuts)},
        "metrics": {name: asdict(score) for name, score in scores.items()},
        "clips": {cut.id: dict(zip(NAMES, row.tolist(), strict=True)) for cut, row in zip(cuts, values, strict=True)},
        "generated_sha256": sources_sha256(sources),
    })  # fmt: skip
    return results


def _measured(
    folder: Path, wishes: Sequence[tuple[VideoSource, float | None]], frames: int, track: Track
) -> tuple[list[Cut], NDArray[np.float64]]:
    """The clips and their values, in the order of `NAMES`."""
    cuts, rows, failures, motion = list[Cut](), [], Failures(), MotionMeasures()
    for source, rate in track(wishes, len(wishes), "clips"):
        try:
            cut = _cut(source, rate, frames)
            rows.append(motion.prepare(read_cut(cut, None))[0].double().numpy())
            cuts.append(cut)
        except UserError as error:
            failures.add(f"{source.id} at {rate:g} fps" if rate else source.id, str(error))
    failures.raise_any(len(wishes), f"clips of {folder}")
    return cuts, np.array(rows)


def _cut(source: VideoSource, rate: float | None, frames: int) -> Cut:
    """The first frames: as stored, or cut by time where a rate is asked of a video that names none itself."""
    info = source_info(source)
    window = Window(frames, rate if source.fps is None else None)
    if window.room(info) is None:
        raise UserError(window.unfit(info))
    return window.cut(f"{source.id}@{window.rate or info.fps:g}", source, info.fps)
