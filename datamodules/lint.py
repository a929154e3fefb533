"""Tries every sample before training does: verifies the shards' checksums and decodes everything in them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from datamodules.index import Index, Sample, Shard, load_index, shard_folders
from datamodules.media import decode_image, find_media
from datamodules.shards import IMAGE_SUFFIXES, SUFFIXES
from mav_lightning.common.errors import UserError
from mav_lightning.common.tracking import Track, untracked
from mav_lightning.common.video import read_frames

__all__ = ["LintReport", "lint"]

_WHOLE = 0.95  # of the packets must decode; old AVI files have some that stand for a repeated frame


@dataclass(frozen=True)
class LintReport:
    """What one folder of shards is worth.

    Attributes:
        folder: The folder.
        samples: Number of samples, bad ones included.
        problems: ``shard`` or ``shard:key`` → what is wrong with it.
        uncaptioned: Samples without a text; no problem for clips.
    """

    folder: Path
    samples: int
    problems: dict[str, str]
    uncaptioned: int


def lint(root: Path, track: Track = untracked) -> list[LintReport]:
    """Checks every folder of shards at `root` and below.

    Raises:
        UserError: No folder, no shards, or an index that is missing or not about these shards.
    """
    return [_lint_folder(load_index(folder), track) for folder in shard_folders(root)]


def _lint_folder(index: Index, track: Track) -> LintReport:
    problems: dict[str, str] = {}
    for shard in index.shards:
        with (index.folder / shard.name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != shard.sha256:
                problems[shard.name] = "its bytes are not those that were indexed; restore it, or index again"
    samples = list(index)
    for shard, sample in track(samples, len(samples), f"{index.folder.parent.name}/{index.folder.name}"):
        if (problem := _problem(index, shard, sample)) is not None:
            problems[f"{shard.name}:{sample.key}"] = problem
    return LintReport(index.folder, len(samples), problems, sum("txt" not in sample.members for _, sample in samples))


def _problem(index: Index, shard: Shard, sample: Sample) -> str | None:
    """What is wrong with a sample, or None after decoding all of it."""
    if sample.error is not None:
        return sample.error
    try:
        members = index.read(shard, sample, SUFFIXES)
        members.get("txt", b"").decode()
        suffix = find_media(members)
        if suffix in IMAGE_SUFFIXES:
            decode_image(members[suffix])
        elif suffix is not None and sample.media is not None:
            frames = len(read_frames(members[suffix]))
            if frames < _WHOLE * sample.media.frames:
                return f"decodes to {frames} frames, its packets promise {sample.media.frames}"
    except (UserError, OSError, UnicodeDecodeError) as error:
        return str(error)
    return None
