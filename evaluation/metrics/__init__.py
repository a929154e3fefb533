"""Distances and similarities as `torchmetrics.Metric`s over features, for training loops as well as for protocols.

Every clip is kept by its id, in float64, and counted once: batches, their order, the number of processes and the
padding of distributed samplers change nothing.
"""

from evaluation.metrics.clipsim import CLIPSIM
from evaluation.metrics.frechet import FrechetDistance

__all__ = ["CLIPSIM", "FrechetDistance"]
