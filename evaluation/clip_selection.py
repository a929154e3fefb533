"""Selection of the clips that are measured, from video headers and the protocol's seed alone."""

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

import numpy as np

from evaluation.clip_sources import VideoSource
from evaluation.cuts import Cut, Window, source_info
from evaluation.failures import Failures
from evaluation.protocol import Protocol, RealClips, Start
from mav_lightning.common.errors import UserError
from mav_lightning.media.media_reader import VideoInfo

__all__ = ["enough_real", "plan_generated", "plan_real"]


def plan_generated(sources: Sequence[VideoSource], protocol: Protocol, force: bool = False) -> list[Cut]:
    """Select one clip of every generated video that is measured.

    If the protocol has frame rates, clips of a known rate are taken frame by frame, since they were made for it; other
    videos are cut at the protocol's rates in turn.

    Args:
        sources: The generated videos.
        protocol: Protocol with the number, length, frame rates and seed of clips.
        force: Accept fewer videos, and frame rates outside the protocol.

    Raises:
        UserError: If there are too few videos or a frame rate is outside the protocol, unless `force`; if videos are
            too short, too slow or unreadable: all of them are counted, the first ones named.
    """
    sources, rng = _as_many(sources, protocol, force), np.random.default_rng(protocol.seed)
    cuts, failures = [], Failures()
    for number, source in enumerate(sources):
        try:
            cuts.append(_generated(source, number, protocol, force, rng))
        except UserError as error:
            failures.add(source.id, str(error))
    failures.raise_any(len(sources), "generated clips", "Fix or remove them.")
    return cuts


def plan_real(sources: Sequence[VideoSource], protocol: Protocol, real: RealClips, rates: Sequence[float]) -> list[Cut]:
    """Select the real clips with the protocol's seed; videos too short or too slow are skipped.

    Args:
        sources: The real videos, ordered by id.
        protocol: Protocol with the length of clips and the seed.
        real: Number, choice and start of the real clips.
        rates: Frame rate of each generated clip, whose proportions the real clips keep. Empty if the protocol has a
            stride instead.

    Raises:
        UserError: If videos are unreadable, none is long enough, or there are fewer than required and none may be used
            twice.
    """
    infos = _infos(sources)
    if real.choice == "windows":
        cuts = _windows(sources, infos, protocol, real.clips or 0)
    else:
        cuts = _by_video(sources, infos, protocol, real, rates)
    if real.clips is not None and len(cuts) < real.clips and not real.fewer:
        raise _too_few(sources, protocol, real, len(cuts))
    return sorted(cuts, key=lambda cut: cut.id)


