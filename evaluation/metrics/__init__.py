"""Metrics: one file each, with the mathematics, the torchmetrics class of features, and the protocol's settings.

`evaluation.metrics.base` is the contract. Every clip is counted once, by its id and in float64: batches, their order,
the number of processes and the padding of distributed samplers change nothing.
"""

from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

ensure_torchvision_imports()

from evaluation.metrics.clipsim import FrameTextSimilarity  # noqa: E402
from evaluation.metrics.frechet import FrechetDistance  # noqa: E402
from evaluation.metrics.kernel import KernelDistance  # noqa: E402

__all__ = ["FrameTextSimilarity", "FrechetDistance", "KernelDistance"]
