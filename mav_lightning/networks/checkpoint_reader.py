"""The one reader of checkpoints, which may come from anyone: tensors and plain values only, whatever the bytes."""

from pathlib import Path
from typing import Any

import torch

from mav_lightning.common.errors import UserError
from mav_lightning.networks.checkpoint_parts import checkpoint_files, join_parts

__all__ = ["read_checkpoint", "read_checkpoint_file"]


def read_checkpoint(path: Path, map_location: Any = "cpu", mmap: bool = False) -> dict[str, Any]:
    """Read a checkpoint with torch's safe unpickler, which runs no code.

    Args:
        path: Local file. Any part of a checkpoint of a sharded training stands for the whole checkpoint.
        map_location: Device of the tensors, see `torch.load`. None for the devices they were saved from. With ``meta``
            and `mmap`, the tensors have shapes only, and their bytes are not read.
        mmap: Map the file into memory, and read what is used.

    Returns:
        The checkpoint; its ``state_dict`` maps names to tensors.

    Raises:
        UserError: If there is no such file, or it holds anything else.
    """
    files = checkpoint_files(path)
    parts = [read_checkpoint_file(file, map_location, mmap) for file in files]
    try:
        checkpoint = parts[0] if files == [path] else join_parts(parts)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{path}: the parts of the checkpoint do not belong together ({error}).") from error
    weights = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    named = weights.items() if isinstance(weights, dict) else ((None, None),)
    if not all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in named):
        raise UserError(f"{path}: holds no `state_dict` of tensors, so it is not a checkpoint of a training.")
    found: dict[str, Any] = checkpoint
    return found


def read_checkpoint_file(path: Path, map_location: Any = "cpu", mmap: bool = False) -> Any:
    """Read the content of one file of a checkpoint, with torch's safe unpickler.

    Args:
        path: Local file; of a sharded checkpoint, one part, whose shards are left as they are in the file.
        map_location: Device of the tensors, see `read_checkpoint`.
        mmap: Map the file into memory, and read what is used.

    Raises:
        UserError: If there is no such file, or it holds more than tensors and plain values.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; give the path of a .ckpt file.")
    try:
        return torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)
    except Exception as error:  # torch's reader raises whatever damaged bytes lead it to
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{path}: cannot be loaded as a checkpoint of tensors and plain values ({reason}); give a file that this "
            "project wrote."
        ) from error