def _by_video(
    sources: Sequence[VideoSource],
    infos: Sequence[VideoInfo],
    protocol: Protocol,
    real: RealClips,
    rates: Sequence[float],
) -> list[Cut]:
    """Cut clips of videos in the protocol's order, using each once before any is used again."""
    rng, waiting, used = np.random.default_rng(protocol.seed), list[int](), set[int]()
    wanted, cuts = real.clips or len(sources), list[Cut]()
    asked: list[float | None] = [*sorted(rates)] or [None]
    windows = {rate: _window(protocol, rate) for rate in set(asked)}
    rooms_at = {rate: _rooms(infos, window) for rate, window in windows.items()}
    for number in range(wanted):
        rate = asked[number * len(asked) // wanted]
        window, rooms = windows[rate], rooms_at[rate]
        fit = rooms.keys() if real.repeat else rooms.keys() - used
        if not fit:
            break
        if fit.isdisjoint(waiting):
            waiting += _by_name(sources) if real.choice == "first" else rng.permutation(len(sources)).tolist()
        chosen = next(index for index in waiting if index in fit)
        waiting.remove(chosen)
        used.add(chosen)
        start = _start(real.start, rooms[chosen], window, rng)
        cuts.append(window.cut(f"{sources[chosen].id}#{number}", sources[chosen], infos[chosen].fps, start))
    return cuts


def _by_name(sources: Sequence[VideoSource]) -> list[int]:
    """Order videos by name alone, as code does that keeps a folder per video and all of them in one folder."""
    names = [(PurePosixPath(source.id).stem, source.id) for source in sources]
    return sorted(range(len(sources)), key=names.__getitem__)


def _windows(sources: Sequence[VideoSource], infos: Sequence[VideoInfo], protocol: Protocol, wanted: int) -> list[Cut]:
    """Draw among all runs of frames of all videos, none twice."""
    window = _window(protocol, None)
    rooms = _rooms(infos, window)
    numbers, ends = list(rooms), np.cumsum([int(room) + 1 for room in rooms.values()])
    drawn = np.random.default_rng(protocol.seed).choice(ends[-1], min(wanted, int(ends[-1])), replace=False)
    cuts = []
    for number, place in enumerate(drawn.tolist()):
        row = int(np.searchsorted(ends, place, side="right"))
        chosen, start = numbers[row], place - (int(ends[row - 1]) if row else 0)
        cuts.append(window.cut(f"{sources[chosen].id}#{number}", sources[chosen], infos[chosen].fps, start))
    return cuts


def enough_real(sources: Sequence[VideoSource], protocol: Protocol, real: RealClips, rates: Sequence[float]) -> None:
    """Check that `plan_real` will find enough videos, reading only as many headers as that takes.

    Args:
        sources: The real videos.
        protocol: Protocol with the length and, if it has one, the stride of clips.
        real: Required number of real clips, and how they are chosen.
        rates: Frame rates of the generated clips.

    Raises:
        UserError: If too few videos are long and fast enough.
    """
    wanted = 1 if real.repeat or real.fewer else real.clips or 1
    for rate in sorted(set(rates)) if protocol.fps else [None]:
        window, found, longest = _window(protocol, rate), 0, None
        for source in sources:
            info = source_info(source)
            room = window.room(info)
            found += 0 if room is None else int(room) + 1 if real.choice == "windows" else 1
            longest = max(filter(None, (longest, info)), key=lambda one: one.duration)
            if found >= wanted:
                break
        if not found and longest is not None:
            raise UserError(f"the longest real video {window.unfit(longest)}.")
        if found < wanted:
            raise _too_few(sources, protocol, real, found)


def _too_few(sources: Sequence[VideoSource], protocol: Protocol, real: RealClips, found: int) -> UserError:
    different = "" if real.choice == "windows" else " of different videos"
    return UserError(
        f"protocol {protocol.name} requires {real.clips} real clips{different}, but the {len(sources)} videos give "
        f"only {found}; provide more or longer ones, or use a protocol with fewer."
    )


def _as_many(sources: Sequence[VideoSource], protocol: Protocol, force: bool) -> Sequence[VideoSource]:
    wanted = protocol.generated.clips
    if wanted is None or len(sources) == wanted:
        return sources
    if len(sources) < wanted:
        if force:
            return sources
        raise UserError(
            f"protocol {protocol.name} requires {wanted} generated clips, got {len(sources)}; generate more, or set "
            "`force`, and do not compare with published numbers."
        )
    drawn = np.random.default_rng(protocol.seed).choice(len(sources), wanted, replace=False)
    return [sources[index] for index in sorted(drawn)]


def _generated(source: VideoSource, number: int, protocol: Protocol, force: bool, rng: np.random.Generator) -> Cut:
    start = protocol.generated.start
    if protocol.fps is not None and source.fps is not None:
        if source.fps not in protocol.fps and not force:
            raise UserError(
                f"made for {source.fps:g} fps, but protocol {protocol.name} measures {_list(protocol.fps)} only; "
                "generate at one of these, or set `force`"
            )
        windows = [Window(protocol.frames)]
    else:
        windows = [_window(protocol, rate) for rate in protocol.fps or [None]]
    if start == "first" and windows[0].rate is None and source.fps is not None:
        return windows[0].cut(source.id, source, source.fps)  # no need to open it
    info = source_info(source)
    fitting = [window for window in windows if window.room(info) is not None]
    if not fitting:
        raise UserError(windows[-1].unfit(info))
    window = fitting[number % len(fitting)]
    return window.cut(source.id, source, info.fps, _start(start, window.room(info) or 0, window, rng))


def _window(protocol: Protocol, rate: float | None) -> Window:
    return Window(protocol.frames, rate) if protocol.stride is None else Window(protocol.frames, None, protocol.stride)


def _start(kind: Start, room: float, window: Window, rng: np.random.Generator) -> float:
    by_time: dict[Start, Callable[[], float]] = {
        "first": lambda: 0.0,
        "center": lambda: room / 2,
        "random": lambda: float(rng.uniform(0.0, room)),
    }
    if window.rate is not None:
        return by_time[kind]()
    return int(rng.integers(int(room) + 1)) if kind == "random" else int(by_time[kind]())


def _infos(sources: Sequence[VideoSource]) -> list[VideoInfo]:
    infos, failures = [], Failures()
    for source in sources:
        try:
            infos.append(source_info(source))
        except UserError as error:
            failures.add(source.id, str(error))
    failures.raise_any(len(sources), "real videos", "Fix or remove them.")
    return infos


def _rooms(infos: Sequence[VideoInfo], window: Window) -> dict[int, float]:
    """Return, for each video that is long enough, its number and the latest start in it."""
    rooms = {index: room for index, info in enumerate(infos) if (room := window.room(info)) is not None}
    if not rooms:
        longest = max(infos, key=lambda info: info.duration)
        raise UserError(f"the longest real video {window.unfit(longest)}.")
    return rooms


def _list(rates: Sequence[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in rates)
