"""Which frames of which video at which rate: planned first, from headers alone, and decoded one by one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from evaluation.clips import Clip, Frames, VideoSource
from evaluation.protocol import Protocol
from mav_lightning.common.errors import UserError
from mav_lightning.common.video import VideoError, VideoInfo, probe, read_frames, read_frames_at

__all__ = ["Cut", "plan_generated", "plan_real", "read_cut"]

_SLACK = 1e-3  # of a frame, for rates that containers round


@dataclass(frozen=True)
class Cut:
    """A clip to be read.

    Attributes:
        id: Unique on its side.
        source: The video.
        fps: Frames per second.
        start: In seconds; None takes the stored frames as they are.
    """

    id: str
    source: VideoSource
    fps: float
    start: float | None


def plan_generated(sources: Sequence[VideoSource], protocol: Protocol, force: bool = False) -> list[Cut]:
    """Takes clips of a manifest as they are; cuts other videos from their start, at the protocol's rates in turn.

    Raises:
        UserError: A rate outside the protocol, unless forced, or a video too short or too slow for all its rates.
    """
    cuts = []
    for number, source in enumerate(sources):
        if source.fps is not None:
            if source.fps not in protocol.fps and not force:
                raise UserError(
                    f"clip `{source.id}` was made for {source.fps:g} fps, but protocol {protocol.name} counts "
                    f"{_list(protocol.fps)} only; generate at one of these, or pass --force."
                )
            cuts.append(Cut(source.id, source, source.fps, start=None))
            continue
        info = _info(source)
        rates = [rate for rate in protocol.fps if _room(info, rate, protocol.frames) is not None]
        if not rates:
            raise _too_short(f"video `{source.id}`", info, protocol, protocol.fps)
        cuts.append(Cut(source.id, source, rates[number % len(rates)], start=0.0))
    return cuts


def plan_real(sources: Sequence[VideoSource], protocol: Protocol, rates: Sequence[float]) -> list[Cut]:
    """Cuts ``protocol.real_clips`` clips, at start times that depend on the protocol's seed alone.

    Args:
        sources: The real videos; each is used once before any is used again.
        protocol: Gives number, length and seed.
        rates: Of the generated clips, whose proportions the real ones keep.

    Raises:
        UserError: No video is long enough, or fast enough, for a rate.
    """
    rng, infos = np.random.default_rng(protocol.seed), [_info(source) for source in sources]
    waiting: list[int] = []  # videos not yet used in this round
    cuts = []
    for number in range(protocol.real_clips):
        rate = sorted(rates)[number * len(rates) // protocol.real_clips]
        fit = {index for index, info in enumerate(infos) if _room(info, rate, protocol.frames) is not None}
        if not fit:
            longest = max(infos, key=lambda info: info.duration)
            raise _too_short("the longest real video", longest, protocol, [rate])
        if fit.isdisjoint(waiting):
            waiting += rng.permutation(len(sources)).tolist()
        chosen = next(index for index in waiting if index in fit)
        waiting.remove(chosen)
        start = float(rng.uniform(0.0, _room(infos[chosen], rate, protocol.frames) or 0.0))
        cuts.append(Cut(f"{sources[chosen].id}#{number}", sources[chosen], rate, start))
    return cuts


def read_cut(cut: Cut, protocol: Protocol) -> Clip:
    """Decodes a cut and resizes it.

    Raises:
        UserError: Undecodable, or fewer frames than the protocol wants.
    """
    stored, times = cut.source.read(), (cut.start or 0.0) + np.arange(protocol.frames) / cut.fps
    if isinstance(stored, np.ndarray):
        picked = np.rint(times * (cut.source.fps or cut.fps)).astype(int)
        frames = stored if cut.start is None else stored[picked.clip(0, len(stored) - 1)]
    else:
        frames = read_frames(stored) if cut.start is None else read_frames_at(stored, times.tolist())
    if len(frames) < protocol.frames:
        raise UserError(
            f"clip `{cut.id}` has {len(frames)} frames, protocol {protocol.name} takes {protocol.frames}; "
            "generate longer clips or choose a protocol of fewer frames."
        )
    pixels = np.stack([square(frame, protocol.size) for frame in frames[: protocol.frames]])
    return Clip(cut.id, pixels, cut.fps, cut.source.prompt, cut.source.attributes, cut.source.group)


def square(frame: Frames, size: int) -> Frames:
    """Cuts the largest centred square and scales it: shrinking averages areas (box filter), enlarging is bicubic."""
    height, width = frame.shape[:2]
    side = min(height, width)
    if (height, width) == (size, size):
        return frame
    left, top = (width - side) / 2, (height - side) / 2
    kind = Image.Resampling.BOX if side >= size else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(frame).resize((size, size), kind, box=(left, top, left + side, top + side)))


def _info(source: VideoSource) -> VideoInfo:
    stored = source.read()
    try:
        if isinstance(stored, np.ndarray):
            return VideoInfo(source.fps or 0.0, len(stored), stored.shape[2], stored.shape[1])
        info = probe(stored)
    except VideoError as error:
        raise VideoError(f"video `{source.id}`: {error}") from error
    return info if source.fps is None else VideoInfo(source.fps, info.frames, info.width, info.height)


def _room(info: VideoInfo, rate: float, frames: int) -> float | None:
    """The latest start in seconds of `frames` frames at `rate`; None where they do not fit or would repeat frames."""
    room = (info.frames - 1) / info.fps - (frames - 1) / rate
    return None if rate > info.fps * (1 + _SLACK) or room < -_SLACK / info.fps else max(room, 0.0)


def _too_short(what: str, info: VideoInfo, protocol: Protocol, rates: Sequence[float]) -> UserError:
    return UserError(
        f"{what} has {info.frames} frames at {info.fps:g} fps, but {protocol.frames} frames at {_list(rates)} fps "
        f"need {(protocol.frames - 1) / max(rates):g} s at no less than that rate; bring longer or faster videos, or "
        "choose another protocol."
    )


def _list(rates: Sequence[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in rates)
