"""Work on many items by several processes, in order."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from mav_lightning.common.errors import UserError

__all__ = ["cores", "in_parallel", "unchanged"]

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_parallel(function: Callable[[T], R], items: Sequence[T], processes: int | None = None) -> Iterator[R]:
    """Yield ``function(item)`` for each item, in order, computed by processes that end with this one.

    Args:
        function: A function that can be pickled.
        items: The items.
        processes: Number of processes. None takes one per core, and none beside this one for a single item.

    Raises:
        UserError: The error of the first item, in order, for which the function raises one.
    """
    most = cores() if processes is None else processes
    workers = 0 if most < 2 or len(items) < 2 else min(most, len(items))
    # torch's loader is the process pool: ordered, of bounded memory, and its workers notice a killed parent
    loader: DataLoader[Any] = DataLoader(
        _Calls(function, items),
        batch_size=None,
        num_workers=workers,
        collate_fn=unchanged,
        generator=torch.Generator(),  # otherwise each pass would advance the global one
    )
    for result in loader:
        if isinstance(result, UserError):
            raise result
        yield result


def unchanged(item: Any) -> Any:
    """Return the item: the collate function of loaders whose workers build whole batches."""
    return item


class _Calls(Dataset[Any], Generic[T, R]):
    """Dataset of results; errors are items, since torch would wrap an exception in its traceback."""

    def __init__(self, function: Callable[[T], R], items: Sequence[T]) -> None:
        self.function, self.items = function, items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> R | UserError:
        try:
            return self.function(self.items[number])
        except UserError as error:
            return error
