"""How well frames match their captions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric

from evaluation.metrics.by_id import keys_of, unique_by_key
from mav_lightning.common.errors import UserError

__all__ = ["CLIPSIM"]


class CLIPSIM(Metric):
    """Cosine of caption and frame, averaged over frames, then over clips; in [-1, 1], not times 100 (GODIVA, 2021).

    Args:
        name: What messages call it.
        kwargs: For `torchmetrics.Metric`.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    scores: list[Tensor]
    keys: list[Tensor]

    def __init__(self, name: str = "clipsim", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.name = name
        for state in ("scores", "keys"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(self, frames: Tensor, captions: Tensor, ids: Sequence[str]) -> None:
        """Adds clips; an id seen before is not counted.

        Args:
            frames: Features of N clips' frames, (N, T, d), of any length.
            captions: Features of their captions, (N, d).
            ids: N of them.
        """
        cosine = torch.einsum(
            "ntd,nd->nt", F.normalize(frames.double(), dim=-1), F.normalize(captions.double(), dim=-1)
        )
        self.scores.append(cosine.mean(dim=1))
        self.keys.append(keys_of(ids).to(frames.device))

    def compute(self) -> Tensor:
        """The mean over clips, a float64 scalar.

        Raises:
            UserError: No clip was added.
        """
        if not self.keys:
            raise UserError(f"{self.name}: 0 clips with captions, needs 1; name prompts in the folder's manifest.json.")
        return unique_by_key(self.keys, self.scores)[0].mean()

    def by_id(self, ids: Sequence[str]) -> NDArray[np.float64]:
        """Of each of these clips, which were added: the mean over its frames, (N,)."""
        keys, scores = (torch.cat(state).tolist() for state in (self.keys, self.scores))
        found = dict(zip(keys, scores, strict=True))
        return np.array([found[key] for key in keys_of(ids).tolist()])
