"""torchmetrics classes that take clips, for loops of one's own: three lines instead of features and ids.

Each class cuts, resizes and embeds clips as a protocol does, then counts them like `evaluation.evaluate`. To score
folders under a whole protocol, with intervals, use `evaluate`: it decodes and embeds every clip once for all metrics.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from evaluation.clip_input import ClipMetric, PixelClips, one_per_clip
from evaluation.extractors.base import ClipFeatures, ClipProbabilities, Extractor, FrameFeatures, TextExtractor
from evaluation.metrics.clip_states import OneSet, TwoSets
from evaluation.metrics.clipsim import ClipSimilarity, FrameTextStates
from evaluation.metrics.frechet import Frechet, FrechetStates
from evaluation.metrics.inception_score import InceptionScore, inception_score, require_splits
from evaluation.metrics.kernel import Kernel, KernelStates
from mav_lightning.common.arguments import check_argument
from mav_lightning.common.schema import PositiveInt

__all__ = ["CLIPSIM", "FVD", "KVD", "ClipDistance", "FrameFID", "VideoIS"]


class ClipDistance(ClipMetric, TwoSets):
    """Base of distances between generated and real clips."""

    def update(
        self,
        clips: PixelClips,
        real: bool = False,
        *,
        ids: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
    ) -> None:
        """Add clips to one side.

        Args:
            clips: N clips, uint8, shape (N, 3, T, H, W) or (N, T, H, W, 3).
            real: Whether the clips are real.
            ids: Id of each clip; a clip that was added before is not counted again. None takes the hash of its pixels.
            groups: Group of each clip; clips of one group are not independent, for example cut from one video. None if
                all are independent.

        Raises:
            UserError: If clips are not uint8 of such a shape or have too few frames, or features are not finite.
        """
        features, names = self.embed(clips, ids)
        self.add(features, names, real, None if groups is None else one_per_clip("groups", groups, len(names)))


class FVD(ClipDistance, FrechetStates):
    """Fréchet video distance between generated and real clips, by one feature vector per clip.

    A number is an FVD of the protocol it was built from, and of its number of clips. `FVD` with an extractor of your
    own is a distance of another name.

    References:
        Towards Accurate Generative Models of Video (Unterthiner et al., 2018). https://arxiv.org/abs/1812.01717

    Example:
        >>> import numpy as np
        >>> from evaluation import FVD
        >>> fvd = FVD.from_protocol("shapes-tiny", force=True)
        >>> clips = np.random.default_rng(0).integers(0, 256, (40, 9, 16, 16, 3), np.uint8)
        >>> fvd.update(clips, real=True)
        >>> fvd.update(clips // 2 + 64)
        >>> bool(fvd.compute() > 1)
        True
    """

    settings, takes = Frechet, ClipFeatures


class FrameFID(ClipDistance, FrechetStates):
    """Fréchet inception distance between the frames of generated and of real clips.

    References:
        GANs Trained by a Two Time-Scale Update Rule (Heusel et al., 2017). https://arxiv.org/abs/1706.08500
    """

    settings, takes = Frechet, FrameFeatures


class KVD(ClipDistance, KernelStates):
    """Kernel video distance between generated and real clips: unbiased at any number of clips.

    References:
        Towards Accurate Generative Models of Video (Unterthiner et al., 2018). https://arxiv.org/abs/1812.01717
    """

    settings, takes = Kernel, ClipFeatures


class CLIPSIM(ClipMetric, FrameTextStates):
    """Cosine of prompt and frame, averaged over frames, then over generated clips; in [-1, 1], not times 100.

    References:
        GODIVA: Generating Open-DomaIn Videos from nAtural Descriptions (Wu et al., 2021).
        https://arxiv.org/abs/2104.14806
    """

    settings, takes = ClipSimilarity, TextExtractor

    def update(
        self, clips: PixelClips, real: bool = False, *, prompts: Sequence[str], ids: Sequence[str] | None = None
    ) -> None:
        """Add generated clips with their prompts; real clips are ignored.

        Args:
            clips: N clips, uint8, shape (N, 3, T, H, W) or (N, T, H, W, 3).
            real: Whether the clips are real.
            prompts: Prompt of each clip.
            ids: Id of each clip. None takes the hash of pixels and prompt.

        Raises:
            UserError: If clips are not uint8 of such a shape or have too few frames, or prompts are not one per clip.
        """
        if real:
            return
        features, names = self.embed(clips, ids)
        texts = self.embed_texts(one_per_clip("prompts", prompts, len(names)))
        self.add(features, texts, names if ids is not None else list(map("/".join, zip(names, prompts, strict=True))))

    @torch.inference_mode()
    def embed_texts(self, prompts: Sequence[str]) -> Tensor:
        """Compute unit vectors of N prompts, shape (N, d)."""
        reader = self._extractor[0]
        assert isinstance(reader, TextExtractor)  # as `takes` demands
        return reader.texts(list(prompts)).to(self.device)


class VideoIS(ClipMetric, OneSet):
    """Inception score of generated clips, by a classifier of clips.

    Args:
        splits: Number of parts that the clips are split into in the order of their hashed ids.

    References:
        Train Sparsely, Generate Densely (Saito et al., 2020). https://arxiv.org/abs/1811.09245
    """

    settings, takes = InceptionScore, ClipProbabilities

    def __init__(self, extractor: Extractor, *, splits: PositiveInt = 1, **kwargs: Any) -> None:
        check_argument("splits", splits, PositiveInt)
        super().__init__(extractor, **kwargs)
        self.splits = splits

    def update(self, clips: PixelClips, real: bool = False, *, ids: Sequence[str] | None = None) -> None:
        """Add generated clips; real clips are ignored. Arguments and errors are those of `FVD.update`."""
        if not real:
            features, names = self.embed(clips, ids)
            self.add_values(features[:, 0], names)

    def compute(self) -> Tensor:
        """Compute the score, a float64 scalar.

        Raises:
            UserError: If there are too few clips for the splits, or another number than required, unless `force`.
        """
        rows = self.rows()
        require_splits(self.name, len(rows), self.splits)
        return torch.tensor(inception_score(rows.cpu().numpy(), self.splits), dtype=torch.float64)
