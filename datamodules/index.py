"""``index.json``: location and properties of every sample in a folder of shards.

Each shard is scanned once: offsets, sizes and checksums of the members, sha256 of the file, media headers, and which
samples cannot be used. Readers then fetch any sample with one seek, in any order.
"""

import hashlib
import json
import math
import os
import tarfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from datamodules.media import Media, find_media, probe_media
from datamodules.shards import Group, SampleError, group_members
from mav_lightning.common.errors import UserError
from mav_lightning.common.output import FolderContent
from mav_lightning.common.tracking import Track, untracked
from mav_lightning.common.whole_file import whole_file

__all__ = [
    "DATASET",
    "INDEX",
    "Index",
    "Member",
    "Sample",
    "Shard",
    "build_index",
    "folder_sha256",
    "load_index",
    "shard_folders",
]

INDEX = "index.json"
DATASET = FolderContent(("*/*/*.tar", f"*/*/{INDEX}", "*/*/embeddings-*.safetensors"), sign=f"*/*/{INDEX}")
_VERSION = 1
_BLOCK = 512


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
        error: Why the sample cannot be used. None if it can.
    """

    key: str
    members: dict[str, Member]
    media: Media | None
    error: str | None


@dataclass(frozen=True)
class Shard:
    """One tar file.

    Attributes:
        name: File name in the folder.
        bytes: File size.
        sha256: Hash of the file.
        samples: Samples in the order of the file.
    """

    name: str
    bytes: int
    sha256: str
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Index:
    """Content of one folder of shards.

    Attributes:
        folder: The folder; its path is not part of the content.
        shards: Shards in the order of their names.
    """

    folder: Path
    shards: tuple[Shard, ...]

    def __iter__(self) -> Iterator[tuple[Shard, Sample]]:
        """Iterate over (shard, sample), bad samples included."""
        return ((shard, sample) for shard in self.shards for sample in shard.samples)

    @property
    def errors(self) -> dict[str, str]:
        """Bad samples: ``shard:key`` → why it cannot be used."""
        return {f"{shard.name}:{sample.key}": sample.error for shard, sample in self if sample.error is not None}

    @cached_property
    def sha256(self) -> str:
        """Hash of the content: the shards' bytes in order and the usable samples, independent of the location."""
        content = [
            [shard.sha256, [sample.key for sample in shard.samples if sample.error is None]] for shard in self.shards
        ]
        return hashlib.sha256(json.dumps([_VERSION, content]).encode()).hexdigest()

    def read(self, shard: Shard, sample: Sample, suffixes: Collection[str]) -> dict[str, bytes]:
        """Read the members of a sample that have one of the `suffixes`.

        Returns:
            Suffix → bytes.

        Raises:
            SampleError: The bytes have changed since they were indexed.
        """
        found: dict[str, bytes] = {}
        with (self.folder / shard.name).open("rb", buffering=0) as file:
            for suffix, member in sample.members.items():
                if suffix in suffixes:
                    found[suffix] = os.pread(file.fileno(), member.size, member.offset)
                    if zlib.crc32(found[suffix]) != member.crc32:
                        raise SampleError(f"`.{suffix}` has changed since it was indexed; restore {shard.name}.")
        return found


def build_index(folder: Path, track: Track = untracked) -> Index:
    """Scan every ``*.tar`` in `folder` and write ``index.json`` next to them.

    Raises:
        UserError: There is no folder or no shard, or a shard is truncated; nothing is written then.
    """
    if not (paths := _shard_paths(folder)):
        raise UserError(f"{folder}: holds no .tar shards; write some with `mav data pack` or `mav data shapes`.")
    seen: dict[str, str] = {}
    shards = tuple(
        _scan(path, seen) for path in track(paths, len(paths), f"indexing {folder.parent.name}/{folder.name}")
    )
    index = Index(folder, shards)
    content = {"version": _VERSION, "sha256": index.sha256, "shards": [asdict(shard) for shard in shards]}
    with whole_file(folder / INDEX) as partial:
        partial.write_text(json.dumps(content, separators=(",", ":")))
    return index


