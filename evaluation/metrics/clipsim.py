"""How well frames match their captions."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from evaluation.metrics.by_id import keys_of, unique_by_key
from mav_lightning.common.errors import UserError

__all__ = ["CLIPSIM"]


class CLIPSIM(Metric):
    """Cosine of caption and frame, averaged over frames, then over clips; in [-1, 1], not times 100 (GODIVA, 2021).

    Args:
        extractor: Has ``images(frames)`` and ``texts(captions)``, both giving unit vectors (`evaluation.extractors`).
        name: What messages call it.
        kwargs: For `torchmetrics.Metric`.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    extractor: Any  # a module with two methods of its own, which torch's types do not know
    scores: list[Tensor]
    keys: list[Tensor]

    def __init__(self, extractor: nn.Module, name: str = "clipsim", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.extractor, self.name = extractor.eval(), name
        for state in ("scores", "keys"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    @torch.no_grad()
    def update(self, clips: Tensor, captions: Sequence[str], ids: Sequence[str]) -> None:
        """Adds clips, shape (N, T, H, W, 3) uint8, with a caption and an id each; an id seen before is not counted."""
        frames = self.extractor.images(clips.flatten(0, 1)).unflatten(0, clips.shape[:2]).double()
        cosine = torch.einsum("ntd,nd->nt", frames, self.extractor.texts(captions).double())
        self.scores.append(cosine.mean(dim=1))
        self.keys.append(keys_of(ids).to(clips.device))

    def compute(self) -> Tensor:
        """The mean over clips, a float64 scalar."""
        return self.per_clip().mean()

    def per_clip(self) -> Tensor:
        """The mean over each clip's frames, float64, (clips,), in a fixed order.

        Raises:
            UserError: No clip was added.
        """
        if not self.keys:
            raise UserError(f"{self.name}: 0 clips with captions, needs 1; name prompts in the folder's manifest.json.")
        return unique_by_key(self.keys, self.scores)[0]
