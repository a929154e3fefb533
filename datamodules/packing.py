"""A folder of videos and images, with what is known of them → shards that both training stages read.

Videos become clips, as they are. Captioned videos also give stills, which are the image-text pairs of the first stage
(Make-A-Video learns appearance from those and motion from clips without text). Captioned images join them.
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
from datamodules.shards import IMAGE_SUFFIXES, VIDEO_SUFFIXES, write_shards
from mav_lightning.common.errors import UserError
from mav_lightning.common.tracking import Track, untracked
from mav_lightning.common.video import read_frames_at
from mav_lightning.common.whole_file import new_folder

__all__ = ["PackReport", "pack"]


@dataclass
class PackReport:
    """What was packed and what was not.

    Attributes:
        written: ``images/train`` and so on → samples.
        undecodable: File → why it was left out.
        uncaptioned: Files without a text: videos are packed as clips but give no stills, images are left out.
        left_out: Reason → files that an official split does not take.
        absent: What an official split lists, but the folder lacks.
    """

    written: dict[str, int] = field(default_factory=dict)
    undecodable: dict[str, str] = field(default_factory=dict)
    uncaptioned: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)


def pack(
    src: Path,
    captions: Path | Annotator,
    out: Path,
    *,
    val: float = 0.1,
    stills: int = 4,
    shard_size: int = 1000,
    track: Track = untracked,
) -> PackReport:
    """Writes and indexes ``out/clips/{train,val}`` and ``out/images/{train,val}``.

    Where no split is official, files of one group go to one split: those groups whose names hash lowest go to
    ``val``, so the split depends on the names alone.

    Args:
        src: Folder of mp4, avi, webm, mkv, jpg, png and webp files, at any depth.
        captions: Table of texts, see `read_captions`; or what else tells of the files that it is given, such as
            `read_ucf101` and `read_msrvtt` with their other arguments bound.
        out: A folder that does not exist yet, or is empty; it appears when all is written.
        val: Part of the groups held out, in [0, 1); above 0, at least one group is. An official split goes before it.
        stills: Frames taken from each captioned video.
        shard_size: Samples in a shard.
        track: Shows progress.

    Returns:
        Counts, and the files that were left out, by name.

    Raises:
        UserError: No folder, nothing to pack, annotations that do not fit, or an argument out of range.
    """
    if not 0 <= val < 1:
        raise UserError(f"val: must be in [0, 1), got {val:g}; 0.1 holds out a tenth of the groups.")
    if stills < 0 or shard_size < 1:
        raise UserError(f"stills and shard_size: must be at least 0 and 1, got {stills} and {shard_size}.")
    files, known = _find_files(src, captions if callable(captions) else partial(read_captions, captions))
    report = PackReport(
        uncaptioned=[file.name for file in files if not file.row.caption], left_out=known.left_out, absent=known.absent
    )
    with new_folder(out) as folder:
        for split, share in _split(files, known.splits, val).items():
            for kind, make in (("clips", _clips), ("images", partial(_images, stills=stills))):
                samples = make(track(share, len(share), f"{kind}/{split}"), report)
                if first := next(samples, None):
                    place = folder / kind / split
                    report.written[f"{kind}/{split}"] = write_shards(place, chain([first], samples), shard_size)
                    build_index(place)
        if not report.written:
            reasons = [f"{name}: {reason}" for name, reason in report.undecodable.items()]
            reasons += [f"{name}: an image without a caption" for name in report.uncaptioned]
            raise UserError(f"{src}: none of {len(files)} files can be used; the first, {reasons[0]}")
    return report


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
        """The members of a sample made from this file."""
        members = {suffix: data, "json": json.dumps({"file": self.name, **self.row.facts()}).encode()}
        return members | ({"txt": self.row.caption.encode()} if self.row.caption else {})


def _find_files(src: Path, annotate: Annotator) -> tuple[list[_File], Annotations]:
    """The files to pack, in the order of their names, and what is known of them."""
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
    """As the official split says, or else whole groups to ``val``: those whose names hash lowest."""
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
    """The videos as they are; one that does not show its middle frame is left out."""
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
    """The captioned images as they are, and evenly spaced frames of the captioned videos."""
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
