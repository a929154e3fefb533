"""Verification of shards before training: checksums, and decoding of every sample."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datamodules.index import Index, Sample, Shard, load_index, shard_folders
from datamodules.media import find_media
from datamodules.shards import IMAGE_SUFFIXES, SUFFIXES
from mav_lightning.common.counting import counted
from mav_lightning.common.errors import UserError
from mav_lightning.common.tracking import Track, untracked
from mav_lightning.media.media_reader import open_media
from mav_lightning.media.pictures import decode_picture

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
    root: Path, track: Track = untracked, describe: Callable[[str], Sequence[str]] | None = None
) -> list[LintReport]:
    """Check every folder of shards at `root` and below.

    Args:
        root: Dataset, or one folder of shards.
        track: Shows progress.
        describe: Function from a caption to notes about it. None for no notes.

    Raises:
        UserError: There is no folder or no shard, or an index is missing or stale.
    """
    return [_lint_folder(load_index(folder), track, describe) for folder in shard_folders(root)]


def _lint_folder(index: Index, track: Track, describe: Callable[[str], Sequence[str]] | None) -> LintReport:
    problems, notes = dict[str, str](), dict[str, str]()
    for shard in index.shards:
        with (index.folder / shard.name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != shard.sha256:
                problems[shard.name] = "its content has changed since it was indexed; restore it, or index again"
    samples = list(index)
    for shard, sample in track(samples, len(samples), f"{index.folder.parent.name}/{index.folder.name}"):
        if (problem := _problem(index, shard, sample)) is not None:
            problems[f"{shard.name}:{sample.key}"] = problem
        elif describe is not None and "txt" in sample.members:
            caption = index.read(shard, sample, ("txt",))["txt"].decode()
            if found := describe(caption):
                notes[f"{shard.name}:{sample.key}"] = "; ".join(found)
    return LintReport(
        index.folder, len(samples), problems, sum("txt" not in sample.members for _, sample in samples), notes
    )


def _problem(index: Index, shard: Shard, sample: Sample) -> str | None:
    """Return the problem of a sample, or None after decoding all of it."""
    if sample.error is not None:
        return sample.error
    try:
        members = index.read(shard, sample, SUFFIXES)
        members.get("txt", b"").decode()
        suffix = find_media(members)
        if suffix in IMAGE_SUFFIXES:
            decode_picture(members[suffix])
        elif suffix is not None and sample.media is not None:
            with open_media(members[suffix]) as video:
                frames = sum(1 for _ in video.frames(range(len(video.timeline))))
            if frames != sample.media.frames:
                return f"presents {counted(frames, 'frame')}, but {sample.media.frames} are indexed; index again"
    except (UserError, OSError, UnicodeDecodeError) as error:
        return str(error)
    return None
