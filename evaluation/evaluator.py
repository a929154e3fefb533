"""Generated clips, real clips and a protocol → results."""

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from evaluation.clip_selection import plan_generated, plan_real
from evaluation.clip_sources import VideoSource, sources_sha256, with_content
from evaluation.cuts import Cut
from evaluation.extraction import Extraction, versions
from evaluation.extractors.base import Extractor, LoadedExtractor
from evaluation.folders import Clips, open_clips, with_prompts
from evaluation.metrics.base import Features, MetricResult, Side, to_plain
from evaluation.notes import clip_notes, shapes_notes
from evaluation.preflight import check_counts, load_extractors, other_protocols
from evaluation.protocol import Protocol, load_protocol
from evaluation.weight_files import weights_folder
from mav_lightning.common.arguments import check_argument
from mav_lightning.common.errors import Refusals, UserError
from mav_lightning.common.manifest import display_only
from mav_lightning.common.schema import PositiveFloat, PositiveInt
from mav_lightning.common.tracking import Track, untracked

__all__ = ["Evaluation", "evaluate"]

_HASHED = 64  # videos at a time


def evaluate(
    generated: Clips,
    real: Clips | None,
    protocol: Protocol | str | Path,
    *,
    prompts: Mapping[str, str] | None = None,
    fps: float | None = None,
    weights: Path | None = None,
    features: str | Path | None = None,
    device: str | torch.device = "cpu",
    workers: int | None = None,
    force: bool = False,
    marked: bool = False,
    track: Track = untracked,
) -> dict[str, Any]:
    """Score clips of any system under a protocol.

    Every clip is decoded once, for all metrics. The same clips and protocol give the same digits on one machine type,
    whether or not features were kept by earlier runs.

    Args:
        generated: Folder of clips (see `evaluation.folders.open_clips`), `Clip` objects, or an array (N, T, H, W, 3)
            uint8, which needs `fps`.
        real: Real clips, in the same forms. None if the protocol needs none.
        protocol: A protocol, the name of a shipped one, or the path of a ``.yaml`` file.
        prompts: Id of a generated clip → its prompt, for folders that contain no prompts. None leaves prompts as they
            are in the folder.
        fps: Frames per second of clips that are stored as images or arrays. None if there are none.
        weights: Folder of extractor weights. None: see `evaluation.weight_files.weights_folder`.
        features: Folder in which features are kept for later runs. None keeps none.
        device: Device of the extractors.
        workers: Number of threads that read clips. None: one per core, at most 8.
        force: Accept frame rates outside the protocol, and fewer clips than it or a metric requires. Not for comparison
            with published numbers.
        marked: Accept clips with the visible mark, or upsampled for display, which changes what is measured.
        track: Wraps the clips, to show progress.

    Returns:
        Results; see `Evaluation.results`.

    Raises:
        UserError: See `Evaluation`; also if clips cannot be measured: all are counted, and the features of the others
            are kept.

    Example:
        ``evaluate([Clip("a", frames, fps=8.0)], "videos/real", "shapes-tiny")["metrics"]["shapes-fvd"]["value"]``
    """
    with ExitStack() as stack:
        evaluation = Evaluation(
            generated,
            real,
            protocol,
            prompts=prompts,
            fps=fps,
            weights=weights,
            features=Path(features or stack.enter_context(tempfile.TemporaryDirectory())),
            workers=workers,
            force=force,
            marked=marked,
            track=track,
        )
        evaluation.extraction.to(_known_device(device))
        return evaluation.results(track)


