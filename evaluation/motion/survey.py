"""Motion measures of a folder of clips, at one frame rate or several."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from evaluation.clip_sources import VideoSource, sources_sha256, with_content
from evaluation.cuts import Cut, Window, read_cut, source_info
from evaluation.extractors.motion_measures import NAMES, MotionMeasures
from evaluation.failures import Failures
from evaluation.folders import open_clips
from evaluation.metrics.base import to_plain
from evaluation.metrics.motion_summary import MotionSummary
from mav_lightning.common.arguments import check_argument
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import PositiveFloat
from mav_lightning.common.tracking import Track, untracked
from mav_lightning.media.working_size import LONGER_SIDE

__all__ = ["motion_of"]

_MOST_FRAMES = 16  # unless more are asked for


def motion_of(
    folder: Path, frames: int | None = None, rates: Sequence[float] = (), track: Track = untracked
) -> dict[str, Any]:
    """Measure the motion of every clip of a folder, without any network.

    Args:
        folder: Folder of clips, see `evaluation.folders.open_clips`.
        frames: Number of frames measured per clip, from its start; 3 or more. None for 16, or the number that the
            shortest clip has.
        rates: Frame rates in frames per second; each video is cut at all of them. Empty for consecutive frames as
            stored. Clips with a manifest are never resampled.
        track: Progress tracker that wraps the iteration over clips.

    Returns:
        Plain data: ``protocol``, ``n``, ``metrics`` (name → `Score`; with several rates also ``name@fps``, and
        ``displacement-slope``, 1 for clips that play real time), ``clips`` (id → values) and ``generated_sha256``.

    Raises:
        UserError: If the folder has no clips, an argument is out of range, or clips cannot be measured (the message
            counts them and names the first).
    """
    check_argument("frames", frames, Annotated[int, Ge(3)] | None)
    check_argument("rates", list(rates), list[PositiveFloat])
    sources = with_content(open_clips(folder))
    wanted: list[float | None] = [*rates] or [None]
    requests = [(source, rate) for source in sources for rate in (wanted if source.fps is None else [source.fps])]
    frames = frames or _shortest(requests)
    cuts, values = _measured(folder, requests, frames, track)
    fps, groups = np.array([cut.fps for cut in cuts]), [cut.source.group for cut in cuts]
    scores = MotionSummary.summarize(values, fps, groups, by_rate=all(rate for _, rate in requests))
    results: dict[str, Any] = to_plain({
        "protocol": {"name": "motion", "frames": frames, "fps": list(rates) or None, "longer_side": LONGER_SIDE},
        "n": {"generated": len(cuts)},
        "metrics": {name: asdict(score) for name, score in scores.items()},
        "clips": {cut.id: dict(zip(NAMES, row.tolist(), strict=True)) for cut, row in zip(cuts, values, strict=True)},
        "generated_sha256": sources_sha256(sources),
    })  # fmt: skip
    return results


def _measured(
    folder: Path, requests: Sequence[tuple[VideoSource, float | None]], frames: int, track: Track
) -> tuple[list[Cut], NDArray[np.float64]]:
    """Return the clips and their values, in the order of `NAMES`."""
    cuts, rows, failures, motion = list[Cut](), [], Failures(), MotionMeasures()
    for source, rate in track(requests, len(requests), "clips"):
        try:
            cut = _cut(source, rate, frames)
            rows.append(motion.prepare(read_cut(cut, ()))[0].double().numpy())
            cuts.append(cut)
        except UserError as error:
            failures.add(f"{source.id} at {rate:g} fps" if rate else source.id, str(error))
    failures.raise_any(len(requests), f"clips of {folder}")
    return cuts, np.array(rows)


def _shortest(requests: Sequence[tuple[VideoSource, float | None]]) -> int:
    """Return the largest number of frames up to 16, and at least 3, that every readable clip has."""
    frames = _MOST_FRAMES
    for source, rate in requests:
        try:
            info = source_info(source)
        except UserError:  # is reported when the clip is measured
            continue
        while frames > 3 and _window(source, rate, frames).room(info) is None:
            frames -= 1
    return frames


def _window(source: VideoSource, rate: float | None, frames: int) -> Window:
    """Return the first frames: as stored, or resampled if `rate` is set and the source has no rate of its own."""
    return Window(frames, rate if source.fps is None else None)


def _cut(source: VideoSource, rate: float | None, frames: int) -> Cut:
    info, window = source_info(source), _window(source, rate, frames)
    if window.room(info) is None:
        raise UserError(window.unfit(info))
    return window.cut(f"{source.id}@{window.rate or info.fps:g}", source, info.fps)
