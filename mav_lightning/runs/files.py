"""JSON files that are whole or absent."""

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["read_json", "write_json", "write_text"]


def write_text(path: Path, text: str) -> None:
    """Writes `path` in one step that survives a crash: a reader sees the old file or the new one, never half."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def write_json(path: Path, value: Any) -> None:
    """Writes plain data as JSON, as `write_text` does; NaN and infinity are refused, as JSON has none."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads plain data; None where the file does not exist."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
