"""Index of a folder of shards: location and properties of every sample, in one file next to the shards.

Each shard is scanned once: offsets, sizes and checksums of the members, sha256 of the file, media headers, and which
samples cannot be used. Readers then fetch any sample with one seek, in any order.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.index_json import OLD_INDEX, read_old_index
from datamodules.index_table import Member, Sample, SampleTable, joined
from datamodules.parallel import in_parallel
from datamodules.shard_scan import ShardScan, scan_shard
from mav_lightning.common.errors import UserError
from mav_lightning.common.output import FolderContent, check_output
from mav_lightning.common.retries import with_retries
from mav_lightning.common.schema import check
from mav_lightning.common.tracking import Track, untracked
from mav_lightning.shards.samples import SampleError, repeated_in
from mav_lightning.shards.shard_listing import BESIDE_SHARDS, shard_folders, shard_paths

__all__ = ["DATASET", "INDEX", "Index", "Shard", "build_index", "folder_sha256", "load_index", "shard_folders"]

INDEX = "index.safetensors"
DATASET = FolderContent(("*/*/*.tar", *(f"*/*/{name}" for name in BESIDE_SHARDS)), sign="*/*/index.*")
_VERSION = "2"
_NAMED = 5  # shards in a message
_SMALL = 32 << 20  # bytes; starting processes takes longer than reading them


@dataclass(frozen=True)
class Shard:
    """One tar file.

    Attributes:
        name: File name in the folder.
        bytes: File size.
        sha256: Hash of the file.
        samples: Number of samples.
        hidden: Number of members that are skipped because their names are hidden, such as ``._0.mp4``.
    """

    name: str
    bytes: int
    sha256: str
    samples: int
    hidden: int


class Index:
    """Content of one folder of shards, a sequence of pairs of a shard and a sample, bad samples included.

    Args:
        folder: The folder; its path is not part of the content.
        shards: Shards in the order of their names.
        table: The samples, in the order of the shards.
        sha256: Hash of the content: the shards' bytes in order and the usable samples, independent of the location.
    """

    def __init__(self, folder: Path, shards: tuple[Shard, ...], table: SampleTable, sha256: str) -> None:
        self.folder, self.shards, self.table, self.sha256 = folder, shards, table, sha256

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process map the file again, in place of copying it."""
        return _open, (self.folder, self.sha256)

    def __eq__(self, other: object) -> bool:
        """Return whether the other is an index of the same folder with the same content."""
        return isinstance(other, Index) and (self.folder, self.sha256) == (other.folder, other.sha256)

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.table)

    def __iter__(self) -> Iterator[tuple[Shard, Sample]]:
        """Iterate over the samples with their shards."""
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, number: int) -> tuple[Shard, Sample]:
        """Return the shard and the sample of a number."""
        number = range(len(self))[number]
        return self.shards[int(np.searchsorted(self._ends, number, "right"))], self.table[number]

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        return np.cumsum([shard.samples for shard in self.shards])

    @property
    def errors(self) -> dict[str, str]:
        """Bad samples: ``shard:key`` → why it cannot be used."""
        bad = (self[number] for number in self.table.columns["bad"].tolist())
        return {f"{shard.name}:{sample.key}": sample.error or "" for shard, sample in bad}

    def read(self, shard: Shard, sample: Sample, suffixes: Collection[str]) -> dict[str, bytes]:
        """Read the members of a sample that have one of the `suffixes`.

        Returns:
            Suffix → bytes.

        Raises:
            SampleError: The bytes have changed since they were indexed.
            MachineError: The operating system cannot read them.
        """
        wanted = {suffix: member for suffix, member in sample.members.items() if suffix in suffixes}
        path = self.folder / shard.name
        found = with_retries(partial(_read, path, wanted.values()), path)
        for (suffix, member), data in zip(wanted.items(), found, strict=True):
            if zlib.crc32(data) != member.crc32:
                raise SampleError(f"`.{suffix}` has changed since it was indexed; restore {shard.name}.")
        return dict(zip(wanted, found, strict=True))


