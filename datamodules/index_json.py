"""Indexes of version 1, in JSON: still read, never written."""

import json
import math
from pathlib import Path
from typing import Any

from datamodules.index_table import Member, Sample, SampleTable, columns_of
from datamodules.media import Media
from mav_lightning.common.errors import UserError

__all__ = ["OLD_INDEX", "read_old_index"]

OLD_INDEX = "index.json"

Rows = list[tuple[str, int, str, int, int]]


def read_old_index(path: Path) -> tuple[Rows, SampleTable, str]:
    """Read an index of version 1.

    Returns:
        Name, size, sha256, number of samples and of hidden members of each shard; the samples; and the recorded hash.

    Raises:
        UserError: The file is damaged or of another version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != 1:
            raise UserError(f"{path}: is of the unknown version {content['version']}.")
        shards = [(shard, [_sample(sample) for sample in shard["samples"]]) for shard in content["shards"]]
        rows = [(_text(one["name"]), _count(one["bytes"]), _text(one["sha256"]), len(held), 0) for one, held in shards]
        table = SampleTable(columns_of([sample for _, held in shards for sample in held]))
        return rows, table, _text(content["sha256"])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UserError(f"{path}: not a shard index ({error!r}).") from error


def _sample(sample: dict[str, Any]) -> Sample:
    members = {
        _text(suffix): Member(_count(member["offset"]), _count(member["size"]), _count(member["crc32"]))
        for suffix, member in sample["members"].items()
    }
    media = None if sample["media"] is None else _media(sample["media"])
    error = None if sample["error"] is None else _text(sample["error"])
    return Sample(_text(sample["key"]), members, media, "txt" in members, error)


def _media(media: dict[str, Any]) -> Media:
    fps = media["fps"]
    if fps is not None and not (isinstance(fps, int | float) and 0 < fps < math.inf):
        raise TypeError(f"fps must be positive, got {fps!r}")
    return Media(_count(media["width"]), _count(media["height"]), _count(media["frames"]), fps)


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 60:
        raise TypeError(f"expected a whole number of at least 0, got {value!r}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r}")
    return value
