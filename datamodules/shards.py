"""Shard layout of WebDataset, img2dataset and video2dataset: grouping of tar members to samples, and writing.

A sample is a run of adjacent members ``key.suffix`` with one key. Names are untrusted: a key is never used as a path,
and members with suffixes not listed here are never read.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Generic, TypeVar

import webdataset

from mav_lightning.common.errors import UserError
from mav_lightning.media.formats import PICTURE_SUFFIXES, VIDEO_SUFFIXES

__all__ = [
    "IMAGE_SUFFIXES", "SUFFIXES", "VIDEO_SUFFIXES", "Group", "SampleError",
    "group_members", "suffix_of", "write_shards",
]  # fmt: skip

IMAGE_SUFFIXES = PICTURE_SUFFIXES
SUFFIXES = frozenset((*VIDEO_SUFFIXES, *IMAGE_SUFFIXES, "txt", "json"))
_KEY = re.compile(r"([A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-]+")
_SHARD_BYTES = 1 << 30

Payload = TypeVar("Payload")


class SampleError(UserError):
    """A sample that cannot be used; readers count it, log it and continue."""


@dataclass(frozen=True)
class Group(Generic[Payload]):
    """The members of one sample.

    Attributes:
        key: Name of the sample.
        members: Suffix → payload, listed suffixes only.
        error: Why the sample must not be used. None if it may.
    """

    key: str
    members: Mapping[str, Payload] = field(default_factory=dict)
    error: str | None = None


def group_members(members: Iterable[tuple[str, Payload]]) -> Iterator[Group[Payload]]:
    """Group adjacent members of one shard to samples.

    A sample is yielded only once the next one, or the end, is reached: if reading `members` fails, the sample being
    read is dropped rather than yielded incomplete.
    """
    for key, run in groupby(members, key=lambda member: _split(member[0])[0]):
        found: dict[str, Payload] = {}
        errors = [] if _KEY.fullmatch(key) else [f"`{key}` is not a safe name; use letters, digits, `_` and `-`"]
        for name, payload in run:
            suffix = suffix_of(name)
            if suffix in found:
                errors.append(f"holds `.{suffix}` twice")
            elif suffix in SUFFIXES:
                found[suffix] = payload
        yield Group(key, found, "; ".join(errors) or None)


def suffix_of(name: str) -> str:
    """Return the suffix of a member's name, in lower case and without its dot."""
    return _split(name)[1]


def _split(name: str) -> tuple[str, str]:
    """``a/b.c.d`` → (``a/b``, ``c.d``): WebDataset splits at the first dot of the last path component."""
    folder, _, base = name.removeprefix("./").rpartition("/")
    stem, _, suffix = base.partition(".")
    return (f"{folder}/{stem}" if folder else stem), suffix.lower()


def write_shards(folder: Path, samples: Iterable[Mapping[str, bytes]], samples_per_shard: int) -> int:
    """Write ``00000.tar``, ``00001.tar``, … of at most `samples_per_shard` samples or 1 GiB each.

    Keys are consecutive numbers of nine digits. The same samples give the same bytes: no times, no owners.

    Args:
        folder: New folder of the shards.
        samples: Suffix → bytes for each sample.
        samples_per_shard: Largest number of samples per shard.

    Returns:
        The number of samples.
    """
    folder.mkdir(parents=True)
    pattern = str(folder).replace("%", "%%") + "/%05d.tar"
    count = 0
    with webdataset.ShardWriter(
        pattern, maxcount=samples_per_shard, maxsize=_SHARD_BYTES, verbose=0, mtime=0, encoder=False, compress=False
    ) as writer:
        for count, members in enumerate(samples, start=1):
            writer.write({"__key__": f"{count - 1:09d}", **members})
    return count
