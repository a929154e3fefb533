"""Distances between generated and real clips: Fréchet and kernel."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from evaluation.distance import frechet_curve
from evaluation.metrics import FrechetDistance
from evaluation.moments import Divisor
from evaluation.scores.base import Measured, Metric, Outcome, Score, Side

__all__ = ["Frechet", "Kernel"]

_JACKKNIFE = "delete-a-block jackknife by source video, 95 %, of the"
_UNIT = "squared distance"
_FEATURES = (
    "shapes-image", "shapes-video", "shapes-clip", "i3d-torchscript", "i3d", "classifier-torchscript", "inception",
    "clip",
)  # fmt: skip
_BOTH: tuple[Side, Side] = ("generated", "real")


@dataclass(frozen=True)
class Frechet(Metric):
    """The Fréchet distance at this number of clips; and ``<name>-inf``, what infinitely many clips would give.

    Attributes:
        of: The extractor: one row a clip makes it an FVD, one a frame an FID.
        divisor: Of the covariance.
    """

    of: str
    divisor: Divisor

    kind: ClassVar[str] = "frechet"
    needs_real: ClassVar[bool] = True
    roles = {"of": _FEATURES}

    def outcome(self, name: str, measured: Measured) -> Outcome:
        """The distance, its limit, and its curve."""
        distance = _fed(self.of, name, measured, self.divisor)
        value, jackknife, n = float(distance.compute()), distance.jackknife(), distance.count("generated")
        low, high = jackknife.interval(jackknife.value) if jackknife else (0.0, 0.0)
        interval = (max(low, 0.0), high) if jackknife else None
        limit = jackknife.extrapolated if jackknife else float("nan")
        limits = jackknife.interval(limit) if jackknife else None
        kinds = [f"{_JACKKNIFE} {what}" for what in ("expected distance at this number of clips", _AT_INFINITY)]
        scores = {
            name: Score(value, interval, kinds[0], n, "lower", _UNIT),
            f"{name}-inf": Score(limit, limits, kinds[1], n, "lower", _UNIT),
        }
        points = [
            {"n": clips, "value": mean, "subsets": subsets}
            for clips, mean, subsets in frechet_curve(*distance.sides(), self.divisor)
        ]
        return Outcome(scores, curves={name: points})


@dataclass(frozen=True)
class Kernel(Metric):
    """The kernel distance, unbiased at any number of clips: of a video's features, the kernel video distance.

    Attributes:
        of: The extractor, of one row a clip.
    """

    of: str

    kind: ClassVar[str] = "kernel"
    needs_real: ClassVar[bool] = True
    roles = {"of": ("shapes-video", "i3d-torchscript", "i3d", "classifier-torchscript")}

    def outcome(self, name: str, measured: Measured) -> Outcome:
        """The distance."""
        distance = _fed(self.of, name, measured, "n-1")
        value, jackknife = distance.kernel_distance()
        interval = jackknife.interval(value) if jackknife else None
        kind = f"{_JACKKNIFE} {_AT_INFINITY}"
        return Outcome({name: Score(value, interval, kind, distance.count("generated"), "lower", _UNIT)})


_AT_INFINITY = "distance of infinitely many clips"


def _fed(extractor: str, name: str, measured: Measured, divisor: Divisor) -> FrechetDistance:
    distance = FrechetDistance(name, divisor, measured.force)
    for side in _BOTH:
        found = measured.features(extractor, side)
        distance.update(torch.from_numpy(found.values), found.ids, real=side == "real", groups=found.groups)
    return distance
