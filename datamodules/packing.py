"""Packing of a folder of videos and images, with their annotations, into shards for both training stages.

Videos become clips without re-encoding. Captioned videos also provide still frames as image-text pairs of the first
stage (Make-A-Video learns appearance from these and motion from clips without text), together with captioned images.
"""

import hashlib
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datamodules.annotations import Annotations, Annotator, Row
from datamodules.captions import read_captions
from datamodules.index import build_index
from datamodules.media import decode_image, probe_media
from datamodules.shards import write_shards
from mav_lightning.common.arguments import checked
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import Fraction, NonNegativeInt, PositiveInt
from mav_lightning.common.tracking import Track, untracked
from mav_lightning.common.video import read_frames_at
from mav_lightning.common.whole_file import new_folder
from mav_lightning.shards.samples import IMAGE_SUFFIXES, VIDEO_SUFFIXES

__all__ = ["PackReport", "pack"]


@dataclass
class PackReport:
    """Files that were packed and files that were not.

    Attributes:
        written: ``images/train`` and so on → number of samples.
        undecodable: File → why it was left out.
        uncaptioned: Files without a text: videos are packed as clips only, images are left out.
        left_out: Reason → files that are not in the official split.
        absent: Files that the official split lists but the folder lacks.
    """

    written: dict[str, int] = field(default_factory=dict)
    undecodable: dict[str, str] = field(default_factory=dict)
    uncaptioned: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)


@checked
def pack(
    src: Path,
    captions: Path | Annotator,
    out: Path,
    *,
    val: Fraction = 0.1,
    stills: NonNegativeInt = 4,
    shard_size: PositiveInt = 1000,
    track: Track = untracked,
) -> PackReport:
    """Write and index ``out/clips/{train,val}`` and ``out/images/{train,val}``.

    Without an official split, groups whose names hash lowest go to ``val``, so the split depends on the names alone.

    Args:
        src: Folder of mp4, avi, webm, mkv, jpg, png and webp files, at any depth.
        captions: Caption table, see `read_captions`; or a function from file names to annotations, such as
            `read_ucf101` and `read_msrvtt` with their other arguments bound.
        out: New or empty folder; it appears complete or not at all.
        val: Fraction of the groups held out for validation, in [0, 1); above 0, at least one group is. Not used with
            an official split.
        stills: Frames taken from each captioned video.
        shard_size: Samples per shard.
        track: Shows progress.

    Returns:
        Counts, and the names of files that were left out.

    Raises:
        UserError: The folder is missing or holds nothing to pack, annotations do not fit, or a value is out of range.
    """
    if val == 1:
        raise UserError("must be below 1, got 1; 0.1 holds out a tenth of the groups.", argument="val")
    files, known = _find_files(src, captions if callable(captions) else partial(read_captions, captions))
    report = PackReport(
        uncaptioned=[file.name for file in files if not file.row.caption], left_out=known.left_out, absent=known.absent
    )
    splits = _split(files, known.splits, val)
    with new_folder(out) as folder:
        _write(folder, splits, stills, shard_size, report, track)
        if not report.written:
            reasons = [f"{name}: {reason}" for name, reason in report.undecodable.items()]
            reasons += [f"{name}: an image without a caption" for name in report.uncaptioned]
            raise UserError(f"{src}: none of {len(files)} files can be used; the first, {reasons[0]}")
    return report


def _write(
    folder: Path, splits: dict[str, "list[_File]"], stills: int, shard_size: int, report: PackReport, track: Track
) -> None:
    """Write and index the shards of every kind and split that has samples."""
    for split, files in splits.items():
        for kind, make in (("clips", _clips), ("images", partial(_images, stills=stills))):
            samples = make(track(files, len(files), f"{kind}/{split}"), report)
            if first := next(samples, None):
                place = folder / kind / split
                report.written[f"{kind}/{split}"] = write_shards(place, chain([first], samples), shard_size)
                build_index(place)


@dataclass(frozen=True)
class _File:
    """One file to pack; `name` is its path relative to the source folder, with forward slashes."""

    path: Path
    name: str
    row: Row

    @property
    def suffix(self) -> str:
        return self.path.suffix[1:].lower()

    def sample(self, suffix: str, data: bytes) -> dict[str, bytes]:
        """Return the members of a sample made from this file."""
        members = {suffix: data, "json": json.dumps({"file": self.name, **self.row.facts()}).encode()}
        return members | ({"txt": self.row.caption.encode()} if self.row.caption else {})


def _find_files(src: Path, annotate: Annotator) -> tuple[list[_File], Annotations]:
    """Return the files to pack, sorted by name, and their annotations."""
    if not src.is_dir():
        raise UserError(f"{src}: no such folder; give the folder that holds the videos.")
    suffixes = {f".{suffix}" for suffix in (*VIDEO_SUFFIXES, *IMAGE_SUFFIXES)}
    paths = sorted(path for path in src.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    if not paths:
        raise UserError(
            f"{src}: holds no {', '.join((*VIDEO_SUFFIXES, *IMAGE_SUFFIXES))}; give the folder of the videos."
        )
    names = [path.relative_to(src).as_posix() for path in paths]
    known = annotate(names)
    files = [
        _File(path, name, known.rows.get(name, Row()))
        for path, name in zip(paths, names, strict=True)
        if known.splits is None or name in known.splits
    ]
    return files, known


def _split(files: list[_File], official: Mapping[str, str] | None, val: float) -> dict[str, list[_File]]:
    """Split as the official split specifies, or else by whole groups: those whose names hash lowest go to ``val``."""
    if official is not None:
        return {split: [file for file in files if official[file.name] == split] for split in ("train", "val")}
    groups = {file.row.group or file.name for file in files}
    ranked = sorted(groups, key=lambda group: hashlib.sha256(group.encode()).digest())
    held_out = set(ranked[: min(math.ceil(val * len(ranked)), len(ranked) - 1)])
    return {
        split: [file for file in files if ((file.row.group or file.name) in held_out) == (split == "val")]
        for split in ("train", "val")
    }


def _clips(files: Iterable[_File], report: PackReport) -> Iterator[dict[str, bytes]]:
    """Yield the videos unchanged; one whose middle frame cannot be decoded is left out."""
    for file in files:
        if file.suffix in VIDEO_SUFFIXES:
            data = file.path.read_bytes()
            try:
                read_frames_at(data, [probe_media(file.suffix, data).span / 2])
            except UserError as error:
                report.undecodable[file.name] = str(error)
            else:
                yield file.sample(file.suffix, data)


def _images(files: Iterable[_File], report: PackReport, stills: int) -> Iterator[dict[str, bytes]]:
    """Yield the captioned images unchanged, and evenly spaced frames of the captioned videos."""
    for file in files:
        if not file.row.caption or file.name in report.undecodable:
            continue
        data = file.path.read_bytes()
        try:
            if file.suffix in IMAGE_SUFFIXES:
                decode_image(data)
                yield file.sample(file.suffix, data)
            else:
                span = probe_media(file.suffix, data).span
                seconds = [(number + 0.5) / stills * span for number in range(stills)]
                for frame in read_frames_at(data, seconds) if seconds else ():
                    yield file.sample("jpg", _jpeg(frame))
        except UserError as error:
            report.undecodable[file.name] = str(error)


def _jpeg(frame: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()
