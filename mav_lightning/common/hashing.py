"""Content hashes of files."""

import hashlib
from pathlib import Path

from mav_lightning.common.errors import UserError

__all__ = ["derived_seed", "file_sha256"]


def derived_seed(seed: int, purpose: str) -> int:
    """Return a seed whose random numbers have nothing to do with those of `seed`, or of another purpose.

    PyTorch's generator on the CPU uses the lower 32 bits of a seed only, so these are hashed.

    Args:
        seed: The seed.
        purpose: What the random numbers are for.

    Example:
        >>> derived_seed(0, "variation") != derived_seed(1, "variation") != derived_seed(0, "loop")
        True
    """
    return int.from_bytes(hashlib.sha256(f"{purpose} {seed}".encode()).digest()[:4], "big")


def file_sha256(path: Path) -> str:
    """Compute the sha256 of a file's bytes, as 64 hexadecimal digits.

    Raises:
        UserError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a readable file.") from error
