"""The motion measures of a whole folder, at one frame rate or several."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation import intervals
from evaluation.clips import Clip, VideoSource, folder_sha256, open_clips
from evaluation.motion.extractor import NAMES, Motion
from evaluation.motion.working_size import LONGER_SIDE
from evaluation.summary import Better, Score, plain
from mav_lightning.common.errors import UserError
from mav_lightning.common.video import probe, read_frames, read_frames_at

__all__ = ["motion_of"]

Track = Callable[[Iterable[Any], int, str], Iterable[Any]]  # items, their number, what is done with them → the items

# Unit, and which way is better: displacement has no better, loops are one wish among others.
_KINDS: dict[str, tuple[str, Better]] = {
    "displacement": ("widths per frame", "neither"),
    "moving_displacement": ("widths per frame", "neither"),
    "warped_flicker": ("grey levels", "lower"),
    "compared_share": ("share of pixels", "higher"),
    "temporal_consistency": ("SSIM", "higher"),
    "loop_closure": ("median steps", "neither"),
    "freeze_share": ("share of steps", "lower"),
}


def motion_of(folder: Path, frames: int, rates: Sequence[float] = (), track: Track | None = None) -> dict[str, Any]:
    """Measures the motion of every clip of a folder, by no network at all.

    Args:
        folder: As `evaluation.clips.open_clips` takes it.
        frames: Of each clip, from its start; 3 or more.
        rates: Frames per second to cut videos at, each at all of them. Empty: consecutive frames, as they are stored.
            Clips of a manifest are always taken as they are.
        track: Wraps the clips, to show progress. None shows nothing.

    Returns:
        Plain data: ``protocol``, ``n``, ``metrics`` (name → `Score`; with several rates also ``name@fps``, and
        ``displacement-slope``, 1 for clips that play real time), ``clips`` (id → values) and ``generated_sha256``.

    Raises:
        UserError: A folder without clips, an argument out of range, or clips that cannot be measured: all of them are
            counted, the first named.
    """
    if frames < 3 or any(rate <= 0 for rate in rates):
        raise UserError(f"motion: needs 3 frames or more and positive rates, got {frames} and {list(rates)}.")
    clips, values, asked = _measured(folder, frames, rates, track or (lambda items, total, description: items))
    fps = np.array([clip.fps for clip in clips])
    return plain({
        "protocol": {"name": "motion", "frames": frames, "fps": list(rates) or None, "longer_side": LONGER_SIDE},
        "n": {"generated": len(clips)},
        "metrics": {name: asdict(score) for name, score in _scores(values, fps, clips, asked).items()},
        "clips": {
            _name(clip): dict(zip(NAMES, map(float, row), strict=True)) for clip, row in zip(clips, values, strict=True)
        },
        "generated_sha256": folder_sha256(folder),
    })  # fmt: skip


def _measured(
    folder: Path, frames: int, rates: Sequence[float], track: Track
) -> tuple[list[Clip], NDArray[np.float64], bool]:
    """Every clip without its pixels, its values in the order of `NAMES`, and whether all rates were asked for."""
    asked: list[float | None] = [*rates] or [None]
    sources = open_clips(folder)
    wishes = [(source, rate) for source in sources for rate in (asked if source.fps is None else [source.fps])]
    clips: list[Clip] = []
    rows: list[NDArray[np.float64]] = []
    bad: dict[str, str] = {}
    for source, rate in track(wishes, len(wishes), "clips"):
        try:
            clip = _read(source, rate, frames)
            rows.append(Motion().prepare(clip)[0].double().numpy())
        except UserError as error:
            bad[f"{source.id} at {rate:g} fps" if rate else source.id] = str(error)
        else:
            clips.append(replace(clip, pixels=clip.pixels[:0]))
    if bad:
        name, reason = next(iter(bad.items()))
        counted = f"{len(bad)} of {len(wishes)} clips cannot be measured"
        raise UserError(f"{folder}: {counted}; the first, `{name}`: {reason}")
    return clips, np.array(rows), all(rate for _, rate in wishes)


def _read(source: VideoSource, rate: float | None, frames: int) -> Clip:
    """The first frames: as stored, or cut by time where a rate is asked of a video that names none itself."""
    stored, fps = source.read(), rate
    if isinstance(stored, np.ndarray):
        pixels = stored[:frames]
    elif source.fps is not None or rate is None:
        pixels, fps = read_frames(stored)[:frames], source.fps or probe(stored).fps
    else:
        info = probe(stored)
        needed = (frames - 1) / rate
        if rate > info.fps * 1.001 or (info.frames - 1) / info.fps < needed - 1e-3 / info.fps:
            raise UserError(
                f"{info.frames} frames at {info.fps:g} fps, but {frames} at {rate:g} fps need {needed:g} s at no less "
                "than that rate; give fewer frames or another rate."
            )
        pixels = read_frames_at(stored, [number / rate for number in range(frames)])
    if len(pixels) < frames:
        raise UserError(f"has {len(pixels)} frames, {frames} are asked for; give a lower number of frames.")
    return Clip(source.id, pixels, float(fps or 0.0), source.prompt, source.attributes, source.group)


def _scores(
    values: NDArray[np.float64], fps: NDArray[np.float64], clips: Sequence[Clip], asked: bool
) -> dict[str, Score]:
    """Over all clips, and by rate where rates were asked for: other films' own rates tell of the films, not of time."""
    groups, known = np.array([clip.group for clip in clips]), np.unique(fps) if asked else fps[:0]
    chosen = {"": np.full(len(fps), True)} | ({f"@{rate:g}": fps == rate for rate in known} if len(known) > 1 else {})
    scores = {
        f"{name.replace('_', '-')}{suffix}": _mean(values[rows, column], groups[rows], *_KINDS[name])
        for suffix, rows in chosen.items()
        for column, name in enumerate(NAMES)
    }
    if len(known) > 1:
        scores["displacement-slope"] = _slope(values[:, NAMES.index("moving_displacement")], fps, groups)
    return scores


def _mean(values: NDArray[np.float64], groups: NDArray[np.str_], unit: str, better: Better) -> Score:
    kept = np.isfinite(values)
    # one value a source video: clips cut from one are not independent
    means = np.array([values[kept & (groups == group)].mean() for group in dict.fromkeys(groups[kept])])
    value = float(means.mean()) if len(means) else float("nan")
    kind = "Student's t of the mean over source videos, 95 %"
    return Score(value, intervals.mean(means), kind, int(kept.sum()), better, unit)


def _slope(steps: NDArray[np.float64], fps: NDArray[np.float64], groups: NDArray[np.str_]) -> Score:
    """How the step grows with the time between frames, log-log; still clips keep it from being the mean of slopes."""
    names = list(dict.fromkeys(groups))

    def slope(kept: NDArray[np.intp]) -> float:
        rows = np.isin(groups, [names[number] for number in kept])
        rates = np.unique(fps[rows])
        means = np.array([steps[rows & (fps == rate)].mean() for rate in rates])
        if len(rates) < 2 or not (means > 0).all():
            return float("nan")
        return float(np.polyfit(-np.log(rates), np.log(means), 1)[0])

    interval, kind = intervals.jackknife(slope, len(names)), "delete-one jackknife of source videos, 95 %"
    return Score(slope(np.arange(len(names))), interval, kind, len(steps), "one", "log-log slope")


def _name(clip: Clip) -> str:
    return f"{clip.id}@{clip.fps:g}"