class Evaluation:
    """An evaluation that is planned and checked before anything is extracted.

    Args:
        generated: See `evaluate`.
        real: See `evaluate`.
        protocol: See `evaluate`.
        features: Folder in which features are kept.
        prompts: See `evaluate`.
        fps: See `evaluate`.
        weights: See `evaluate`.
        workers: See `evaluate`.
        force: See `evaluate`.
        marked: See `evaluate`.
        track: Wraps the clips that are hashed, to show progress.

    Attributes:
        protocol: The protocol.
        extraction: The features of all clips of both sides, extracted or still to be extracted.

    Raises:
        UserError: If clips are missing, damaged or too few, or do not fit the protocol; if weights are missing or not
            those pinned; if prompts do not match the clips; if an argument has the wrong type or range. One message
            names all of these, before any clip is hashed or decoded.
    """

    def __init__(
        self,
        generated: Clips,
        real: Clips | None,
        protocol: Protocol | str | Path,
        *,
        features: Path,
        prompts: Mapping[str, str] | None = None,
        fps: float | None = None,
        weights: Path | None = None,
        workers: int | None = None,
        force: bool = False,
        marked: bool = False,
        track: Track = untracked,
    ) -> None:
        check_argument("prompts", prompts, Mapping[str, str] | None)
        check_argument("fps", fps, PositiveFloat | None)
        check_argument("workers", workers, PositiveInt | None)
        self.protocol = protocol if isinstance(protocol, Protocol) else load_protocol(protocol)
        self.force, self.marked, self.rates = force, marked, self.protocol.fps or ()
        self._display = display_only(Path(generated)) if isinstance(generated, Path | str) else None
        self._loaded: dict[str, LoadedExtractor] = {}
        self._cuts: dict[Side, list[Cut]] = {"generated": [], "real": []}
        made, found = self._plan(generated, real, prompts, fps, weights_folder(weights))
        hashed: dict[Side, list[VideoSource]] = {
            "generated": _hashed(made, track, "generated"),
            "real": _hashed(found, track, "real"),
        }
        self._sha256: dict[Side, str | None] = {
            "generated": sources_sha256(hashed["generated"]),
            "real": sources_sha256(hashed["real"]) if found else None,
        }
        for side, cuts in self._cuts.items():
            known = {source.id: source for source in hashed[side]}
            self._cuts[side] = [replace(cut, source=known[cut.source.id]) for cut in cuts]
        wanted = [(cut, _read_on(side, self.protocol)) for side, cuts in self._cuts.items() for cut in cuts]
        self.extraction = Extraction(wanted, self._prompts(), self.protocol, self._loaded, features, workers)

    def results(self, track: Track = untracked) -> dict[str, Any]:
        """Extract what is missing, then compute all metrics.

        Args:
            track: Wraps the clips, to show progress.

        Returns:
            Plain data without NaN: ``protocol``, ``extractors`` (sha256 of each), ``n``, ``metrics``, ``by_fps``,
            ``curves`` (distances at smaller numbers of clips), ``jackknife`` (distances without each block of clips, to
            compare two systems), ``clips`` (what was measured of each clip alone),
            ``real_clips`` (their ids), ``reference`` (what the real clips score), ``generated_sha256``,
            ``real_sha256``, ``prompts_sha256`` (null if no metric reads prompts), ``notes`` (what to know before the
            numbers are used) and ``versions``.

        Raises:
            UserError: See `evaluate`.
        """
        self.extraction.run(track)
        return self._assemble([one.measured(name, self) for name, one in self.protocol.metrics.items()])

    def cuts(self, side: Side) -> Sequence[Cut]:
        """Return the clips of a side, ordered by id."""
        return self._cuts[side]

    def features(self, extractor: str, side: Side) -> Features:
        """Return the features of all clips of a side, in the order of `cuts`."""
        cuts = self._cuts[side]
        groups = [cut.source.group for cut in cuts]
        return Features([cut.id for cut in cuts], groups, self.extraction.features(extractor, cuts).numpy())

    def texts(self, extractor: str) -> dict[str, Any]:
        """Return prompt → unit vector, shape (d,)."""
        return {prompt: row.numpy() for prompt, row in self.extraction.texts(extractor).items()}

    def network(self, extractor: str) -> Extractor:
        """Return the loaded extractor, on the CPU."""
        return self._loaded[extractor].extractor.to("cpu")

    def _plan(
        self, generated: Clips, real: Clips | None, prompts: Mapping[str, str] | None, fps: float | None, weights: Path
    ) -> tuple[list[VideoSource], list[VideoSource]]:
        """Load the extractors and select the clips; return all videos of both sides."""
        refusals, protocol = Refusals(), self.protocol
        made, found = list[VideoSource](), list[VideoSource]()
        with refusals.collect():
            self._loaded = load_extractors(protocol, weights)
        with refusals.collect():
            _check_unmarked(generated, self._display, self.marked)
            made = open_clips(generated, fps=fps)
            made = made if prompts is None else with_prompts(made, prompts)
            try:
                self._cuts["generated"] = plan_generated(made, protocol, self.force)
            except UserError as error:
                raise UserError(f"{error.message}{other_protocols(made, protocol)}") from error
        with refusals.collect():
            found = self._real_sources(real, fps)
            if protocol.real is not None:
                rates = ([cut.fps for cut in self._cuts["generated"]] or [*protocol.fps]) if protocol.fps else []
                self._cuts["real"] = plan_real(found, protocol, protocol.real, rates)
        if self._loaded and not self.force:
            counts: dict[str, int] = {side: len(cuts) for side, cuts in self._cuts.items() if cuts}
            with refusals.collect():
                check_counts(protocol, self._loaded, counts)
        refusals.raise_any("reasons why this evaluation cannot run")
        return made, found

    def _prompts(self) -> list[str]:
        """Return the prompts of the generated clips, sorted, with repetitions."""
        return sorted(cut.source.prompt for cut in self._cuts["generated"] if cut.source.prompt)

    def _real_sources(self, real: Clips | None, fps: float | None) -> list[VideoSource]:
        if self.protocol.real is None:
            return []
        if real is None:
            raise UserError(
                f"protocol {self.protocol.name} compares with real clips; give their folder.", argument="real"
            )
        return open_clips(real, self.protocol.real.split, fps)

    def _assemble(self, found: Sequence[MetricResult]) -> dict[str, Any]:
        clips: dict[str, dict[str, Any]] = {cut.id: {"fps": cut.fps} for cut in self._cuts["generated"]}
        results: dict[str, Any] = {"metrics": {}, "by_fps": {}, "curves": {}, "reference": {}, "jackknife": {}}
        for one in found:
            results["metrics"] |= {name: score.to_dict() for name, score in one.scores.items()}
            for part in ("by_fps", "curves", "reference"):
                results[part] |= getattr(one, part)
            results["jackknife"] |= {name: own.to_dict() for name, own in one.jackknife.items()}
            for name, values in one.clips.items():
                clips[name] |= values
        prompts = self._prompts() if any(one.reads_prompts for one in self.protocol.metrics.values()) else []
        plain: dict[str, Any] = to_plain(results | {
            "protocol": self.protocol.to_dict(),
            "extractors": {name: one.sha256 for name, one in self._loaded.items()},
            "n": {side: len(cuts) for side, cuts in self._cuts.items()},
            "clips": clips,
            "real_clips": [cut.id for cut in self._cuts["real"]],
            "generated_sha256": self._sha256["generated"],
            "real_sha256": self._sha256["real"],
            "notes": [
                *clip_notes(self._cuts["generated"], self._cuts["real"], self._display),
                *shapes_notes(self.protocol, self._cuts["generated"], results["metrics"]),
                *(note for one in found for note in one.notes),
            ],
            "prompts_sha256": hashlib.sha256("\n".join(prompts).encode()).hexdigest() if prompts else None,
            "versions": versions(),
        })  # fmt: skip
        return plain


def _check_unmarked(generated: Clips, reason: str | None, marked: bool) -> None:
    """Raise an error for clips that are meant for display, unless `marked`."""
    if reason is not None and not marked:
        raise UserError(f"{generated}: {reason}; generate them with --no-mark, or set `marked`.", argument="generated")


def _read_on(side: Side, protocol: Protocol) -> set[str]:
    """Return the extractors whose features some metric uses on a side."""
    metrics = [metric for metric in protocol.metrics.values() if side == "generated" or metric.reads_real]
    return {extractor for metric in metrics for extractor in metric.extractors().values()}


def _hashed(sources: Sequence[VideoSource], track: Track, side: Side) -> list[VideoSource]:
    """Return the videos with the hashes of their bytes, some at a time so that progress shows."""
    parts = [sources[start : start + _HASHED] for start in range(0, len(sources), _HASHED)]
    tracked = track(parts, len(parts), f"hash {side} clips, by {_HASHED}") if parts else ()
    return [source for part in tracked for source in with_content(part)]


def _known_device(device: str | torch.device) -> torch.device:
    try:
        return torch.device(device)
    except (RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"PyTorch has no device {device!r} ({reason}); pass `cpu` or `cuda`.", argument="device"
        ) from error
