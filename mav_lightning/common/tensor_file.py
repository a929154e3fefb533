"""Arrays of a safetensors file, mapped into memory: pages are read on use and shared by all processes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from mav_lightning.common.errors import UserError

__all__ = ["map_tensors", "read_metadata"]

_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "U64": "<u8", "I64": "<i8", "U32": "<u4", "I32": "<i4", "U16": "<u2",
    "U8": "u1", "BOOL": "?",
}  # fmt: skip


def read_metadata(path: Path) -> dict[str, str] | None:
    """Return the metadata of a safetensors file. None if there is no readable file."""
    try:
        with safe_open(path, "numpy") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError):
        return None


def map_tensors(path: Path) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """Return the metadata and the arrays of a safetensors file, read-only.

    Raises:
        UserError: The file is damaged or holds arrays of another type than NumPy's numbers.
    """
    try:
        with safe_open(path, "numpy") as file:  # checks that the arrays fill the file and do not overlap
            metadata = file.metadata() or {}
        with path.open("rb") as head:
            size = int.from_bytes(head.read(8), "little")
            described = json.loads(head.read(size))
        described.pop("__metadata__", None)
        content = np.memmap(path, np.uint8, "r", offset=0)[8 + size :]
        arrays = {}
        for name, about in described.items():
            start, end = about["data_offsets"]
            arrays[name] = content[start:end].view(_DTYPES[about["dtype"]]).reshape(about["shape"])
        return metadata, arrays
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}).") from error
