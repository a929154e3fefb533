"""Table of the samples of an index: one column for each fact, stored in one file and mapped into memory.

A sample takes about 100 bytes and is built on use, so opening an index of ten million samples reads its hash only once,
and worker processes share its pages.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from datamodules.media import Media
from mav_lightning.common.errors import UserError
from mav_lightning.common.tensor_file import map_tensors
from mav_lightning.common.whole_file import whole_file
from mav_lightning.shards.samples import SUFFIXES

__all__ = ["Columns", "Member", "Sample", "SampleTable", "columns_of", "joined"]

Columns = dict[str, NDArray[Any]]
_CODES = sorted(SUFFIXES)
_FACTS = {field.name: field.type is int for field in fields(Media)}  # name → whether it is a whole number
# Column → element type, and what has one element in it.
_LAYOUT = {
    "key_ends": (np.uint64, "samples"),  # in `keys`, UTF-8
    "member_ends": (np.uint64, "samples"),
    "captioned": (np.bool_, "samples"),
    "media": (np.float64, "samples"),  # rows; NaN stands for None
    "suffixes": (np.uint8, "members"),
    "offsets": (np.uint64, "members"),
    "sizes": (np.uint64, "members"),
    "crc32": (np.uint32, "members"),
    "bad": (np.uint64, "errors"),  # numbers of unusable samples, increasing
    "error_ends": (np.uint64, "errors"),  # in `errors`, UTF-8
    "keys": (np.uint8, "bytes"),
    "errors": (np.uint8, "bytes"),
}
_ABOUT, _HASH = "index", "content_sha256"
_ENDS = {"key_ends": "keys", "member_ends": "suffixes", "error_ends": "errors"}


@dataclass(frozen=True)
class Member:
    """One file inside a shard.

    Attributes:
        offset: Bytes from the start of the shard.
        size: Bytes.
        crc32: Checksum of the bytes, so that damage after indexing is detected before decoding.
    """

    offset: int
    size: int
    crc32: int


@dataclass(frozen=True)
class Sample:
    """One sample of a shard.

    Attributes:
        key: Name, unique in the folder.
        members: Suffix → location in the shard.
        media: Properties of its video or image. None if they cannot be read.
        captioned: Whether it has a caption that can be read.
        error: Why the sample cannot be used. None if it can.
    """

    key: str
    members: Mapping[str, Member]
    media: Media | None
    captioned: bool
    error: str | None


def columns_of(samples: Sequence[Sample]) -> Columns:
    """Return the columns of samples."""
    members = [(suffix, member) for sample in samples for suffix, member in sample.members.items()]
    keys = [sample.key.encode() for sample in samples]
    errors = {number: sample.error for number, sample in enumerate(samples) if sample.error is not None}
    missing = (np.nan,) * len(_FACTS)
    values = {
        "key_ends": np.cumsum([len(key) for key in keys]),
        "member_ends": np.cumsum([len(sample.members) for sample in samples]),
        "captioned": [sample.captioned for sample in samples],
        "media": np.array(
            [missing if sample.media is None else astuple(sample.media) for sample in samples], np.float64
        ).reshape(len(samples), len(_FACTS)),
        "suffixes": [_CODES.index(suffix) for suffix, _ in members],
        "offsets": [member.offset for _, member in members],
        "sizes": [member.size for _, member in members],
        "crc32": [member.crc32 for _, member in members],
        "keys": np.frombuffer(b"".join(keys), np.uint8),
        **_error_columns(errors),
    }
    return {name: np.asarray(values[name], dtype) for name, (dtype, _) in _LAYOUT.items()}


def _error_columns(errors: Mapping[int, str]) -> Columns:
    texts = [errors[number].encode("utf-8", "backslashreplace") for number in sorted(errors)]
    return {
        "bad": np.array(sorted(errors), np.uint64),
        "error_ends": np.cumsum([len(text) for text in texts], dtype=np.uint64),
        "errors": np.frombuffer(b"".join(texts), np.uint8),
    }


def joined(parts: Sequence[Columns]) -> Columns:
    """Return the columns of the samples of all parts, in order."""
    shift = {name: 0 for name in (*_ENDS, "bad")}
    found: dict[str, list[NDArray[Any]]] = {name: [] for name in _LAYOUT}
    for part in parts:
        for name, column in part.items():
            found[name].append(column + column.dtype.type(shift[name]) if name in shift else column)
        for name, blob in _ENDS.items():
            shift[name] += len(part[blob])
        shift["bad"] += len(part["key_ends"])
    empty = columns_of([])
    return {name: np.concatenate(columns) if columns else empty[name] for name, columns in found.items()}


class SampleTable:
    """The samples of an index file, each built on use.

    Args:
        columns: See `columns_of`.
        suffixes: Suffixes by the numbers that the columns hold; versions that know more of them number them anew.
    """

    def __init__(self, columns: Columns, suffixes: Sequence[str] = _CODES) -> None:
        self.columns, self.suffixes = columns, suffixes

    @classmethod
    def load(cls, path: Path, version: str) -> tuple[dict[str, Any], "SampleTable"]:
        """Map an index file into memory; return the data passed to `save`, and the samples.

        Raises:
            UserError: The file is damaged or of another version.
        """
        metadata, columns = map_tensors(path)
        about = _parsed(metadata)
        if (found := about.get("version")) != version:
            raise UserError(f"{path}: not an index of version {version}, but of {found or 'another kind'}.")
        if problem := _problem(about, columns):
            raise UserError(f"{path}: damaged ({problem}).")
        return about, cls(columns, about["suffixes"])

    def save(self, path: Path, about: Mapping[str, Any]) -> None:
        """Write the samples and plain data about them to a file that `load` reads.

        Raises:
            UserError: The file cannot be written.
        """
        content = {**about, "suffixes": list(self.suffixes), "media": list(_FACTS)}
        content[_HASH] = _content_sha256(content, self.columns)
        with whole_file(path) as partial:
            save_file(self.columns, partial, {_ABOUT: json.dumps(content)})

    def with_errors(self, errors: Mapping[int, str]) -> "SampleTable":
        """Return the samples with further ones marked as unusable, given by number; earlier errors are kept."""
        known = {int(number): self.error(int(number)) or "" for number in self.columns["bad"]}
        return SampleTable({**self.columns, **_error_columns({**errors, **known})}, self.suffixes) if errors else self

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.columns["key_ends"])

    def __getitem__(self, number: int) -> Sample:
        """Return a sample by its number."""
        columns, number = self.columns, range(len(self))[number]
        first, last = self._range("member_ends", number)
        members = {
            self.suffixes[columns["suffixes"][place]]: Member(
                int(columns["offsets"][place]), int(columns["sizes"][place]), int(columns["crc32"][place])
            )
            for place in range(first, last)
        }
        media, captioned = self.media(number), bool(columns["captioned"][number])
        return Sample(self.key(number), members, media, captioned, self.error(number))

    def key(self, number: int) -> str:
        """Return the key of a sample."""
        first, last = self._range("key_ends", number)
        return str(self.columns["keys"][first:last].tobytes(), "utf-8", "backslashreplace")

    def media(self, number: int) -> Media | None:
        """Return the properties of a sample's video or image; see `Sample`."""
        row = self.columns["media"][number].tolist()
        if np.isnan(row[0]):
            return None
        values = {
            name: None if np.isnan(value) else int(value) if whole else value
            for (name, whole), value in zip(_FACTS.items(), row, strict=True)
        }
        return Media(**values)  # type: ignore[arg-type]

    def error(self, number: int) -> str | None:
        """Return why a sample cannot be used. None if it can."""
        place = int(np.searchsorted(self.columns["bad"], number))
        if place == len(self.columns["bad"]) or self.columns["bad"][place] != number:
            return None
        first, last = self._range("error_ends", place)
        return str(self.columns["errors"][first:last].tobytes(), "utf-8", "backslashreplace")

    @cached_property
    def usable(self) -> NDArray[np.bool_]:
        """For each sample, whether it can be used."""
        usable = np.ones(len(self), np.bool_)
        usable[self.columns["bad"]] = False
        return usable

    def alike(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Group samples of equal suffixes, media and presence of a caption.

        Returns:
            The number of one sample of each group, and for each sample the number of its group.
        """
        held = np.zeros(len(self), np.float64)  # a bit for each suffix
        counts = np.diff(self.columns["member_ends"], prepend=np.uint64(0)).astype(np.int64)
        np.add.at(held, np.repeat(np.arange(len(self)), counts), np.exp2(self.columns["suffixes"], dtype=np.float64))
        rows = np.column_stack([held, self.columns["captioned"], self.columns["media"]])
        packed = np.ascontiguousarray(rows).view(f"V{rows.shape[1] * 8}")[:, 0]
        _, first, group = np.unique(packed, return_index=True, return_inverse=True)
        return first, group

    def _range(self, ends: str, number: int) -> tuple[int, int]:
        column = self.columns[ends]
        return int(column[number - 1]) if number else 0, int(column[number])


def _parsed(metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        about = json.loads(metadata.get(_ABOUT, "{}"))
    except (ValueError, RecursionError):
        return {}
    flat = isinstance(about, dict) and not any(map(_is_deep, about.values()))
    return about if flat else {}


def _is_deep(value: Any) -> bool:
    """Return whether plain data is more than a list of lists of values."""
    rows = value if isinstance(value, list) else [value]
    return any(isinstance(one, dict | list) for row in rows for one in (row if isinstance(row, list) else [row]))


def _problem(about: Mapping[str, Any], columns: Columns) -> str | None:
    """Return what is wrong with the content of an index file, or None; sizes of shards are checked later."""
    suffixes = about.get("suffixes")
    if (
        about.get("media") != list(_FACTS)
        or not isinstance(suffixes, list)
        or not all(isinstance(one, str) for one in suffixes)
    ):
        return "it lists other members or properties than this version knows"
    if columns.keys() != _LAYOUT.keys():
        return "columns are missing"
    counts = {"samples": len(columns["key_ends"]), "members": len(columns["suffixes"]), "errors": len(columns["bad"])}
    for name, (dtype, rows) in _LAYOUT.items():
        column, shape = columns[name], (len(_FACTS),) if name == "media" else ()
        if column.dtype != dtype or column.shape[1:] != shape or len(column) != counts.get(rows, len(column)):
            return f"column `{name}` has another type or length"
    for name, blob in _ENDS.items():
        ends = columns[name]
        if (ends[1:] < ends[:-1]).any() or (int(ends[-1]) if len(ends) else 0) != len(columns[blob]):
            return f"column `{name}` is out of order"
    if problem := _value_problem(columns, counts["samples"], len(suffixes)):
        return problem
    content = {name: value for name, value in about.items() if name != _HASH}
    return None if about.get(_HASH) == _content_sha256(content, columns) else "its content has been edited"


def _value_problem(columns: Columns, samples: int, suffixes: int) -> str | None:
    bad, media = columns["bad"], columns["media"]
    if (bad[1:] <= bad[:-1]).any() or len(bad) and int(bad[-1]) >= samples:
        return "column `bad` is out of order"
    if (columns["suffixes"] >= suffixes).any():
        return "column `suffixes` is out of range"
    whole = media[:, [number for number, one in enumerate(_FACTS.values()) if one]]
    present = ~np.isnan(media[:, 0])
    if not ((whole[present] >= 0) & (whole[present] < 2**53)).all() or np.isinf(media).any() or (media <= 0).any():
        return "column `media` is out of range"
    return None


def _content_sha256(about: Mapping[str, Any], columns: Columns) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in _LAYOUT:
        digest.update(np.ascontiguousarray(columns[name]).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
