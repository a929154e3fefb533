"""Text and JSON files written atomically: a reader sees the old file or the new one, never a part."""

import json
from pathlib import Path
from typing import Any

from mav_lightning.common.whole_file import whole_file

__all__ = ["read_json", "write_json", "write_text"]


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically; the write survives a crash of the process or the machine."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write plain data as JSON, atomically.

    Raises:
        ValueError: The data holds NaN or infinity, which JSON cannot represent.
    """
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read plain data from JSON; return None if the file does not exist."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
