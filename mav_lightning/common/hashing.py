"""Content hashes of files."""

import hashlib
from pathlib import Path

from mav_lightning.common.errors import UserError

__all__ = ["file_sha256"]


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
