"""FVD, FID and CLIPSIM for any extractor, as `torchmetrics.Metric`s.

Every clip is kept by its id, in float64, and counted once: batches, their order, the number of processes and the
padding of distributed samplers change nothing.
"""

from evaluation.metrics.clipsim import CLIPSIM
from evaluation.metrics.frechet import FID, FVD

__all__ = ["CLIPSIM", "FID", "FVD"]
