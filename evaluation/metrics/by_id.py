"""Clips are told apart by their id, as 63 bits of its sha256, since torchmetrics states hold tensors only."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

__all__ = ["keys_of", "unique_by_key"]


def keys_of(ids: Sequence[str]) -> Tensor:
    """One int64 for each id, (N,)."""
    return torch.tensor([int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1 for text in ids])


def unique_by_key(keys: list[Tensor], *values: list[Tensor]) -> list[Tensor]:
    """Joins a state's batches, keeps each key's first row and sorts by key: values (N, …) each → (unique, …) each."""
    if not keys:
        return [torch.empty(0) for _ in values]
    _, first = _first_rows(dim_zero_cat(keys))
    return [dim_zero_cat(value)[first] for value in values]


def _first_rows(keys: Tensor) -> tuple[Tensor, Tensor]:
    ordered, order = torch.sort(keys, stable=True)
    new = torch.ones_like(ordered, dtype=torch.bool)
    new[1:] = ordered[1:] != ordered[:-1]
    return ordered[new], order[new]
