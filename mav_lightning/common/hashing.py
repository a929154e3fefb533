"""Content hashes of files and tensors."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mav_lightning.common.machine_faults import unreadable

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["derived_seed", "file_sha256", "tensors_sha256"]

_known: dict[tuple[int, ...], str] = {}  # identity and times of a file → its hash


def derived_seed(seed: int, purpose: str) -> int:
    """Derive a seed whose random numbers are independent of those of `seed` and of other purposes.

    PyTorch's generator on the CPU uses the lower 32 bits of a seed only, so these are hashed.

    Args:
        seed: The seed.
        purpose: Use of the random numbers; every use has its own stream.

    Example:
        >>> derived_seed(0, "variation") != derived_seed(1, "variation") != derived_seed(0, "loop")
        True
    """
    return int.from_bytes(hashlib.sha256(f"{purpose} {seed}".encode()).digest()[:4], "big")


def file_sha256(path: Path) -> str:
    """Compute the sha256 of a file's bytes, as 64 hexadecimal digits.

    A process reads the bytes of a file once, and again if the file was replaced or written to since.

    Raises:
        UserError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if key not in _known:
                _known[key] = hashlib.file_digest(file, "sha256").hexdigest()
            return _known[key]
    except OSError as error:
        raise unreadable(path, error) from error


def tensors_sha256(tensors: Mapping[str, "Tensor"]) -> str:
    """Compute the sha256 of named tensors: their names, types, shapes and values, in any order."""
    import torch

    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
