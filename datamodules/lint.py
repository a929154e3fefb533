"""Verification of shards before training: checksums, and decoding of every sample."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from datamodules.index import Index, load_index
from datamodules.media import find_media
from datamodules.parallel import in_parallel
from mav_lightning.common.counting import counted
from mav_lightning.common.errors import UserError
from mav_lightning.common.retries import MachineError, with_retries
from mav_lightning.common.tracking import Track, untracked
from mav_lightning.media.media_reader import open_media
from mav_lightning.media.pictures import decode_picture
from mav_lightning.shards.sample_facts import read_caption, read_facts
from mav_lightning.shards.samples import IMAGE_SUFFIXES, SUFFIXES
from mav_lightning.shards.shard_listing import shard_folders

__all__ = ["LintReport", "lint"]


@dataclass(frozen=True)
class LintReport:
    """Result for one folder of shards.

    Attributes:
        folder: The folder.
        samples: Number of samples, bad ones included.
        problems: ``shard`` or ``shard:key`` → problem.
        uncaptioned: Number of samples without a text, which clips do not need.
        notes: ``shard:key`` → what a reader of its caption should know.
    """

    folder: Path
    samples: int
    problems: dict[str, str]
    uncaptioned: int
    notes: dict[str, str] = field(default_factory=dict)


def lint(
    root: Path,
    track: Track = untracked,
    describe: Callable[[str], Sequence[str]] | None = None,
    processes: int | None = None,
) -> list[LintReport]:
    """Check every folder of shards at `root` and below.

    Args:
        root: Dataset, or one folder of shards.
        track: Shows progress.
        describe: Function from a caption to notes about it. None for no notes.
        processes: Processes that hash and decode. None takes one per core.

    Raises:
        UserError: There is no folder or no shard, an index is missing or stale, or a shard cannot be read.
    """
    indexes = [load_index(folder) for folder in shard_folders(root)]
    return [_lint_folder(index, track, describe, processes) for index in indexes]


def _lint_folder(
    index: Index, track: Track, describe: Callable[[str], Sequence[str]] | None, processes: int | None
) -> LintReport:
    problems, notes = dict[str, str](), dict[str, str]()
    name = f"{index.folder.parent.name}/{index.folder.name}"
    paths = [index.folder / shard.name for shard in index.shards]
    hashes = track(in_parallel(_sha256, paths, processes), len(paths), f"hashing {name}")
    for shard, sha256 in zip(index.shards, hashes, strict=True):
        if sha256 != shard.sha256:
            problems[shard.name] = "its content has changed since it was indexed; restore it, or index again"
    decoded = in_parallel(partial(_problem, index), range(len(index)), processes)
    for number, problem in enumerate(track(decoded, len(index), f"decoding {name}")):
        shard, sample = index[number]
        if problem is not None:
            problems[f"{shard.name}:{sample.key}"] = problem
        elif describe is not None and sample.captioned:
            caption = read_caption(index.read(shard, sample, ("txt", "json"))) or ""
            if found := describe(caption):
                notes[f"{shard.name}:{sample.key}"] = "; ".join(found)
    uncaptioned = len(index) - int(index.table.columns["captioned"].sum())
    return LintReport(index.folder, len(index), problems, uncaptioned, notes)


def _sha256(path: Path) -> str:
    return with_retries(partial(_digest, path), path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _problem(index: Index, number: int) -> str | None:
    """Return the problem of a sample, or None after decoding all of it."""
    shard, sample = index[number]
    if sample.error is not None:
        return sample.error
    try:
        members = index.read(shard, sample, SUFFIXES)
        read_facts(members)
        suffix = find_media(members)
        if suffix in IMAGE_SUFFIXES:
            decode_picture(members[suffix])
        elif suffix is not None and sample.media is not None:
            with open_media(members[suffix]) as video:
                frames = sum(1 for _ in video.frames(range(len(video.timeline))))
            if frames != sample.media.frames:
                return f"presents {counted(frames, 'frame')}, but {sample.media.frames} are indexed; index again"
    except MachineError:
        raise
    except UserError as error:
        return str(error)
    return None
