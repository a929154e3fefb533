"""Two folders and a protocol → results."""

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from evaluation.clip_selection import plan_generated, plan_real
from evaluation.clip_sources import VideoSource, sources_sha256, with_content
from evaluation.cuts import Cut
from evaluation.extraction import Extraction, versions
from evaluation.extractors.base import Extractor
from evaluation.extractors.kinds import Loaded
from evaluation.folders import open_clips, with_prompts
from evaluation.protocol import Protocol
from evaluation.scores.base import Features, Outcome, Side, plain
from evaluation.weight_files import weights_folder
from mav_lightning.common.errors import UserError
from mav_lightning.common.tracking import Track, untracked

__all__ = ["Evaluation", "evaluate"]


def evaluate(
    generated: Path,
    real: Path | None,
    protocol: Protocol,
    force: bool = False,
    track: Track = untracked,
    *,
    features: Path | None = None,
    device: str = "cpu",
    **options: Any,
) -> dict[str, Any]:
    """Scores a folder of clips, from any system, as a protocol says.

    Every clip is decoded once, for all metrics. The same folders and protocol give the same digits on one machine type,
    whatever was kept from earlier runs.

    Args:
        generated: See `Evaluation`.
        real: See `Evaluation`.
        protocol: From `evaluation.protocol.load_protocol`.
        force: See `Evaluation`.
        track: Wraps the clips, to show progress.
        features: Folder that features are kept in and taken from; None keeps none.
        device: Of the extractors.
        options: More of `Evaluation`.

    Returns:
        See `Evaluation.results`.

    Raises:
        UserError: See `Evaluation`; also clips that cannot be measured: all are counted, and the features of the others
            are kept.
    """
    with ExitStack() as stack:
        folder = features or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        evaluation = Evaluation(generated, real, protocol, folder, force=force, **options)
        evaluation.extraction.to(device)
        return evaluation.results(track)


