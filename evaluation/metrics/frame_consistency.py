"""Consistency of frames: how alike the features of a clip's frames are."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evaluation import intervals
from evaluation.extractors.base import FrameFeatures
from evaluation.metrics.base import ExtractedFeatures, Metric, MetricResult, Number
from mav_lightning.common.errors import UserError

__all__ = ["FrameConsistency", "frame_consistency"]

Against = Literal["previous", "first-and-previous"]


@dataclass(frozen=True)
class FrameConsistency(Metric):
    """Cosine of the features of a clip's frames, averaged over frames, then over source videos; a static clip has 1.

    With CLIP features of adjacent frames it is the frame consistency of text-guided video editing; with features of
    DINO, against the first and the previous frame, the subject consistency of VBench.

    References:
        Structure and Content-Guided Video Synthesis with Diffusion Models (Esser et al., 2023).
        https://arxiv.org/abs/2302.03011
        VBench: Comprehensive Benchmark Suite for Video Generative Models (Huang et al., 2024).
        https://arxiv.org/abs/2311.17982

    Attributes:
        of: Extractor of one feature vector per frame.
        against: ``previous`` compares each frame with the one before; ``first-and-previous`` also with the first one,
            and counts negative cosines as 0, as VBench does.
    """

    kind = "frame-consistency"
    numbers = {"{name}": Number("higher", "cosine")}
    roles = {"of": FrameFeatures}
    reads_prompts = False
    independent_of_count = True

    of: str
    against: Against = "previous"

    def measure(self, name: str, extracted: ExtractedFeatures) -> MetricResult:
        """Compute the mean cosine, the cosine of each clip, and the mean over the real clips.

        Raises:
            UserError: If clips have a single frame.
        """
        found = extracted.features(self.of, "generated")
        if found.values.shape[1] < 2:
            raise UserError(f"{name}: clips of 1 frame have no consistency; use a protocol with more frames.")
        each = frame_consistency(found.values, self.against)
        value, interval = intervals.grouped_mean(each, found.groups)
        score = self.score("{name}", value, interval, "Student's t of the mean over source videos, 95 %", len(each))
        clips = {key: {name: float(own)} for key, own in zip(found.ids, each, strict=True)}
        reference: dict[str, float] = {}
        if extracted.cuts("real"):
            real = extracted.features(self.of, "real")
            reference = {name: intervals.grouped_mean(frame_consistency(real.values, self.against), real.groups)[0]}
        return MetricResult({name: score}, clips=clips, reference=reference)


def frame_consistency(features: NDArray[np.floating], against: Against = "previous") -> NDArray[np.float64]:
    """Compute the mean cosine of each clip's frames with earlier ones.

    Args:
        features: Features of each frame, shape (N, T, d), of any length, T at least 2.
        against: See `FrameConsistency`.

    Returns:
        One mean per clip, shape (N,), in [-1, 1].
    """
    unit = features.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=-1, keepdims=True)
    previous = np.einsum("ntd,ntd->nt", unit[:, 1:], unit[:, :-1])
    if against == "previous":
        return np.asarray(previous.mean(axis=1))
    first = np.einsum("ntd,nd->nt", unit[:, 1:], unit[:, 0])
    return np.asarray((previous.clip(min=0) + first.clip(min=0)).mean(axis=1) / 2)
