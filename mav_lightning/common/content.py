"""Files by what they hold."""

import hashlib
from pathlib import Path

from mav_lightning.common.errors import UserError

__all__ = ["file_sha256"]


def file_sha256(path: Path) -> str:
    """Of a file's bytes.

    Raises:
        UserError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a file that is there.") from error