def build_index(folder: Path, track: Track = untracked, processes: int | None = None) -> Index:
    """Scan every ``*.tar`` in `folder` and write an index next to them.

    Args:
        folder: Folder of shards. Where nothing can be written next to them, see `link_shards`.
        track: Shows progress.
        processes: Processes that scan one shard each. None takes one per core, and none for a few MiB.

    Raises:
        UserError: There is no folder or no shard, the index cannot be written, or a shard is damaged; nothing is
            written then.
    """
    if not (paths := shard_paths(folder)):
        raise UserError(f"{folder}: holds no .tar shards; write some with `mav data pack` or `mav data shapes`.")
    _check_place(folder)
    if processes is None and sum(path.stat().st_size for path in paths) < _SMALL:
        processes = 0
    what = f"indexing {folder.absolute().parent.name}/{folder.absolute().name}"
    scans = list(track(in_parallel(scan_shard, paths, processes), len(paths), what))
    _check_scans(paths, scans)
    shards = tuple(
        Shard(path.name, scan.bytes, scan.sha256, len(scan.key_hashes), scan.hidden)
        for path, scan in zip(paths, scans, strict=True)
    )
    table = SampleTable(joined([scan.columns for scan in scans]))
    table = table.with_errors(_repeats(shards, scans, table))
    about = {"version": _VERSION, "sha256": _identity(shards, table), "shards": [*map(astuple, shards)]}
    table.save(folder / INDEX, about)
    (folder / OLD_INDEX).unlink(missing_ok=True)
    return _open(folder)


def _check_place(folder: Path) -> None:
    try:
        check_output(folder / INDEX, "file", argument=None)
    except UserError as error:
        if error.__cause__ is not None:  # a fault of the disk
            raise
        remedy = (
            f"To index shards that are read-only, run `mav data index {folder} --index DIR`, and use DIR in its place."
        )
        raise UserError(f"{error} {remedy}") from error


def load_index(folder: Path) -> Index:
    """Read the index of a folder and check it against the shards.

    Raises:
        UserError: There is no index, it is damaged, or shards were added, removed, truncated or rewritten since.
    """
    path, remedy = folder / INDEX, f"run `mav data index {folder}`"
    present = shard_paths(folder)
    try:
        index = _open(folder)
    except UserError as error:
        raise UserError(f"{error} {remedy[0].upper()}{remedy[1:]}.") from error
    indexed = {shard.name: shard.bytes for shard in index.shards}
    if changed := indexed.keys() ^ {shard.name for shard in present}:
        some = ", ".join(sorted(changed)[:_NAMED])
        raise UserError(f"{path}: is stale, {some} added or removed since; restore, or {remedy}.")
    for shard in present:
        if (size := shard.stat().st_size) != indexed[shard.name]:
            raise UserError(
                f"{shard}: {size} bytes, but {indexed[shard.name]} when it was indexed; it was truncated or "
                f"rewritten since. Restore the shard; if the change is intended, {remedy}."
            )
    return index


