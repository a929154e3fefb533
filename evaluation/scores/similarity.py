"""How well frames match their prompts."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from evaluation import intervals
from evaluation.metrics import CLIPSIM
from evaluation.scores.base import Measured, Metric, Outcome, Score

__all__ = ["ClipSimilarity"]


@dataclass(frozen=True)
class ClipSimilarity(Metric):
    """Cosine of prompt and frame, mean over frames, then over clips: CLIPSIM, in [-1, 1], not times 100.

    Clips without a prompt do not count.

    References:
        GODIVA: Generating Open-DomaIn Videos from nAtural Descriptions (Wu et al., 2021).
        https://arxiv.org/abs/2104.14806

    Attributes:
        of: The extractor, which reads texts as well.
    """

    of: str

    kind: ClassVar[str] = "clipsim"
    reads_real: ClassVar[bool] = False
    roles = {"of": ("shapes-clip", "clip")}

    def outcome(self, name: str, measured: Measured) -> Outcome:
        """The mean cosine, and that of each clip."""
        found, texts = measured.features(self.of, "generated"), measured.texts(self.of)
        prompts = [cut.source.prompt for cut in measured.cuts("generated")]
        rows = [row for row, prompt in enumerate(prompts) if prompt]
        unit, kind = "cosine", "Student's t of the mean over source videos, 95 %"
        if not rows:
            return Outcome({name: Score(float("nan"), None, kind, 0, "higher", unit)})
        ids, wanted = [found.ids[row] for row in rows], np.stack([texts[prompts[row] or ""] for row in rows])
        metric = CLIPSIM(name)
        metric.update(torch.from_numpy(found.values[rows]), torch.from_numpy(wanted), ids)
        per_clip = metric.by_id(ids)
        value, interval = intervals.grouped_mean(per_clip, [found.groups[row] for row in rows])
        clips = {key: {name: float(cosine)} for key, cosine in zip(ids, per_clip, strict=True)}
        return Outcome({name: Score(value, interval, kind, len(rows), "higher", unit)}, clips=clips)
