"""Samples of a shard: members of one key, in the layout of WebDataset, img2dataset and video2dataset.

A sample is a run of adjacent members ``key.suffix``. The key ends at the first dot of the last path component, as in
WebDataset. Names are untrusted: a key is never used as a path, and members with suffixes not listed here are not read.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

from mav_lightning.common.errors import UserError
from mav_lightning.common.terminal import one_line, shorten
from mav_lightning.common.text_files import composed
from mav_lightning.media.formats import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from mav_lightning.media.limits import DEFAULT_LIMITS
from mav_lightning.media.listing import is_data_name
from mav_lightning.shards.tar_members import ByteStream, ShardError, TarMember, TarReader

__all__ = [
    "IMAGE_SUFFIXES", "SUFFIXES", "VIDEO_SUFFIXES", "Group", "SampleError", "ShardReader",
    "check_repeats", "read_folder", "repeated_in",
]  # fmt: skip

IMAGE_SUFFIXES = PICTURE_SUFFIXES
SUFFIXES = frozenset((*VIDEO_SUFFIXES, *IMAGE_SUFFIXES, "txt", "json"))
_LARGEST = {"txt": 1 << 20, "json": 1 << 24}  # bytes
_LONGEST_KEY = 1024  # characters
_REPEATED = "its members are not adjacent, or its key is used twice; write the shard again"

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


class ShardReader(Generic[Payload]):
    """Walk over the samples of one shard.

    A sample is yielded only once the next one, or the end, is reached: if the shard is cut or damaged, the sample being
    read is dropped rather than yielded incomplete. Hidden members (``._*`` of macOS, ``__MACOSX``) are skipped.

    Args:
        stream: The shard; see `TarReader`.
        load: Called as ``load(member, read)`` for every member that is kept; ``read()`` returns its bytes.
        size: Size of the shard in bytes. None if it is not known.
        skip: See `TarReader`.

    Attributes:
        hidden: Number of hidden members so far.
    """

    def __init__(
        self,
        stream: ByteStream,
        load: Callable[[TarMember, Callable[[], bytes]], Payload],
        size: int | None = None,
        skip: Callable[[int], object] | None = None,
    ) -> None:
        self._tar, self._load = TarReader(stream, size, skip), load
        self.hidden = 0

    def __iter__(self) -> Iterator[Group[Payload]]:
        """Yield the samples.

        Raises:
            ShardError: The shard is compressed, damaged, or cut.
        """
        sample: _Sample[Payload] | None = None
        for member in self._tar:
            name = composed(member.name.removeprefix("./"))
            if not is_data_name(name):
                self.hidden += 1
                continue
            key, suffix = _split(name)
            if sample is None or key != sample.key:
                if sample is not None:
                    yield sample.group()
                sample = _Sample(key)
            if (problem := sample.problem(member, suffix)) is not None:
                sample.errors.append(problem)
            elif suffix in SUFFIXES:
                sample.members[suffix] = self._load(member, self._tar.data)
        if sample is not None:
            yield sample.group()


class _Sample(Generic[Payload]):
    """A sample whose members are being read."""

    def __init__(self, key: str) -> None:
        self.key, self.members, self.dotted = key, dict[str, Payload](), ""
        self.errors = [] if (problem := _key_problem(key)) is None else [problem]

    def problem(self, member: TarMember, suffix: str) -> str | None:
        """Return why a member makes the sample unusable, or None; a suffix that is not listed never does."""
        if suffix not in SUFFIXES:
            if suffix.rpartition(".")[2] in (*VIDEO_SUFFIXES, *IMAGE_SUFFIXES):
                self.dotted = self.dotted or shorten(member.name)
            return None
        if member.problem is not None:
            return f"`.{suffix}` is {member.problem}"
        if suffix in self.members:
            return f"holds `.{suffix}` twice"
        if member.size > (most := _LARGEST.get(suffix, DEFAULT_LIMITS.bytes)):
            return f"`.{suffix}` has {member.size} bytes, more than {most}"
        return None

    def group(self) -> Group[Payload]:
        """Return the sample as read."""
        if self.dotted and not self.members.keys() & {*VIDEO_SUFFIXES, *IMAGE_SUFFIXES}:
            self.errors.append(f"a key ends at the first dot, so `{self.dotted}` has no known suffix; rename it")
        key = self.key if _key_problem(self.key) is None else shorten(self.key)
        return Group(key, self.members, "; ".join(self.errors) or None)


def check_repeats(groups: Sequence[Group[Payload]]) -> list[Group[Payload]]:
    """Return the samples of a whole shard, all of those with a common key marked as unusable."""
    count = Counter(group.key for group in groups)
    return [replace(group, error=group.error or _REPEATED) if count[group.key] > 1 else group for group in groups]


def repeated_in(shard: str) -> str:
    """Return the error of a sample whose key an earlier shard uses."""
    return f"its key is already used in {shard}; give it another"


def read_folder(paths: Iterable[Path]) -> Iterator[tuple[Path, list[Group[TarMember]]]]:
    """Yield each shard with its samples, without reading their data.

    Args:
        paths: Shards of one dataset, in order.

    Raises:
        UserError: A shard is compressed, damaged, or cut.
    """
    seen: dict[str, str] = {}
    for path in paths:
        try:
            with path.open("rb") as file:
                groups = check_repeats(list(_located(file, path.stat().st_size)))
        except ShardError as error:
            raise UserError(f"{path}: {error}") from error
        yield (
            path,
            [
                replace(group, error=repeated_in(seen[group.key]))
                if group.key in seen and group.error is None
                else group
                for group in groups
            ],
        )
        for group in groups:
            seen.setdefault(group.key, path.name)


def _located(file: BinaryIO, size: int) -> ShardReader[TarMember]:
    return ShardReader(file, lambda member, read: member, size, skip=lambda count: file.seek(count, 1))


def _split(name: str) -> tuple[str, str]:
    """``a/b.c.d`` → (``a/b``, ``c.d``): WebDataset splits at the first dot of the last path component."""
    folder, _, base = name.rpartition("/")
    stem, _, suffix = base.partition(".")
    return (f"{folder}/{stem}" if folder or name.startswith("/") else stem), suffix.lower()


def _key_problem(key: str) -> str | None:
    """Return why a key is not accepted, or None. Any script, spaces and punctuation are."""
    if any(part in ("", ".", "..") for part in key.split("/")):
        return f"`{shorten(key)}` is not a safe name; names must be relative, without `..` and empty parts"
    if one_line(key) != key:
        return f"`{shorten(key)}` is not a safe name; names must be UTF-8 without control characters"
    if len(key) > _LONGEST_KEY:
        return f"`{shorten(key)}` has {len(key)} characters, more than {_LONGEST_KEY}; shorten it"
    return None
