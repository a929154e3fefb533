"""States of torchmetrics classes that count every clip once, by its id.

An id is kept as 63 bits of its sha256, since torchmetrics states hold tensors only.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torchmetrics
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from evaluation.metrics.base import ExtractedFeatures, Side
from mav_lightning.common.errors import UserError

__all__ = ["ClipSide", "TwoSets", "keys_of", "unique_by_key"]

ClipSide = tuple[Sequence[NDArray[np.floating]], Sequence[int]]  # features of each clip, (rows, d), and its group


class TwoSets(torchmetrics.Metric):
    """Base of distances between generated and real clips: features, ids and groups of both sides.

    Args:
        name: Name in messages.
        kwargs: Arguments of `torchmetrics.Metric`.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.name = name
        for side in ("generated", "real"):
            for state in ("features", "keys", "groups"):
                self.add_state(f"{side}_{state}", default=[], dist_reduce_fx="cat")

    def update(self, features: Tensor, ids: Sequence[str], real: bool, groups: Sequence[str] | None = None) -> None:
        """Add clips to one side.

        Args:
            features: Features of N clips, shape (N, rows, d), of any floating dtype; kept in float64.
            ids: Id of each clip, unique on its side; a clip that was added before is not counted again.
            real: Whether the clips are real.
            groups: Group of each clip; clips of one group are not independent, for example cut from one video. None if
                all are independent.

        Raises:
            UserError: If the shapes do not match, or features are not finite.
        """
        if features.ndim != 3 or len(features) != len(ids):
            raise UserError(
                f"{self.name}: takes features (clips, rows, d) and as many ids, got {tuple(features.shape)} and "
                f"{len(ids)} ids."
            )
        if not features.isfinite().all():
            worst = ids[int((~features.isfinite()).flatten(1).any(dim=1).nonzero()[0])]
            raise UserError(f"{self.name}: the features of clip `{worst}` are not all finite; look at the clip.")
        side = "real" if real else "generated"
        added = (features.double(), keys_of(ids), keys_of(ids if groups is None else groups))
        for state, rows in zip(("features", "keys", "groups"), added, strict=True):
            getattr(self, f"{side}_{state}").append(rows.to(features.device))

    def add_sides(self, extracted: ExtractedFeatures, extractor: str) -> None:
        """Add the features of an extractor for all clips of both sides."""
        sides: tuple[Side, Side] = ("generated", "real")
        for side in sides:
            found = extracted.features(extractor, side)
            self.update(torch.from_numpy(found.values), found.ids, real=side == "real", groups=found.groups)

    def sides(self) -> tuple[ClipSide, ClipSide]:
        """Return features and groups of the clips of all processes, generated first, in a fixed order."""
        (generated, groups), (real, real_groups) = self.both_sides()
        return (list(generated.cpu().numpy()), groups.tolist()), (list(real.cpu().numpy()), real_groups.tolist())

    def count(self, side: Side) -> int:
        """Return the number of clips on a side, each counted once."""
        return len(self.side(side)[0])

    def both_sides(self) -> list[tuple[Tensor, Tensor]]:
        """Return features (N, rows, d) and groups (N,) of the clips of all processes, generated first."""
        with self.sync_context():
            return [self.side(side) for side in ("generated", "real")]

    def side(self, side: str) -> tuple[Tensor, Tensor]:
        """Return features (N, rows, d) and groups (N,) of one side, each clip once, ordered by key."""
        states = (getattr(self, f"{side}_{state}") for state in ("keys", "features", "groups"))
        features, groups = unique_by_key(*states)
        return features, groups


def keys_of(ids: Sequence[str]) -> Tensor:
    """Return one int64 per id, shape (N,)."""
    return torch.tensor([int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1 for text in ids])


def unique_by_key(keys: list[Tensor], *values: list[Tensor]) -> list[Tensor]:
    """Join the batches of states, keep the first row of every key and sort by key: (N, …) each → (unique, …) each."""
    if not keys:
        return [torch.empty(0) for _ in values]
    _, first = _first_rows(dim_zero_cat(keys))
    return [dim_zero_cat(value)[first] for value in values]


def _first_rows(keys: Tensor) -> tuple[Tensor, Tensor]:
    ordered, order = torch.sort(keys, stable=True)
    new = torch.ones_like(ordered, dtype=torch.bool)
    new[1:] = ordered[1:] != ordered[:-1]
    return ordered[new], order[new]
