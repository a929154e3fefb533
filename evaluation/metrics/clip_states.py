"""States of torchmetrics classes that count every clip once, by its id.

An id is kept as 63 bits of its sha256, since torchmetrics states hold tensors only.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, Self

import numpy as np
import torch
import torchmetrics
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat
from torchmetrics.utilities.distributed import gather_all_tensors

from evaluation.metrics.base import ExtractedFeatures, Side
from mav_lightning.common.errors import UserError

__all__ = ["ClipSide", "FeatureSets", "OneSet", "TwoSets", "keys_of", "unique_by_key"]

ClipSide = tuple[Sequence[NDArray[np.floating]], Sequence[int]]  # features of each clip, (rows, d), and its group


_NUMBERS = count()


class _ClipStates(torchmetrics.Metric):
    """Base of states that tell clips apart by their ids: features are kept in float64, and ids are integers."""

    def set_dtype(self, dst_type: str | torch.dtype) -> Self:
        """Return the metric as it is: in another type, ids would no longer tell clips apart."""
        return self

    def _sync_dist(
        self, dist_sync_fn: Callable[..., Any] = gather_all_tensors, process_group: Any | None = None
    ) -> None:
        if torch.distributed.is_initialized():
            self._shape_empty_states(process_group or self.process_group)
        super()._sync_dist(dist_sync_fn, process_group)

    def _shape_empty_states(self, group: Any | None) -> None:
        """Give states without clips the shape that they have in other processes: gathering needs equal ones."""
        own = {name: batches for name in self._reductions if isinstance(batches := getattr(self, name), list)}
        known = {name: (batches[0].shape[1:], batches[0].dtype) for name, batches in own.items() if batches}
        everywhere: list[Any] = [None] * torch.distributed.get_world_size(group)
        torch.distributed.all_gather_object(everywhere, known, group)
        for name in own.keys() - known.keys():
            shape, dtype = next((one[name] for one in everywhere if name in one), ((), self.dtype))
            setattr(self, name, [torch.empty((0, *shape), dtype=dtype, device=self.device)])


class TwoSets(_ClipStates):
    """Base of distances between generated and real clips; its states are features, ids and groups of both sides.

    Args:
        name: Name in messages.
        required: Number of clips that `compute` requires, by side; any number for other sides. None for no requirement.
        force: If True, compute with any number of clips instead of raising an error.
        kwargs: Arguments of `torchmetrics.Metric`.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    def __init__(
        self, name: str, required: Mapping[Side, int] | None = None, force: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.name, self.required, self.force = name, dict(required or {}), force
        for side in ("generated", "real"):
            for state in ("features", "keys", "groups"):
                self.add_state(f"{side}_{state}", default=[], dist_reduce_fx="cat")

    def add(self, features: Tensor, ids: Sequence[str], real: bool, groups: Sequence[str] | None = None) -> None:
        """Add the features of clips to one side.

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

    def sides(self) -> tuple[ClipSide, ClipSide]:
        """Return features and groups of the clips of all processes, generated first, in a fixed order."""
        (generated, groups), (real, real_groups) = self.both_sides()
        return (list(generated.cpu().numpy()), groups.tolist()), (list(real.cpu().numpy()), real_groups.tolist())

    def require_counts(self) -> None:
        """Check that both sides have the required number of clips, unless `force`.

        Raises:
            UserError: If a side has another number.
        """
        for side, wanted in self.required.items():
            require_count(self.name, side, self.count(side), wanted, self.force)

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


class FeatureSets(TwoSets):
    """Base of distances that take features."""

    def update(self, features: Tensor, ids: Sequence[str], real: bool, groups: Sequence[str] | None = None) -> None:
        """Add the features of clips to one side; see `TwoSets.add`."""
        self.add(features, ids, real, groups)

    def add_sides(self, extracted: ExtractedFeatures, extractor: str) -> None:
        """Add the features of an extractor for all clips of both sides."""
        sides: tuple[Side, Side] = ("generated", "real")
        for side in sides:
            found = extracted.features(extractor, side)
            self.update(torch.from_numpy(found.values), found.ids, real=side == "real", groups=found.groups)


class OneSet(_ClipStates):
    """Base of scores of generated clips, with one row of values per clip.

    Args:
        name: Name in messages.
        required: Number of generated clips that `compute` needs, under the key ``generated``. None for any.
        force: If True, compute with any number of clips instead of raising an error.
        kwargs: Arguments of `torchmetrics.Metric`.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    values: list[Tensor]
    keys: list[Tensor]

    def __init__(
        self, name: str, required: Mapping[Side, int] | None = None, force: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.name, self.required, self.force = name, (required or {}).get("generated"), force
        for state in ("values", "keys"):
            self.add_state(state, default=[], dist_reduce_fx="cat")
        # A collection joins metrics whose states are equal after the first update; that may have been of real clips,
        # which leave no values here.
        self.add_state("number", default=torch.tensor(next(_NUMBERS)), dist_reduce_fx="max")

    def add_values(self, values: Tensor, ids: Sequence[str]) -> None:
        """Add values of N clips, shape (N, …), kept in float64; a clip that was added before is not counted again."""
        self.values.append(values.double())
        self.keys.append(keys_of(ids).to(values.device))

    def rows(self) -> Tensor:
        """Return the values of all added clips, each once, ordered by key, after checking their number.

        Raises:
            UserError: If there are none, or not the required number and `force` is False.
        """
        rows = unique_by_key(self.keys, self.values)[0]
        if self.required is not None:
            require_count(self.name, "generated", len(rows), self.required, self.force)
        if not len(rows):
            raise UserError(f"{self.name}: 0 generated clips, needs 1; add clips first.")
        return rows


def require_count(name: str, side: Side, found: int, wanted: int, force: bool) -> None:
    """Check the number of generated or of real clips.

    Args:
        name: Name of the metric, for the message.
        side: Side whose clips were counted.
        found: Number of clips.
        wanted: The number that the protocol requires.
        force: Accept any number.

    Raises:
        UserError: If it is not the number wanted, unless `force`.
    """
    if found != wanted and not force:
        raise UserError(
            f"{name}: is defined for {wanted} {side} clips, got {found}; provide that many, or set `force` and do not "
            "compare with other values of this metric."
        )


def keys_of(ids: Sequence[str]) -> Tensor:
    """Return one int64 per id, shape (N,)."""
    return torch.tensor([int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1 for text in ids])


def unique_by_key(keys: list[Tensor] | Tensor, *values: list[Tensor] | Tensor) -> list[Tensor]:
    """Join the batches of states, keep the first row of every key and sort by key: (N, …) each → (unique, …) each.

    States are lists of batches; once processes have exchanged them, torchmetrics leaves one tensor each.
    """
    if len(keys) == 0:
        return [torch.empty(0) for _ in values]
    _, first = _first_rows(dim_zero_cat(keys))
    return [dim_zero_cat(value)[first] for value in values]


def _first_rows(keys: Tensor) -> tuple[Tensor, Tensor]:
    ordered, order = torch.sort(keys, stable=True)
    new = torch.ones_like(ordered, dtype=torch.bool)
    new[1:] = ordered[1:] != ordered[:-1]
    return ordered[new], order[new]
