"""Checkpoints written by a thread while training continues."""

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from lightning_utilities.core.rank_zero import rank_zero_warn
from torch import Tensor

from mav_lightning.common.errors import UserError

__all__ = ["CheckpointWriter", "nested_tensors", "other_objects"]

Checkpoint = dict[str, Any]
_CONTAINERS = (dict, OrderedDict, list, tuple, torch.Size)
_PLAIN = (bool, int, float, complex, str, bytes, set, type(None), torch.dtype, torch.device)


class CheckpointWriter:
    """Copy the state of a training, and write the copy in a thread, one checkpoint at a time.

    A step is held up by the copy alone; `benchmarks/checkpoints.py` measures it. The copy takes as much main memory as
    the file, on the first process, and is kept for the next checkpoint, as new memory takes several times as long to
    fill. The file holds the same values as one written at once.

    Args:
        background: False to write at once and without a copy, if main memory is short.
    """

    def __init__(self, background: bool = True) -> None:
        self.background = background
        self._copies: list[Tensor] = []
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def submit(self, checkpoint: Checkpoint, write: Callable[[Checkpoint], None]) -> None:
        """Copy a checkpoint and begin to write it, once the previous one is written.

        Args:
            checkpoint: Nested plain data and tensors, which may change as soon as this returns.
            write: Writes its argument. It runs in the thread.

        Raises:
            UserError: If main memory is short for the copy.
            Exception: The error of the previous write, or of this one if it is written immediately.
        """
        self.wait()
        if not self.background:
            write(checkpoint)
            return
        # not a daemon: a program that ends otherwise waits for it
        self._thread = threading.Thread(
            target=self._run, args=(write, self._copied(checkpoint)), name="checkpoint writer", daemon=False
        )
        self._thread.start()

    def check(self) -> None:
        """Raise what the last write raised, if it has failed by now."""
        error = self._error
        if error is not None:  # else it may be set right now, and must not be reset
            self._error = None
            raise error

    def wait(self) -> None:
        """Return once nothing is being written; raise the error of the last write."""
        self._join()
        self.check()

    def close(self) -> None:
        """Return once nothing is being written; only warn if that failed, as the program ends for another reason."""
        self._join()
        error, self._error = self._error, None
        if error is not None:
            rank_zero_warn(f"The last checkpoint could not be written: {str(error) or type(error).__name__}")
        self._copies.clear()

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, write: Callable[[Checkpoint], None], checkpoint: Checkpoint) -> None:
        try:
            write(checkpoint)
        except BaseException as error:  # raised in the main thread, by `check` or `wait`
            self._error = error

    @torch.no_grad()
    def _copied(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return a copy, with tensors in the memory of the last one; tensors that share memory do so in the copy."""
        memo: dict[int, Any] = {}
        shared: dict[Any, Tensor] = {}
        old, self._copies = self._copies, []
        for tensor in nested_tensors(checkpoint):
            place = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
            if place not in shared:
                number = len(self._copies)
                self._copies.append(_into(old[number] if number < len(old) else None, tensor))
                shared[place] = self._copies[-1]
            memo[id(tensor)] = shared[place].detach()  # another object with the same memory, as there
        copied: Checkpoint = copy.deepcopy(checkpoint, memo)
        return copied


def nested_tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested dicts, lists and tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from nested_tensors(item)


def other_objects(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted key and class of each object that is neither a tensor nor plain data, which no safe load reads.

    Args:
        value: Nested dicts, lists and tuples.
        key: Key of `value`.
    """
    if isinstance(value, dict | list | tuple) and type(value) in _CONTAINERS:
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from other_objects(item, f"{key}.{name}" if key else str(name))
    elif not (type(value) in _PLAIN or isinstance(value, Tensor)):
        yield key, type(value).__name__


def _into(old: Tensor | None, tensor: Tensor) -> Tensor:
    """Copy a tensor to main memory, into an old tensor if it fits."""
    fits = old is not None and (old.dtype, old.shape, old.stride()) == (tensor.dtype, tensor.shape, tensor.stride())
    if not fits:
        try:
            old = torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda)
        except (MemoryError, RuntimeError) as error:
            raise UserError(
                f"main memory is short for the copy that a checkpoint is written from ({str(error).splitlines()[0]}); "
                "set fit.background_checkpoints=false to write without a copy, and resume."
            ) from error
    assert old is not None
    return old.copy_(tensor)