def folder_sha256(root: Path) -> str:
    """Compute the hash of a whole dataset from the relative path and index hash of every shard folder in it."""
    content = [[str(folder.relative_to(root)), load_index(folder).sha256] for folder in shard_folders(root)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _open(folder: Path, sha256: str | None = None) -> Index:
    """Open an index, also of version 1; `sha256` is the hash it must have."""
    path = folder / INDEX
    if path.is_file():
        about, table = SampleTable.load(path, _VERSION)
        rows, recorded = _shard_rows(path, about), str(about.get("sha256"))
    elif (folder / OLD_INDEX).is_file():
        path = folder / OLD_INDEX
        rows, table, recorded = read_old_index(path)
    else:
        raise UserError(f"{path}: no such index.")
    index = Index(folder, tuple(Shard(*row) for row in rows), table, recorded)
    if not _fits(index):
        raise UserError(f"{path}: damaged (samples are outside of the shards).")
    if path.name == OLD_INDEX and recorded != _identity(index.shards, table):
        raise UserError(f"{path}: has been edited or damaged.")
    if sha256 not in (None, recorded):
        raise UserError(f"{path}: has changed while it was in use.")
    return index


def _shard_rows(path: Path, about: Mapping[str, Any]) -> list[tuple[str, int, str, int, int]]:
    try:
        rows: list[tuple[str, int, str, int, int]] = check(
            about.get("shards"), list[tuple[str, int, str, int, int]], "shards"
        )
    except UserError as error:
        raise UserError(f"{path}: damaged ({error}).") from error
    if any(not 0 <= number < 1 << 60 for _, size, _, *counts in rows for number in (size, *counts)):
        raise UserError(f"{path}: damaged (sizes of shards are out of range).")
    return rows


def _fits(index: Index) -> bool:
    """Return whether every sample belongs to a shard, and every member is inside of its shard."""
    columns, counts = index.table.columns, np.array([shard.samples for shard in index.shards], np.int64)
    if (counts > len(index)).any() or counts.sum() != len(index):
        return False
    members = np.diff(columns["member_ends"], prepend=np.uint64(0)).astype(np.int64)
    limits = np.repeat(np.repeat(np.array([shard.bytes for shard in index.shards], np.uint64), counts), members)
    return bool(((columns["offsets"] <= limits) & (columns["sizes"] <= limits - columns["offsets"])).all())


def _identity(shards: Sequence[Shard], table: SampleTable) -> str:
    """Return sha256 of ``[1, [[<sha256 of a shard>, [<key>, …]], …]]`` as JSON, with the usable samples' keys."""
    digest, first = hashlib.sha256(b"[1, ["), 0
    for number, shard in enumerate(shards):
        rows = range(first, first := first + shard.samples)
        content = [shard.sha256, [table.key(row) for row in rows if table.usable[row]]]
        digest.update((", " if number else "").encode() + json.dumps(content).encode())
    digest.update(b"]]")
    return digest.hexdigest()


def _check_scans(paths: Sequence[Path], scans: Sequence[ShardScan]) -> None:
    damaged = [f"{path}: {scan.problem}" for path, scan in zip(paths, scans, strict=True) if scan.problem is not None]
    if damaged:
        more = f" {len(damaged) - _NAMED} more shards are damaged." if len(damaged) > _NAMED else ""
        raise UserError("\n".join(damaged[:_NAMED]) + more)


def _repeats(shards: Sequence[Shard], scans: Sequence[ShardScan], table: SampleTable) -> dict[int, str]:
    """Return the number of each sample whose key an earlier shard uses → the error."""
    hashes = np.concatenate([scan.key_hashes for scan in scans])
    _, group, count = np.unique(hashes, return_inverse=True, return_counts=True)
    ends = np.cumsum([shard.samples for shard in shards])
    first: dict[str, int] = {}
    found: dict[int, str] = {}
    for number in np.flatnonzero(count[group] > 1).tolist():
        shard = int(np.searchsorted(ends, number, "right"))
        if (earlier := first.setdefault(table.key(number), shard)) != shard:
            found[number] = repeated_in(shards[earlier].name)
    return found


def _read(path: Path, members: Collection[Member]) -> list[bytes]:
    with path.open("rb", buffering=0) as file:
        return [_read_at(file.fileno(), member) for member in members]


def _read_at(file: int, member: Member) -> bytes:
    """Read a member; one call gives at most 2 GiB, and less where the file has been cut."""
    data = os.pread(file, member.size, member.offset)
    while 0 < len(data) < member.size and (more := os.pread(file, member.size - len(data), member.offset + len(data))):
        data += more
    return data