def load_index(folder: Path) -> Index:
    """Read ``folder/index.json`` and check it against the shards.

    Raises:
        UserError: There is no index, it is damaged, or shards were added, removed, truncated or rewritten since.
    """
    path, remedy = folder / INDEX, f"run `mav data index {folder}`"
    present = _shard_paths(folder)
    if not path.is_file():
        raise UserError(f"{path}: no such index; {remedy}.")
    try:
        content = json.loads(path.read_text())
        if content["version"] != _VERSION:
            raise UserError(f"{path}: index version {content['version']}, this program writes {_VERSION}; {remedy}.")
        index = Index(folder, tuple(_shard_from(shard) for shard in content["shards"]))
        intact = content["sha256"] == index.sha256
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: not a shard index ({error!r}); {remedy}.") from error
    if not intact:
        raise UserError(f"{path}: has been edited or damaged; {remedy}.")
    indexed = {shard.name: shard.bytes for shard in index.shards}
    if changed := indexed.keys() ^ {shard.name for shard in present}:
        raise UserError(f"{path}: is stale, {', '.join(sorted(changed))} added or removed since; restore, or {remedy}.")
    for shard in present:
        if (size := shard.stat().st_size) != indexed[shard.name]:
            raise UserError(
                f"{shard}: {size} bytes, but {indexed[shard.name]} when it was indexed: cut or rewritten since. "
                f"Restore the shard; if the change is meant, {remedy}."
            )
    return index


def shard_folders(root: Path) -> list[Path]:
    """Return `root` and the folders below it that hold shards, sorted.

    Raises:
        UserError: There is no such folder, or no shard anywhere in it.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; write shards with `mav data pack` or `mav data shapes`.")
    if not (found := sorted({path.parent for path in root.rglob("*.tar")})):
        raise UserError(f"{root}: holds no .tar shards; write some with `mav data pack` or `mav data shapes`.")
    return found


def folder_sha256(root: Path) -> str:
    """Compute the hash of a whole dataset from the relative path and index hash of every shard folder in it."""
    content = [[str(folder.relative_to(root)), load_index(folder).sha256] for folder in shard_folders(root)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _shard_paths(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; write shards with `mav data pack` or `mav data shapes`.")
    return sorted(path for path in folder.glob("*.tar") if path.is_file())


def _scan(path: Path, seen: dict[str, str]) -> Shard:
    """Indexes one shard; `seen` maps the keys of earlier shards to their shards."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        groups = list(group_members(_members(file, path)))
        repeats = Counter(group.key for group in groups)
        samples = []
        for group in groups:
            error = group.error
            if repeats[group.key] > 1:
                error = "its members are not adjacent, or its key is used twice; write the shard again"
            elif group.key in seen:
                error = f"its key is already used in {seen[group.key]}; give it another"
            samples.append(_probe(file, group, error))
        seen.update(dict.fromkeys(repeats, path.name))
    return Shard(path.name, path.stat().st_size, digest, tuple(samples))


def _members(file: BinaryIO, path: Path) -> Iterator[tuple[str, Member]]:
    """Yield names and offsets of the files in an uncompressed tar, in order; reject one whose end is missing."""
    try:
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for entry in archive:
                if entry.isreg():
                    data = os.pread(file.fileno(), entry.size, entry.offset_data)
                    yield entry.name, Member(entry.offset_data, entry.size, zlib.crc32(data))
            end = os.pread(file.fileno(), _BLOCK, archive.offset)
    except tarfile.TarError as error:
        raise UserError(f"{path}: cut or damaged ({error}); fetch or write the shard again.") from error
    if end != bytes(_BLOCK):  # tarfile takes a cut between two members for the end
        raise UserError(f"{path}: cut or damaged, its end is missing; fetch or write the shard again.")


def _probe(file: BinaryIO, group: Group[Member], error: str | None) -> Sample:
    media = None
    if error is None:
        suffix = find_media(group.members)
        if suffix is None:
            error = "holds no video or image"
        else:
            member = group.members[suffix]
            try:
                media = probe_media(suffix, os.pread(file.fileno(), member.size, member.offset))
            except UserError as problem:
                error = str(problem)
    return Sample(group.key, dict(group.members), media, error)


def _shard_from(shard: dict[str, Any]) -> Shard:
    """Build a shard from JSON and check every type; a general validator takes ten times as long on 10,000 samples."""
    samples = tuple(_sample_from(sample) for sample in shard["samples"])
    return Shard(_text(shard["name"]), _count(shard["bytes"]), _text(shard["sha256"]), samples)


def _sample_from(sample: dict[str, Any]) -> Sample:
    members = {
        _text(suffix): Member(_count(member["offset"]), _count(member["size"]), _count(member["crc32"]))
        for suffix, member in sample["members"].items()
    }
    media = None if sample["media"] is None else _media_from(sample["media"])
    return Sample(_text(sample["key"]), members, media, None if sample["error"] is None else _text(sample["error"]))


def _media_from(media: dict[str, Any]) -> Media:
    fps = media["fps"]
    if fps is not None and not (isinstance(fps, int | float) and 0 < fps < math.inf):
        raise TypeError(f"fps must be positive, got {fps!r}")
    return Media(_count(media["width"]), _count(media["height"]), _count(media["frames"]), fps)


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"expected a whole number of at least 0, got {value!r}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r}")
    return value
