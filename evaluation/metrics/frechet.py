"""Fréchet distance between a generated and a real set."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from evaluation.distance import Side, frechet_distance, frechet_jackknife
from evaluation.jackknife import Jackknife
from evaluation.kernel import kernel_distance
from evaluation.metrics.by_id import keys_of, unique_by_key
from evaluation.moments import Divisor, Moments
from mav_lightning.common.errors import UserError

__all__ = ["FrechetDistance"]


class FrechetDistance(Metric):
    """Squared Fréchet distance of features: FVD with one row a clip, FID with one row a frame.

    References:
        GANs Trained by a Two Time-Scale Update Rule (Heusel et al., 2017). https://arxiv.org/abs/1706.08500
        Towards Accurate Generative Models of Video (Unterthiner et al., 2018). https://arxiv.org/abs/1812.01717

    Args:
        name: What messages call it. It names the protocol, so ``fvd`` alone is for the usual I3D.
        divisor: Of the covariance.
        force: Compute with fewer than d + 1 rows, where the covariance is singular.
        kwargs: For `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> distance = FrechetDistance("toy-fvd")
        >>> rows = torch.tensor([[0.0], [1.0], [2.0]])[:, None]
        >>> distance.update(rows, ["a", "b", "c"], real=True)
        >>> distance.update(rows + 3, ["a", "b", "c"], real=False)
        >>> float(distance.compute())
        9.0
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    def __init__(self, name: str, divisor: Divisor = "n-1", force: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.name, self.divisor, self.force = name, divisor, force
        for side in ("generated", "real"):
            for state in ("features", "keys", "groups"):
                self.add_state(f"{side}_{state}", default=[], dist_reduce_fx="cat")

    def update(self, features: Tensor, ids: Sequence[str], real: bool, groups: Sequence[str] | None = None) -> None:
        """Adds clips to one side.

        Args:
            features: Shape (N, rows, d), of any precision; kept in float64.
            ids: One for each clip, unique in its side; a clip seen before is not counted again.
            real: Which side.
            groups: Clips of one group are not independent, e.g. cut from one video. None: all are.

        Raises:
            UserError: Other shapes, or features that are not numbers.
        """
        if features.ndim != 3 or len(features) != len(ids):
            raise UserError(
                f"{self.name}: takes (clips, rows, d) and as many ids, got {tuple(features.shape)}, {len(ids)}."
            )
        if not features.isfinite().all():
            worst = ids[int((~features.isfinite()).flatten(1).any(dim=1).nonzero()[0])]
            raise UserError(f"{self.name}: the features of clip `{worst}` are not all numbers; look at the clip.")
        side = "real" if real else "generated"
        added = (features.double(), keys_of(ids), keys_of(ids if groups is None else groups))
        for state, rows in zip(("features", "keys", "groups"), added, strict=True):
            getattr(self, f"{side}_{state}").append(rows.to(features.device))

    def compute(self) -> Tensor:
        """The distance, a float64 scalar.

        Raises:
            UserError: Fewer than d + 1 rows on a side, unless forced; fewer than two even then.
        """
        sides = [self._side(side) for side in ("generated", "real")]
        for side, (features, _) in zip(("generated", "real"), sides, strict=True):
            self._demand_enough(side, features)
        generated, real = (Moments.of(features.flatten(0, 1).cpu().numpy()) for features, _ in sides)
        return torch.tensor(frechet_distance(generated, real, self.divisor), dtype=torch.float64)

    def jackknife(self) -> Jackknife | None:
        """As `evaluation.distance.frechet_jackknife`."""
        (generated, groups), (real, real_groups) = self.sides()
        return frechet_jackknife(generated, real, groups, real_groups, self.divisor)

    def kernel_distance(self) -> tuple[float, Jackknife | None]:
        """Of the same features, one row a clip, as `evaluation.kernel.kernel_distance`: the kernel video distance.

        Raises:
            UserError: Clips of fewer than two groups on a side.
        """
        (generated, groups), (real, real_groups) = self._both_sides()
        for side, own in (("generated", groups), ("real", real_groups)):
            if (few := len(own.unique())) < 2:
                raise UserError(
                    f"{self.name}: {few} {side} source videos, and a kernel distance needs 2; bring clips of more."
                )
        sides = (generated.flatten(1).cpu().numpy(), real.flatten(1).cpu().numpy())
        return kernel_distance(*sides, groups.tolist(), real_groups.tolist())

    def sides(self) -> tuple[Side, Side]:
        """Features (rows, d) and group of each of all processes' clips, generated first, in a fixed order."""
        (generated, groups), (real, real_groups) = self._both_sides()
        return (list(generated.cpu().numpy()), groups.tolist()), (list(real.cpu().numpy()), real_groups.tolist())

    def count(self, side: Literal["generated", "real"]) -> int:
        """Clips on a side, each counted once."""
        return len(self._side(side)[0])

    def _both_sides(self) -> list[tuple[Tensor, Tensor]]:
        """Features and groups of all processes' clips, generated first."""
        with self.sync_context():
            return [self._side(side) for side in ("generated", "real")]

    def _side(self, side: str) -> tuple[Tensor, Tensor]:
        states = (getattr(self, f"{side}_{state}") for state in ("keys", "features", "groups"))
        features, groups = unique_by_key(*states)
        return features, groups

    def _demand_enough(self, side: str, features: Tensor) -> None:
        rows = len(features) * (features.shape[1] if features.ndim == 3 else 0)
        needed = features.shape[-1] + 1 if rows else 2
        if rows < (2 if self.force else needed):
            per_clip = features.shape[1] if rows else 1
            raise UserError(
                f"{self.name}: {rows} {side} feature vectors from {len(features)} clips, but a covariance of "
                f"{needed - 1} features needs {needed}; bring at least {-(-needed // per_clip)} {side} clips"
                f"{'' if self.force else ', or pass --force and trust only large differences'}."
            )
