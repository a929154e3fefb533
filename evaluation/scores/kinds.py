"""The metrics that a protocol can name."""

from evaluation.scores.base import Metric
from evaluation.scores.distances import Frechet, Kernel
from evaluation.scores.inception import InceptionScore
from evaluation.scores.known import ShapesWorld
from evaluation.scores.motion import MotionMeasures
from evaluation.scores.similarity import ClipSimilarity

__all__ = ["KINDS"]

KINDS: dict[str, type[Metric]] = {
    own.kind: own for own in (Frechet, Kernel, ClipSimilarity, InceptionScore, ShapesWorld, MotionMeasures)
}
