"""CLIPSIM: how well frames match their prompts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from evaluation import intervals
from evaluation.extractors.base import TextExtractor
from evaluation.metrics.base import ExtractedFeatures, Metric, MetricResult, Number
from evaluation.metrics.clip_states import OneSet, keys_of

__all__ = ["ClipSimilarity", "FrameTextSimilarity", "FrameTextStates"]


@dataclass(frozen=True)
class ClipSimilarity(Metric):
    """Cosine of prompt and frame, averaged over frames, then over clips: CLIPSIM, in [-1, 1], not times 100.

    Clips without a prompt are not counted.

    References:
        GODIVA: Generating Open-DomaIn Videos from nAtural Descriptions (Wu et al., 2021).
        https://arxiv.org/abs/2104.14806

    Attributes:
        of: Extractor that embeds frames and texts.
    """

    kind = "clipsim"
    numbers = {"{name}": Number("higher", "cosine")}
    roles = {"of": TextExtractor}
    reads_real = False
    independent_of_count = True
    needs_facts = frozenset({"prompt"})

    of: str

    def measure(self, name: str, extracted: ExtractedFeatures) -> MetricResult:
        """Compute the mean cosine and the cosine of each clip."""
        found, texts = extracted.features(self.of, "generated"), extracted.texts(self.of)
        prompts = [cut.source.prompt for cut in extracted.cuts("generated")]
        rows = [row for row, prompt in enumerate(prompts) if prompt]
        kind = "Student's t of the mean over source videos, 95 %"
        if not rows:
            return MetricResult({name: self.score("{name}", float("nan"), None, kind, 0)})
        ids, captions = [found.ids[row] for row in rows], np.stack([texts[prompts[row] or ""] for row in rows])
        metric = FrameTextSimilarity(name)
        metric.update(torch.from_numpy(found.values[rows]), torch.from_numpy(captions), ids)
        per_clip = metric.by_id(ids)
        value, interval = intervals.grouped_mean(per_clip, [found.groups[row] for row in rows])
        clips = {key: {name: float(cosine)} for key, cosine in zip(ids, per_clip, strict=True)}
        return MetricResult({name: self.score("{name}", value, interval, kind, len(rows))}, clips=clips)


class FrameTextStates(OneSet):
    """Mean cosine of caption and frame embeddings of each clip, and the mean over clips; in [-1, 1], not times 100."""

    def add(self, frames: Tensor, captions: Tensor, ids: Sequence[str]) -> None:
        """Add clips; a clip that was added before is not counted again.

        Args:
            frames: Embeddings of the frames of N clips, shape (N, T, d), of any length.
            captions: Embeddings of their captions, shape (N, d).
            ids: Id of each clip.
        """
        cosine = torch.einsum(
            "ntd,nd->nt", F.normalize(frames.double(), dim=-1), F.normalize(captions.double(), dim=-1)
        )
        self.add_values(cosine.mean(dim=1), ids)

    def compute(self) -> Tensor:
        """Compute the mean over clips, a float64 scalar.

        Raises:
            UserError: If no clip was added, or another number than required, unless `force`.
        """
        return self.rows().mean()

    def by_id(self, ids: Sequence[str]) -> NDArray[np.float64]:
        """Return the mean over frames of each of N clips that were added, shape (N,)."""
        keys, scores = (torch.cat(state).tolist() for state in (self.keys, self.values))
        found = dict(zip(keys, scores, strict=True))
        return np.array([found[key] for key in keys_of(ids).tolist()])


class FrameTextSimilarity(FrameTextStates):
    """Cosine of caption and frame embeddings, averaged over frames, then over clips; in [-1, 1], not times 100."""

    def update(self, frames: Tensor, captions: Tensor, ids: Sequence[str]) -> None:
        """Add the embeddings of clips; see `FrameTextStates.add`."""
        self.add(frames, captions, ids)
