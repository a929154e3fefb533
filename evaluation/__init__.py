"""Clips → numbers: reads anybody's folders of videos, and knows nothing of models or training.

Features, statistics and distances are separate (`extractors`, `statistics`, `distance`); `metrics` puts them together
as `torchmetrics.Metric`s; `ground_truth` measures what Shapes World makes knowable; a `Protocol` fixes all choices
that move a number; `evaluate` turns two folders and a protocol into results.
"""

from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

ensure_torchvision_imports()

from evaluation.evaluator import Evaluation, evaluate  # noqa: E402
from evaluation.protocol import Protocol, load_protocol  # noqa: E402

__all__ = ["Evaluation", "Protocol", "evaluate", "load_protocol"]
