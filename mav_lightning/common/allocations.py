"""Bytes that operations allocate, counted on any device; on PyTorch's meta device without allocating anything."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["Allocations", "PeakAllocations"]


class Allocations(TorchDispatchMode):
    """Notes the tensors that operations allocate, without keeping them alive.

    Args:
        without: Tensors whose views are not counted, such as weights.
    """

    def __init__(self, without: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._without = {tensor.untyped_storage()._cdata for tensor in without}
        self._storages: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note its results."""
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._without:
                    self._storages[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        return out

    def alive(self) -> int:
        """Return the bytes of those tensors that are still referenced."""
        self._storages = {key: noted for key, noted in self._storages.items() if not noted[0].expired()}
        return sum(size for _, size in self._storages.values())


class PeakAllocations(Allocations):
    """Notes the most bytes that were allocated at once; for work without gradients, which frees most of them soon.

    Attributes:
        peak: Bytes.
    """

    peak: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note its results."""
        out = super().__torch_dispatch__(func, types, args, kwargs)
        self.peak = max(self.peak, self.alive())
        return out
