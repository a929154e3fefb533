"""Fréchet distance of clips (FVD) and of frames (FID) between a generated and a real set."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from evaluation.distance import frechet_distance, frechet_jackknife
from evaluation.jackknife import Jackknife
from evaluation.kernel import kernel_distance
from evaluation.metrics.by_id import keys_of, unique_by_key
from evaluation.statistics import Divisor, Moments
from mav_lightning.common.errors import UserError

__all__ = ["FID", "FVD"]


class _FrechetMetric(Metric):
    """What FVD and FID share: a subclass says which features a clip has.

    Args:
        extractor: Takes uint8 pixels, channels last, to features (rows, d); see `evaluation.extractors`.
        name: What messages call it. It names the protocol, so ``fvd`` alone is for the usual I3D.
        divisor: Of the covariance.
        force: Compute with fewer than d + 1 rows, where the covariance is singular.
        kwargs: For `torchmetrics.Metric`.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    def __init__(
        self, extractor: nn.Module, name: str, divisor: Divisor = "n-1", force: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.extractor, self.name, self.divisor, self.force = extractor.eval(), name, divisor, force
        for side in ("generated", "real"):
            for state in ("features", "keys", "groups"):
                self.add_state(f"{side}_{state}", default=[], dist_reduce_fx="cat")

    def features(self, clips: Tensor) -> Tensor:
        """(N, T, H, W, 3) uint8 → (N, rows, d)."""
        raise NotImplementedError

    @torch.no_grad()
    def update(self, clips: Tensor, ids: Sequence[str], real: bool, groups: Sequence[str] | None = None) -> None:
        """Adds clips to one side.

        Args:
            clips: Shape (N, T, H, W, 3), uint8, as read from files.
            ids: One for each clip, unique in its side; a clip seen before is not counted again.
            real: Which side.
            groups: Clips of one group are not independent, e.g. cut from one video. None: all are.
        """
        if clips.dtype != torch.uint8:
            raise TypeError(f"{self.name} takes uint8 clips as read from files, got {clips.dtype}.")
        side = "real" if real else "generated"
        added = (self.features(clips).double(), keys_of(ids), keys_of(ids if groups is None else groups))
        for state, rows in zip(("features", "keys", "groups"), added, strict=True):
            getattr(self, f"{side}_{state}").append(rows.to(clips.device))

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
        (generated, groups), (real, real_groups) = self._both_sides()
        sides = (list(generated.cpu().numpy()), list(real.cpu().numpy()))
        return frechet_jackknife(*sides, groups.tolist(), real_groups.tolist(), self.divisor)

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


class FVD(_FrechetMetric):
    """Fréchet video distance (Unterthiner et al., 2018): one feature vector a clip."""

    def __init__(self, extractor: nn.Module, name: str = "fvd", **kwargs: Any) -> None:
        super().__init__(extractor, name, **kwargs)

    def features(self, clips: Tensor) -> Tensor:
        """(N, T, H, W, 3) uint8 → (N, 1, d)."""
        return self.extractor(clips)[:, None]

    def kernel_distance(self) -> tuple[float, Jackknife | None]:
        """Of the same features, as `evaluation.kernel.kernel_distance`: the kernel video distance.

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


class FID(_FrechetMetric):
    """Fréchet inception distance (Heusel et al., 2017) of all frames: one feature vector a frame."""

    def __init__(self, extractor: nn.Module, name: str = "fid", **kwargs: Any) -> None:
        super().__init__(extractor, name, **kwargs)

    def features(self, clips: Tensor) -> Tensor:
        """(N, T, H, W, 3) uint8 → (N, T, d)."""
        return self.extractor(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])
