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

from datamodules.annotations import Annotations, Annotator, Row, name_some
from datamodules.captions import read_captions
from datamodules.index import DATASET, build_index
from datamodules.shards import write_shards
from mav_lightning.common.arguments import checked
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import Fraction, NonNegativeInt, PositiveInt
from mav_lightning.common.text_files import composed
from mav_lightning.common.tracking import Track, untracked
from mav_lightning.common.whole_file import new_folder
from mav_lightning.media.listing import list_folder
from mav_lightning.media.media_reader import open_media, read_clip
from mav_lightning.media.pictures import decode_picture
from mav_lightning.shards.samples import IMAGE_SUFFIXES, VIDEO_SUFFIXES

__all__ = ["PackReport", "pack"]


@dataclass
class PackReport:
    """Files that were packed and files that were not.

    Attributes:
        written: ``images/train`` and so on → number of samples.
        undecodable: File → why it was left out.
        uncaptioned: Files without a text: videos are packed as clips only, images are left out.
        unused: Reason → files and folders that are no media, such as hidden ones and other formats.
        left_out: Reason → files that are not in the official split.
        absent: Files that the official split lists but the folder lacks.
        ungrouped: Number of files that are split by themselves, since they have no group.
    """

    written: dict[str, int] = field(default_factory=dict)
    undecodable: dict[str, str] = field(default_factory=dict)
    uncaptioned: list[str] = field(default_factory=list)
    unused: dict[str, list[str]] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    ungrouped: int = 0


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
    overwrite: bool = False,
) -> PackReport:
    """Write and index ``out/clips/{train,val}`` and ``out/images/{train,val}``.

    Without an official split, groups whose names hash lowest go to ``val``, so the split depends on the names alone.

    Args:
        src: Folder of videos (`VIDEO_SUFFIXES`) and images (`PICTURE_SUFFIXES`), at any depth; links are followed.
        captions: Caption table, see `read_captions`; or a function from file names to annotations, such as
            `read_ucf101` and `read_msrvtt` with their other arguments bound.
        out: New or empty folder; it appears complete or not at all.
        val: Fraction of the groups held out for validation, in [0, 1); above 0, at least one group is. Not used with
            an official split.
        stills: Frames taken from each captioned video.
        shard_size: Samples per shard.
        track: Shows progress.
        overwrite: Replace a dataset that `out` holds.

    Returns:
        Counts, and the names of files that were left out.

    Raises:
        UserError: The folder is missing or holds nothing to pack, annotations do not fit, or a value is out of range.
    """
    if val == 1:
        raise UserError("must be below 1, got 1; 0.1 holds out a tenth of the groups.", argument="val")
    files, known, unused = _find_files(src, captions)
    report = PackReport(
        uncaptioned=[file.name for file in files if not file.row.caption],
        unused=unused,
        left_out=known.left_out,
        absent=known.absent,
        ungrouped=sum(not file.row.group for file in files) if known.splits is None and val > 0 else 0,
    )
    splits = _split(files, known.splits, val)
    with new_folder(out, DATASET if overwrite else None) as folder:
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
    """One file to pack; `name` is its path relative to the source folder, with forward slashes, in Unicode form NFC."""

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


def _find_files(src: Path, captions: Path | Annotator) -> tuple[list[_File], Annotations, dict[str, list[str]]]:
    """Return the files to pack, sorted by name, their annotations, and the names of what is not used, by reason."""
    if not src.is_dir():
        raise UserError(f"{src}: no such folder; give the folder that holds the videos.")
    listing = list_folder(src)
    found = listing.with_suffix(*VIDEO_SUFFIXES, *IMAGE_SUFFIXES)
    paths = {composed(listing.name(path)): path for path in found}
    if twice := sorted({composed(listing.name(path)) for path in set(found) - set(paths.values())}):
        raise UserError(
            f"{src}: {len(twice)} name(s) are used twice, with accents as characters of their own and without: "
            f"{name_some(twice)}; rename one file of each."
        )
    if not paths:
        raise UserError(
            f"{src}: holds no video or image ({', '.join((*VIDEO_SUFFIXES, *IMAGE_SUFFIXES))}); give the folder of the "
            "videos."
        )
    names = sorted(paths)
    unread = sorted(composed(listing.name(path)) for path in set(listing.files) - set(paths.values()))
    if callable(captions):
        known, table = captions(names), None
    else:
        known, table = read_captions(captions, [*names, *unread]), captions.resolve()
        if wrong := known.rows.keys() & set(unread):
            raise UserError(
                f"{captions}: {len(wrong)} row(s) name files of formats that are not read: {name_some(sorted(wrong))}; "
                "convert them to .mp4 or .png."
            )
    unused = {reason: list(left_out) for reason, left_out in listing.unused.items()}
    if others := [name for name in unread if (src / name).resolve() != table]:
        unused["neither a video nor an image of a format that is read"] = others
    files = [
        _File(paths[name], name, known.rows.get(name, Row()))
        for name in names
        if known.splits is None or name in known.splits
    ]
    return files, known, unused


def _split(files: list[_File], official: Mapping[str, str] | None, val: float) -> dict[str, list[_File]]:
    """Split as the official split specifies, or else by whole groups: those whose names hash lowest go to ``val``."""
    if official is not None:
        return {split: [file for file in files if official[file.name] == split] for split in ("train", "val")}
    groups = {file.row.group or file.name for file in files}
    ranked = sorted(groups, key=_hash)
    held_out = set(ranked[: min(math.ceil(val * len(ranked)), len(ranked) - 1)])
    return {
        split: [file for file in files if ((file.row.group or file.name) in held_out) == (split == "val")]
        for split in ("train", "val")
    }


def _hash(group: str) -> bytes:
    return hashlib.sha256(group.encode("utf-8", "surrogateescape")).digest()


def _clips(files: Iterable[_File], report: PackReport) -> Iterator[dict[str, bytes]]:
    """Yield the videos unchanged; one whose middle frame cannot be decoded is left out."""
    for file in files:
        if file.suffix in VIDEO_SUFFIXES:
            try:
                with open_media(file.path) as video:
                    read_clip(video, video.timeline.at([video.timeline.span / 2]).tolist())
            except UserError as error:
                report.undecodable[file.name] = str(error)
            else:
                yield file.sample(file.suffix, file.path.read_bytes())


def _images(files: Iterable[_File], report: PackReport, stills: int) -> Iterator[dict[str, bytes]]:
    """Yield the captioned images unchanged, and evenly spaced frames of the captioned videos."""
    for file in files:
        if not file.row.caption or file.name in report.undecodable:
            continue
        try:
            if file.suffix in IMAGE_SUFFIXES:
                decode_picture(file.path)
                yield file.sample(file.suffix, file.path.read_bytes())
            elif stills:
                with open_media(file.path) as video:
                    times = (np.arange(stills) + 0.5) / stills * video.timeline.span
                    for frame in video.frames(video.timeline.at(times).tolist()):
                        yield file.sample("jpg", _jpeg(frame))
        except UserError as error:
            report.undecodable[file.name] = str(error)


def _jpeg(frame: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()
