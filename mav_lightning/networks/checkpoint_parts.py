"""Checkpoints of sharded trainings: one file per process, with that process's shards of the tensors."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["checkpoint_files", "join_parts", "part_path", "replace_shards", "shard_entry"]

# `step-00000004-00002-of-00008.ckpt` is the part of the second process of eight
_PART = re.compile(r"(?P<stem>.+)-[0-9]{5}-of-(?P<count>(?!0{5})[0-9]{5})\.ckpt")
_SHARD = "__shard__"
_SHAPE = "__whole_shape__"


def part_path(path: Path, rank: int, ranks: int) -> Path:
    """Return the path of a process's part of a checkpoint.

    Args:
        path: Path of the checkpoint, or of any part of it.
        rank: Rank of the process, counted from 0. File names count from 1.
        ranks: Number of processes.
    """
    found = _PART.fullmatch(path.name)
    stem = found["stem"] if found else path.stem
    return path.with_name(f"{stem}-{rank + 1:05d}-of-{ranks:05d}{path.suffix}")


def checkpoint_files(path: Path) -> list[Path]:
    """Return the files of a checkpoint: itself, or all parts in the order of the ranks if it is one of them."""
    found = _PART.fullmatch(path.name)
    if found is None:
        return [path]
    count = int(found["count"])
    return [part_path(path, rank, count) for rank in range(count)]


def shard_entry(shard: Tensor, shape: Sequence[int]) -> dict[str, Any]:
    """Return the file entry that represents one shard of a sharded tensor.

    Args:
        shard: This process's part of the tensor, along the first axis; it may have no rows.
        shape: Shape of the whole tensor.
    """
    return {_SHARD: shard, _SHAPE: list(shape)}


def replace_shards(value: Any, replace: Callable[[Tensor, list[int]], Any]) -> Any:
    """Return nested plain data with each sharded tensor replaced.

    Args:
        value: Content of a file.
        replace: Called with a shard and the shape of the whole tensor.
    """
    if _is_shard(value):
        return replace(value[_SHARD], value[_SHAPE])
    if isinstance(value, dict):
        return {key: replace_shards(item, replace) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(replace_shards(item, replace) for item in value)
    return value


def join_parts(parts: Sequence[Any]) -> Any:
    """Return the content of a whole checkpoint from the contents of its parts, in the order of the ranks.

    What is not sharded is the first part's, as in a checkpoint of a training whose processes all hold everything.

    Raises:
        ValueError: If the parts do not belong together.
    """
    first = parts[0]
    if _is_shard(first):
        if not all(_is_shard(part) and part[_SHAPE] == first[_SHAPE] for part in parts):
            raise ValueError("its parts hold tensors of different shapes")
        joined = torch.cat([part[_SHARD] for part in parts])
        if list(joined.shape) != first[_SHAPE]:
            raise ValueError(f"the parts of a tensor of shape {first[_SHAPE]} join to {list(joined.shape)}")
        return joined
    if isinstance(first, dict) and all(isinstance(part, dict) and part.keys() == first.keys() for part in parts):
        return {key: join_parts([part[key] for part in parts]) for key in first}
    if isinstance(first, list | tuple) and all(type(part) is type(first) and len(part) == len(first) for part in parts):
        return type(first)(join_parts(items) for items in zip(*parts, strict=True))
    return first


def _is_shard(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {_SHARD, _SHAPE}
