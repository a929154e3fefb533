"""Bytes that operations allocate, counted on any device; on PyTorch's meta device without allocating anything."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, UntypedStorage
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["Allocations"]


class Allocations(TorchDispatchMode):
    """Records the tensors that operations allocate, without keeping them alive.

    Args:
        without: Tensors whose views are not counted, such as weights.

    Attributes:
        peak: Most bytes that were allocated at once.
    """

    def __init__(self, without: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._without = {tensor.untyped_storage()._cdata for tensor in without}
        self._storages: dict[int, tuple[StorageWeakRef, int]] = {}
        self._at_most = 0  # bytes allocated, as long as none of them is freed

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note its results."""
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._note(tensor.untyped_storage())
        if self._at_most > self.peak:  # looks for freed tensors only where the peak may have moved: they are many
            self._at_most = self.alive()
            self.peak = max(self.peak, self._at_most)
        return out

    def alive(self) -> int:
        """Return the bytes of those tensors that are still referenced."""
        self._storages = {key: noted for key, noted in self._storages.items() if not noted[0].expired()}
        return sum(size for _, size in self._storages.values())

    def _note(self, storage: UntypedStorage) -> None:
        if storage._cdata not in self._without and storage._cdata not in self._storages:
            self._storages[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
            self._at_most += storage.nbytes()
