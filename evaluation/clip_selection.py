"""Which clips of which videos are measured: planned from headers and the protocol's seed alone."""

from collections.abc import Callable, Sequence

import numpy as np

from evaluation.clip_sources import VideoSource
from evaluation.cuts import Cut, Window, source_info
from evaluation.failures import Failures
from evaluation.protocol import Protocol, RealClips, Start
from mav_lightning.common.errors import UserError
from mav_lightning.common.video import VideoInfo

__all__ = ["plan_generated", "plan_real"]


def plan_generated(sources: Sequence[VideoSource], protocol: Protocol, force: bool = False) -> list[Cut]:
    """One clip of every generated video that counts.

    Where the protocol counts in time, clips of a known rate are taken frame by frame, as that is what they were made
    for; other videos are cut at the protocol's rates in turn.

    Raises:
        UserError: Fewer videos than the protocol counts, or a rate outside it, unless forced; videos that are too
            short, too slow or unreadable: all of them are counted, the first named.
    """
    sources, rng = _as_many(sources, protocol, force), np.random.default_rng(protocol.seed)
    cuts, failures = [], Failures()
    for number, source in enumerate(sources):
        try:
            cuts.append(_generated(source, number, protocol, force, rng))
        except UserError as error:
            failures.add(source.id, str(error))
    failures.raise_any(len(sources), "generated clips", "Mend or remove them.")
    return cuts


def plan_real(sources: Sequence[VideoSource], protocol: Protocol, real: RealClips, rates: Sequence[float]) -> list[Cut]:
    """The real clips, where the protocol's seed puts them.

    Videos too short or too slow for a rate are passed over.

    Args:
        sources: The real videos; each is used once before any is used again.
        protocol: Gives length and seed.
        real: Gives number and start.
        rates: Of the generated clips, whose proportions the real ones keep where the protocol counts in time.

    Raises:
        UserError: Unreadable videos, none that is long enough, or fewer than the protocol counts where none may be used
            twice.
    """
    infos = _infos(sources)
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
            waiting += rng.permutation(len(sources)).tolist()
        chosen = next(index for index in waiting if index in fit)
        waiting.remove(chosen)
        used.add(chosen)
        start = _start(real.start, rooms[chosen], window, rng)
        name = f"{sources[chosen].id}#{number}"
        cuts.append(window.cut(name, sources[chosen], infos[chosen].fps, start))
    if real.clips is not None and len(cuts) < real.clips:
        raise UserError(
            f"protocol {protocol.name} counts {real.clips} real clips, each of a video of its own, but {len(cuts)} of "
            f"the {len(sources)} videos are long enough; bring more, or give a protocol of your own fewer."
        )
    return sorted(cuts, key=lambda cut: cut.id)


def _as_many(sources: Sequence[VideoSource], protocol: Protocol, force: bool) -> Sequence[VideoSource]:
    wanted = protocol.generated.clips
    if wanted is None or len(sources) == wanted:
        return sources
    if len(sources) < wanted:
        if force:
            return sources
        raise UserError(
            f"protocol {protocol.name} counts {wanted} generated clips, got {len(sources)}; generate more, or pass "
            "--force and compare with nothing published."
        )
    drawn = np.random.default_rng(protocol.seed).choice(len(sources), wanted, replace=False)
    return [sources[index] for index in sorted(drawn)]


def _generated(source: VideoSource, number: int, protocol: Protocol, force: bool, rng: np.random.Generator) -> Cut:
    start = protocol.generated.start
    if protocol.fps is not None and source.fps is not None:
        if source.fps not in protocol.fps and not force:
            raise UserError(
                f"made for {source.fps:g} fps, but protocol {protocol.name} counts {_list(protocol.fps)} only; "
                "generate at one of these, or pass --force"
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
        "centre": lambda: room / 2,
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
    failures.raise_any(len(sources), "real videos", "Mend or remove them.")
    return infos


def _rooms(infos: Sequence[VideoInfo], window: Window) -> dict[int, float]:
    """Number of a video that is long enough → the latest start in it."""
    rooms = {index: room for index, info in enumerate(infos) if (room := window.room(info)) is not None}
    if not rooms:
        longest = max(infos, key=lambda info: info.duration)
        raise UserError(f"the longest real video {window.unfit(longest)}.")
    return rooms


def _list(rates: Sequence[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in rates)
