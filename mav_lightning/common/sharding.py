"""Tensors that are sharded over processes along their first axis, as FSDP2 shards weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor

__all__ = ["is_sharded", "shard_like", "whole", "whole_weights"]


def is_sharded(tensor: Tensor) -> bool:
    """Return whether this process holds a shard of a tensor only."""
    return isinstance(tensor, DTensor)


def whole(tensor: Tensor) -> Tensor:
    """Gather a sharded tensor from all processes, all of which must call this function.

    Args:
        tensor: The tensor. One that is not sharded is returned as it is.
    """
    gathered: Tensor = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return gathered


def shard_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Shard a tensor that all processes hold in full in the same way as another one; no data is exchanged.

    Args:
        tensor: The whole tensor.
        like: Tensor of the same shape. If it is not sharded, `tensor` is returned as it is.
    """
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


@contextmanager
def whole_weights(module: nn.Module) -> Iterator[None]:
    """Gather the weights of a sharded module inside a ``with`` block, read-only. All processes must enter the block.

    Args:
        module: The module. Nothing happens if it is not sharded.
    """
    sharded = [part for part in module.modules() if isinstance(part, FSDPModule)]
    with torch.no_grad():
        for part in sharded:
            part.unshard()
    try:
        yield
    finally:
        for part in sharded:
            part.reshard()
