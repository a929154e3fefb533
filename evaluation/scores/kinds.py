"""The metrics that a protocol can name."""

from evaluation.scores.base import Metric
from evaluation.scores.distances import Frechet, Kernel
from evaluation.scores.inception import InceptionScore
from evaluation.scores.known import ShapesWorld
from evaluation.scores.motion import MotionMeasures
from evaluation.scores.similarity import ClipSimilarity
from mav_lightning.common.errors import UserError, did_you_mean

__all__ = ["KINDS", "metric_kind"]

KINDS: dict[str, type[Metric]] = {
    own.kind: own for own in (Frechet, Kernel, ClipSimilarity, InceptionScore, ShapesWorld, MotionMeasures)
}


def metric_kind(name: str) -> type[Metric]:
    """The kind of that name.

    Raises:
        UserError: There is none.
    """
    if name not in KINDS:
        raise UserError(f"no kind of metric `{name}`{did_you_mean(name, KINDS)}; known: {', '.join(KINDS)}.")
    return KINDS[name]
