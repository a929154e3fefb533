"""Two folders and a protocol → results."""

import platform
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from evaluation import intervals
from evaluation.clips import folder_sha256, open_clips
from evaluation.cuts import Cut, plan_generated, plan_real, read_cut
from evaluation.extractors.shapes import ShapesClip, ShapesImage, ShapesVideo
from evaluation.extractors.store import EXTRACTORS, load_extractor
from evaluation.measures import KnownClip, KnownClips, measure
from evaluation.metrics import CLIPSIM, FID, FVD
from evaluation.protocol import Extractor, Protocol
from evaluation.summary import Score, plain, summarise
from mav_lightning.common.errors import UserError

__all__ = ["Track", "evaluate"]

Network = TypeVar("Network", ShapesImage, ShapesVideo, ShapesClip)
Track = Callable[[Iterable[Any], int, str], Iterable[Any]]  # items, their number, what is done with them → the items


def evaluate(
    generated: Path, real: Path, protocol: Protocol, force: bool = False, track: Track | None = None
) -> dict[str, Any]:
    """Scores a folder of generated clips against real ones.

    Every clip is decoded once, for all metrics. The same folders and protocol give the same digits on one machine type.

    Args:
        generated: Clips with a ``manifest.json``, or plain videos; see `evaluation.clips.open_clips`.
        real: The same, or shards.
        protocol: From `evaluation.protocol.load_protocol`.
        force: Accept frame rates outside the protocol and fewer clips than a distance needs.
        track: Wraps the batches, to show progress. None shows nothing.

    Returns:
        Plain data without NaN: ``protocol``, ``extractors``, ``n``, ``metrics``, ``by_fps``, ``clips``, ``reference``
        (the measures of known content on the real clips: what a perfect model would score), ``generated_sha256``,
        ``real_sha256`` and ``versions``.

    Raises:
        UserError: A folder is missing, empty or damaged, or has fewer clips than a metric needs.
    """
    suite = _Suite(protocol, force, track or (lambda items, total, description: items))
    made = plan_generated(open_clips(generated), protocol, force)
    found = plan_real(open_clips(real), protocol, [cut.fps for cut in made])
    known = KnownClips(suite.add(made, real=False))
    reference = KnownClips(suite.add(found, real=True))
    scores, by_fps = summarise(known, protocol.fps)
    truth, _ = summarise(reference, protocol.fps)
    return plain({
        "protocol": protocol.to_dict(),
        "extractors": {role.name: role.sha256 for role in (protocol.image, protocol.video, protocol.text)},
        "n": {"generated": len(made), "real": len(found)},
        "metrics": {name: score.to_dict() for name, score in (suite.scores() | scores).items()},
        "by_fps": by_fps,
        "clips": known.per_clip(),
        "reference": {name: score.value for name, score in truth.items()},
        "generated_sha256": folder_sha256(generated),
        "real_sha256": folder_sha256(real),
        "versions": _versions(),
    })  # fmt: skip


class _Suite:
    """The extractors and the metrics that keep features."""

    def __init__(self, protocol: Protocol, force: bool, track: Track) -> None:
        self.protocol, self.track = protocol, track
        self.image = _load(protocol.image, ShapesImage)
        video, text = _load(protocol.video, ShapesVideo), _load(protocol.text, ShapesClip)
        options: dict[str, Any] = {"divisor": protocol.divisor, "force": force}
        self.fid = FID(self.image, name=_metric_name(protocol.image.name, "fid"), **options)
        self.fvd = FVD(video, name=_metric_name(protocol.video.name, "fvd"), **options)
        self.clipsim = CLIPSIM(text, name=_metric_name(protocol.text.name, "clipsim"))

    def add(self, cuts: Sequence[Cut], real: bool) -> list[KnownClip]:
        """Decodes each clip once, feeds every metric, and returns what is known of each."""
        known: list[KnownClip] = []
        size, side = self.protocol.batch, "real" if real else "generated"
        batches = [cuts[first : first + size] for first in range(0, len(cuts), size)]
        for batch in self.track(batches, len(batches), f"{side} clips, {size} at once"):
            clips = [read_cut(cut, self.protocol) for cut in batch]
            pixels, ids = torch.from_numpy(np.stack([clip.pixels for clip in clips])), [clip.id for clip in clips]
            for metric in (self.fvd, self.fid):
                metric.update(pixels, ids, real=real, groups=[clip.group for clip in clips])
            prompted = [row for row, clip in enumerate(clips) if clip.prompt and not real]
            if prompted:
                prompts = [clips[row].prompt or "" for row in prompted]
                self.clipsim.update(pixels[prompted], prompts, [ids[row] for row in prompted])
            known += measure(clips, self.image)
        return known

    def scores(self) -> dict[str, Score]:
        """The distances, and the similarity of clips with prompts."""
        kernel = _metric_name(self.protocol.video.name, "kvd")
        return {
            **_distances(self.fvd),
            kernel: _kernel_distance(self.fvd),
            **_distances(self.fid),
            self.clipsim.name: _similarity(self.clipsim),
        }


def _load(extractor: Extractor, kind: type[Network]) -> Network:
    network = load_extractor(extractor.name, extractor.sha256)
    if not isinstance(network, kind):
        right = next(name for name, made in EXTRACTORS.items() if made is kind)
        raise UserError(f"extractor `{extractor.name}` cannot do the part of `{right}`; name that one in the protocol.")
    return network


def _metric_name(extractor: str, metric: str) -> str:
    """The family of the extractor in front: ``shapes-video`` gives ``shapes-fvd``, never plain ``fvd``."""
    return f"{extractor.rsplit('-', 1)[0]}-{metric}"


_JACKKNIFE = "delete-a-block jackknife by source video, 95 %, of the"


def _distances(metric: FVD | FID) -> dict[str, Score]:
    """The Fréchet distance at this number of clips, and what it would be with infinitely many."""
    value, jackknife, n = float(metric.compute()), metric.jackknife(), metric.count("generated")
    low, high = jackknife.interval(jackknife.value) if jackknife else (0.0, 0.0)
    interval = (max(low, 0.0), high) if jackknife else None
    limit = jackknife.extrapolated if jackknife else float("nan")
    at_n, at_infinity = "expected distance at this number of clips", "distance of infinitely many clips"
    return {
        metric.name: Score(value, interval, f"{_JACKKNIFE} {at_n}", n, "lower", "squared distance"),
        f"{metric.name}-inf": Score(
            limit,
            jackknife.interval(limit) if jackknife else None,
            f"{_JACKKNIFE} {at_infinity}",
            n,
            "lower",
            "squared distance",
        ),
    }


def _kernel_distance(metric: FVD) -> Score:
    value, jackknife = metric.kernel_distance()
    interval = jackknife.interval(value) if jackknife else None
    kind = f"{_JACKKNIFE} distance of infinitely many clips"
    return Score(value, interval, kind, metric.count("generated"), "lower", "squared distance")


def _similarity(metric: CLIPSIM) -> Score:
    scores = metric.per_clip().cpu().numpy() if metric.keys else np.empty(0)
    value = float(scores.mean()) if len(scores) else float("nan")
    return Score(value, intervals.mean(scores), "Student's t of the mean, 95 %", len(scores), "higher", "cosine")


def _versions() -> dict[str, str]:
    packages = ("mav-lightning", "torch", "torchmetrics", "numpy", "scipy", "av", "pillow")
    return {"python": platform.python_version()} | {name: _version(name) for name in packages}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"  # run from a checkout
