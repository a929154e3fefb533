"""Work on many items by several processes, in order."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from mav_lightning.common.errors import UserError

__all__ = ["cores", "end_with_parent", "in_parallel", "unchanged"]

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_parallel(function: Callable[[T], R], items: Sequence[T], processes: int | None = None) -> Iterator[R]:
    """Yield ``function(item)`` for each item, in order, computed by worker processes that end when this one does.

    Args:
        function: A function that can be pickled.
        items: The items.
        processes: Number of processes. None takes one per core, and none beside this one for a single item.

    Raises:
        UserError: The error of the first item, in order, for which the function raises one.
    """
    most = cores() if processes is None else processes
    workers = 0 if most < 2 or len(items) < 2 else min(most, len(items))
    # torch's loader is the process pool: ordered, and of bounded memory
    loader: DataLoader[Any] = DataLoader(
        _Calls(function, items),
        batch_size=None,
        num_workers=workers,
        worker_init_fn=end_with_parent,
        collate_fn=unchanged,
        generator=torch.Generator(),  # otherwise each pass would advance the global one
    )
    for result in loader:
        if isinstance(result, UserError):
            raise result
        yield result


def end_with_parent(worker: int) -> None:
    """End this worker of a loader as soon as the process that started it has ended, for whatever reason.

    PyTorch's workers look for the parent every 5 seconds, but one that has lost it before its first look takes its next
    parent for it, and stays for ever.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


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
