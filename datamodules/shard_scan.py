"""Scan of one shard for its index: one pass over the file gives hash, checksums, samples and media properties."""

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from datamodules.index_table import Columns, Member, Sample, columns_of
from datamodules.media import Media, find_media, probe_media
from mav_lightning.common.errors import UserError
from mav_lightning.common.retries import with_retries
from mav_lightning.shards.sample_facts import read_caption
from mav_lightning.shards.samples import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Group, SampleError, ShardReader, check_repeats
from mav_lightning.shards.tar_members import ShardError, TarMember

__all__ = ["ShardScan", "scan_shard"]


@dataclass(frozen=True)
class ShardScan:
    """Result of scanning one shard.

    Attributes:
        bytes: File size.
        sha256: Hash of the file.
        columns: Columns of the shard's samples.
        key_hashes: 64 bits of hash of each sample's key.
        hidden: Number of hidden members, which are skipped.
        problem: Why the shard cannot be read; all other fields are then meaningless. None if it can be read.
    """

    bytes: int = 0
    sha256: str = ""
    columns: Columns = field(default_factory=dict)
    key_hashes: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    hidden: int = 0
    problem: str | None = None


def scan_shard(path: Path) -> ShardScan:
    """Read a shard once, from beginning to end, and probe the media of its samples.

    Raises:
        MachineError: The operating system cannot read it.
    """
    try:
        return with_retries(partial(_scan, path), path)
    except ShardError as error:
        return ShardScan(problem=str(error))


@dataclass(frozen=True)
class _Found:
    """A member, and the properties read from its bytes during the scan."""

    member: Member
    media: Media | None = None
    text: bytes | None = None
    problem: str | None = None


def _scan(path: Path) -> ShardScan:
    with path.open("rb") as file:
        size = path.stat().st_size
        stream = _Hashed(file)
        reader = ShardReader(stream, _look, size)
        samples = [_sample(group) for group in check_repeats(list(reader))]
        hashes = [hashlib.blake2b(sample.key.encode(), digest_size=8).digest() for sample in samples]
        digest = stream.digest.hexdigest()
    return ShardScan(size, digest, columns_of(samples), np.frombuffer(b"".join(hashes), "<u8"), reader.hidden)


def _look(member: TarMember, read: Callable[[], bytes]) -> _Found:
    data = read()
    found = _Found(Member(member.offset, member.size, zlib.crc32(data)))
    suffix = member.name.rpartition(".")[2].lower()
    if suffix not in (*VIDEO_SUFFIXES, *IMAGE_SUFFIXES):
        return replace(found, text=data)
    try:
        return replace(found, media=probe_media(suffix, data))
    except UserError as error:
        return replace(found, problem=str(error))


def _sample(group: Group[_Found]) -> Sample:
    suffix, error, media = find_media(group.members), group.error, None
    if error is None:
        error = "holds no video or image" if suffix is None else group.members[suffix].problem
    if error is None and suffix is not None:
        media = group.members[suffix].media
    members = {name: found.member for name, found in group.members.items()}
    return Sample(group.key, members, media, _is_captioned(group), error)


def _is_captioned(group: Group[_Found]) -> bool:
    texts = {name: found.text for name, found in group.members.items() if found.text is not None}
    try:
        return read_caption(texts) is not None
    except SampleError:
        return False


class _Hashed:
    """A file that is hashed while it is read forward."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data
