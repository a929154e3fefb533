"""JSON files that are whole or absent."""

import json
from pathlib import Path
from typing import Any

from mav_lightning.common.whole_file import whole_file

__all__ = ["read_json", "write_json", "write_text"]


def write_text(path: Path, text: str) -> None:
    """Writes `path` in one step that survives a crash: a reader sees the old file or the new one, never half."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes plain data as JSON, as `write_text` does; NaN and infinity are refused, as JSON has none."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads plain data; None where the file does not exist."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