class Evaluation:
    """What is to be measured, planned and checked before anything is extracted.

    Args:
        generated: Clips with a ``manifest.json``, or anybody's; see `evaluation.folders.open_clips`.
        real: The same, or shards; None where the protocol needs none.
        protocol: How clips are made into numbers.
        features: Folder that features are kept in and taken from.
        force: Accept frame rates outside the protocol and fewer clips than a distance needs.
        prompts: Id of a generated clip → its prompt, for folders that name none themselves.
        fps: Frames per second of generated pictures and arrays, which say none themselves.
        weights: Folder of the weights that extractors are loaded from; see `evaluation.weight_files.weights_folder`.
        workers: Threads that read clips.

    Attributes:
        extraction: The work: features of all clips of both sides.

    Raises:
        UserError: A folder is missing, empty or damaged; weights are missing or not those pinned; clips are too few, or
            cannot be cut as the protocol says; prompts do not match.
    """

    def __init__(
        self,
        generated: Path,
        real: Path | None,
        protocol: Protocol,
        features: Path,
        *,
        force: bool = False,
        prompts: Mapping[str, str] | None = None,
        fps: float | None = None,
        weights: Path | None = None,
        workers: int | None = None,
    ) -> None:
        self.protocol, self.force = protocol, force
        self.rates = protocol.fps or ()
        made = open_clips(generated, fps=fps)
        made = with_content(made if prompts is None else with_prompts(made, prompts))
        found = self._real_sources(real)
        self._cuts: dict[Side, list[Cut]] = {"generated": plan_generated(made, protocol, force), "real": []}
        if protocol.real is not None:
            rates = [cut.fps for cut in self._cuts["generated"]] if protocol.fps else []
            self._cuts["real"] = plan_real(found, protocol, protocol.real, rates)
        self._sha256: dict[Side, str | None] = {
            "generated": sources_sha256(made), "real": sources_sha256(found) if found else None
        }  # fmt: skip
        self._loaded = _load(protocol, weights_folder(weights))
        wanted = [(cut, _read_on(side, protocol)) for side, cuts in self._cuts.items() for cut in cuts]
        self.extraction = Extraction(wanted, self._prompts(), protocol, self._loaded, features, workers)

    def results(self, track: Track = untracked) -> dict[str, Any]:
        """Extracts what is missing, then measures.

        Returns:
            Plain data without NaN: ``protocol``, ``extractors`` (sha256 of each), ``n``, ``metrics``, ``by_fps``,
            ``curves`` (distances at smaller numbers of clips), ``clips`` (what was measured of each alone),
            ``real_clips`` (their ids), ``reference`` (what the real clips score), ``generated_sha256``,
            ``real_sha256``, ``prompts_sha256`` and ``versions``.

        Raises:
            UserError: See `evaluate`.
        """
        self.extraction.run(track)
        return self._written({name: one.outcome(name, self) for name, one in self.protocol.metrics.items()})

    def cuts(self, side: Side) -> Sequence[Cut]:
        """The clips of a side, ordered by id."""
        return self._cuts[side]

    def features(self, extractor: str, side: Side) -> Features:
        """Of all clips of a side, in the order of `cuts`."""
        cuts = self._cuts[side]
        groups = [cut.source.group for cut in cuts]
        return Features([cut.id for cut in cuts], groups, self.extraction.features(extractor, cuts).numpy())

    def texts(self, extractor: str) -> dict[str, Any]:
        """Prompt → its unit vector, (d,)."""
        return {prompt: row.numpy() for prompt, row in self.extraction.texts(extractor).items()}

    def network(self, extractor: str) -> Extractor:
        """The loaded extractor, on the CPU."""
        return self._loaded[extractor].extractor.to("cpu")

    def _prompts(self) -> list[str]:
        """Of the generated clips, in order; one that comes twice stands twice."""
        return sorted(cut.source.prompt for cut in self._cuts["generated"] if cut.source.prompt)

    def _real_sources(self, real: Path | None) -> list[VideoSource]:
        if self.protocol.real is None:
            return []
        if real is None:
            raise UserError(f"protocol {self.protocol.name} compares with real clips; give their folder as --real.")
        return with_content(open_clips(real, self.protocol.real.split))

    def _written(self, outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
        clips: dict[str, dict[str, Any]] = {cut.id: {"fps": cut.fps} for cut in self._cuts["generated"]}
        results: dict[str, Any] = {"metrics": {}, "by_fps": {}, "curves": {}, "reference": {}}
        for outcome in outcomes.values():
            results["metrics"] |= {name: score.to_dict() for name, score in outcome.scores.items()}
            for part in ("by_fps", "curves", "reference"):
                results[part] |= getattr(outcome, part)
            for name, values in outcome.clips.items():
                clips[name] |= values
        prompts = self._prompts()
        return plain(results | {
            "protocol": self.protocol.to_dict(),
            "extractors": {name: one.sha256 for name, one in self._loaded.items()},
            "n": {side: len(cuts) for side, cuts in self._cuts.items()},
            "clips": clips,
            "real_clips": [cut.id for cut in self._cuts["real"]],
            "generated_sha256": self._sha256["generated"],
            "real_sha256": self._sha256["real"],
            "prompts_sha256": hashlib.sha256("\n".join(prompts).encode()).hexdigest() if prompts else None,
            "versions": versions(),
        })  # fmt: skip


def _read_on(side: Side, protocol: Protocol) -> set[str]:
    """The extractors whose features some metric looks at on that side."""
    metrics = [metric for metric in protocol.metrics.values() if side == "generated" or metric.reads_real]
    return {extractor for metric in metrics for extractor in metric.needs().values()}


def _load(protocol: Protocol, weights: Path) -> dict[str, Loaded]:
    with torch.no_grad():
        return {name: kind.load(weights) for name, kind in protocol.extractors.items()}
