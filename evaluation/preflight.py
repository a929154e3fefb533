"""Checks of an evaluation before any clip exists or is read: frames, frame rates, numbers of clips and weights."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch

from evaluation.clip_selection import enough_real
from evaluation.clip_sources import Clip, VideoSource
from evaluation.cuts import source_info
from evaluation.extractors.base import LoadedExtractor
from evaluation.folders import open_clips
from evaluation.protocol import Protocol, known_protocols, load_protocol
from mav_lightning.common.errors import Refusals, UserError
from mav_lightning.common.planned_clips import PlannedClips

__all__ = [
    "check_counts",
    "check_planned",
    "fitting_protocols",
    "load_extractors",
    "other_protocols",
]

_SIDE = 64  # pixels of the blank clip; extractors resize


def check_planned(protocol: Protocol, clips: PlannedClips, weights: Path, real: Path | None = None) -> Refusals:
    """Check whether clips that will be generated can be measured under a protocol.

    Args:
        protocol: The protocol.
        clips: The clips that will be generated.
        weights: Folder of extractor weights.
        real: Folder of the real clips. None if it does not exist yet.

    Returns:
        Everything that will fail.
    """
    refusals = Refusals()
    needed = 1 + (protocol.frames - 1) * (protocol.stride or 1)
    unknown = [rate for rate in clips.fps if rate not in (protocol.fps or clips.fps)]
    if clips.frames < needed or unknown:
        refusals.add(_unfit(protocol, clips, needed, unknown))
    loaded: dict[str, LoadedExtractor] = {}
    with refusals.collect():
        loaded = load_extractors(protocol, weights)
    wanted = protocol.generated.clips
    if wanted is not None and clips.count < wanted:
        refusals.add(
            UserError(
                f"protocol {protocol.name} requires {wanted} generated clips, but there will be {clips.described}; "
                f"{clips.way_to(wanted)}, or use a protocol with fewer."
            )
        )
    elif loaded:
        with refusals.collect():
            check_counts(protocol, loaded, {"generated": clips.count}, clips.described, clips.way_to)
    if real is not None and protocol.real is not None:
        with refusals.collect():
            enough_real(open_clips(real, protocol.real.split), protocol, protocol.real, clips.fps)
    return refusals


def check_counts(
    protocol: Protocol,
    loaded: Mapping[str, LoadedExtractor],
    counts: Mapping[str, int],
    described: str = "",
    way_to: Callable[[int], str] | None = None,
) -> None:
    """Check whether there are enough clips for every metric.

    Args:
        protocol: The protocol.
        loaded: Name → extractor.
        counts: ``generated``, ``real`` or both → number of clips.
        described: Description of the clips in messages. Empty uses their number.
        way_to: Returns how to make a number of clips. None for "provide more".

    Raises:
        UserError: If there are too few clips; names every metric that needs more.
    """
    shape_of = cache(lambda name: _shape(loaded[name], protocol.frames))
    fewest = {name: metric.fewest_clips(shape_of) for name, metric in protocol.metrics.items()}
    for side, count in counts.items():
        short = {
            name: least
            for name, least in fewest.items()
            if least > count and (side == "generated" or protocol.metrics[name].needs_real)
        }
        if not short:
            continue
        needs = ", ".join(f"`{name}` needs {least}" for name, least in short.items())
        how = way_to(max(short.values())) if way_to else f"provide at least {max(short.values())}"
        raise UserError(
            f"{described or f'{count} {side} clips'} are too few: {needs}; {how}, or measure other metrics."
        )


def load_extractors(protocol: Protocol, weights: Path) -> dict[str, LoadedExtractor]:
    """Load every extractor of a protocol.

    Args:
        protocol: The protocol.
        weights: Folder of extractor weights.

    Raises:
        UserError: If weights are missing or not those pinned; all such files are named.
    """
    refusals, loaded = Refusals(), dict[str, LoadedExtractor]()
    for name, settings in protocol.extractors.items():
        with refusals.collect(), torch.no_grad():
            loaded[name] = settings.load(weights)
    refusals.raise_any(f"extractors of protocol {protocol.name} cannot be loaded")
    return loaded


def fitting_protocols(frames: int, fps: Sequence[float], count: int) -> list[str]:
    """Return the shipped protocols that clips fit.

    Args:
        frames: Frames of each clip.
        fps: Frame rates of the clips.
        count: Number of clips.
    """
    known = [load_protocol(name) for name in known_protocols()]
    return [
        one.name
        for one in known
        if 1 + (one.frames - 1) * (one.stride or 1) <= frames
        and (one.fps is None or set(fps) <= set(one.fps))
        and (one.generated.clips or 0) <= count
    ]


def other_protocols(sources: Sequence[VideoSource], protocol: Protocol) -> str:
    """Return a sentence that names the shipped protocols that fit the generated clips, judged by the first clip.

    Args:
        sources: The clips.
        protocol: The protocol that they do not fit.

    Returns:
        The sentence, after a space; empty if there is no such protocol.
    """
    rates = sorted({source.fps for source in sources if source.fps})
    try:
        frames = source_info(sources[0]).frames
    except UserError:
        return ""
    fitting = [name for name in fitting_protocols(frames, rates, len(sources)) if name != protocol.name]
    at = f" at {', '.join(f'{rate:g}' for rate in rates)} frames per second" if rates else ""
    return f" Protocols that take clips of {frames} frames{at}: {', '.join(fitting)}." if fitting else ""


def _unfit(protocol: Protocol, clips: PlannedClips, needed: int, unknown: Sequence[float]) -> UserError:
    rates = ", ".join(f"{rate:g}" for rate in clips.fps)
    wants = f"{needed} frames" if clips.frames < needed else ""
    if unknown:
        wants += f"{' and ' if wants else ''}{', '.join(f'{rate:g}' for rate in protocol.fps or ())} frames per second"
    fitting = fitting_protocols(clips.frames, clips.fps, clips.count)
    others = f"protocols that take them are {', '.join(fitting)}" if fitting else "no shipped protocol takes them"
    return UserError(
        f"the clips will have {clips.frames} frames at {rates} frames per second, but protocol {protocol.name} needs "
        f"{wants}; {others}."
    )


def _shape(one: LoadedExtractor, frames: int) -> tuple[int, int]:
    """Return rows and columns of an extractor's features, measured on one blank clip."""
    blank = Clip("blank", np.zeros((frames, _SIDE, _SIDE, 3), np.uint8), 8.0)
    with torch.inference_mode():
        rows, columns = one.extractor(one.extractor.prepare(blank)[None]).shape[1:]
    return int(rows), int(columns)
