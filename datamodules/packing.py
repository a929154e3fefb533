"""Packing of a folder of videos and images, with their annotations, into shards for both training stages.

Videos become clips without re-encoding, unless they are cut into shots. Captioned videos also provide still frames as
image-text pairs of the first stage (Make-A-Video learns appearance from these and motion from clips without text),
together with captioned images.
"""

import hashlib
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datamodules.annotations import Annotator
from datamodules.index import DATASET, build_index
from datamodules.shards import write_shards
from datamodules.shots import SHORTEST, Shot, check_cutting, encode_shot, find_shots, motion_of_shot
from datamodules.source_files import SourceFile, find_files
from mav_lightning.common.arguments import checked
from mav_lightning.common.errors import UserError
from mav_lightning.common.retries import MachineError
from mav_lightning.common.schema import Fraction, NonNegativeFloat, NonNegativeInt, PositiveInt
from mav_lightning.common.tracking import Track, untracked
from mav_lightning.common.whole_file import new_folder
from mav_lightning.media.media_reader import FrameSource, open_media, read_clip
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
        ungrouped: Files that are split by themselves, since they have no group.
        cut: Film → number of shots that it was cut into, at least two.
        motion: Clip → its motion in frame widths per second, if it was measured; see `motion_of_shot`.
        dropped: Clip → why it was left out: it is too short or moves too little.
    """

    written: dict[str, int] = field(default_factory=dict)
    undecodable: dict[str, str] = field(default_factory=dict)
    uncaptioned: list[str] = field(default_factory=list)
    unused: dict[str, list[str]] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    ungrouped: list[str] = field(default_factory=list)
    cut: dict[str, int] = field(default_factory=dict)
    motion: dict[str, float] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)


@checked
def pack(
    src: Path,
    captions: Path | Annotator,
    out: Path,
    *,
    val: Fraction = 0.1,
    stills: NonNegativeInt = 4,
    shard_size: PositiveInt = 1000,
    cut_scenes: bool = False,
    min_motion: NonNegativeFloat = 0.0,
    track: Track = untracked,
    overwrite: bool = False,
) -> PackReport:
    """Write and index ``out/clips/{train,val}`` and ``out/images/{train,val}``.

    Without an official split, groups whose names hash lowest go to ``val``, so the split depends on the names alone.

    Args:
        src: Folder of videos (`VIDEO_SUFFIXES`) and images (`PICTURE_SUFFIXES`), at any depth; links are followed. A
            link to a file that is packed anyway needs a row of its own, and is in the split of that file.
        captions: Caption table, see `read_captions`; or a function from file names to annotations, such as
            `read_ucf101` and `read_msrvtt` with their other arguments bound.
        out: New or empty folder; it appears complete or not at all.
        val: Fraction of the groups held out for validation, in [0, 1); above 0, at least one group is. Not used with
            an official split.
        stills: Frames taken from each captioned video.
        shard_size: Samples per shard.
        cut_scenes: Cut films into shots, each a clip that is encoded anew; see `find_shots`. Films without a cut stay
            as they are, and shots of less than half a second are left out. Needs the extra ``scenes``.
        min_motion: Leave out clips with less motion, in frame widths per second; see `motion_of_shot`. Still frames of
            captioned films are taken all the same. 0 measures nothing.
        track: Shows progress.
        overwrite: Replace a dataset that `out` holds.

    Returns:
        Counts, and the names of files that were left out.

    Raises:
        UserError: The folder is missing or holds nothing to pack, annotations do not fit, or a value is out of range.
    """
    if val == 1:
        raise UserError("must be below 1, got 1; 0.1 holds out a tenth of the groups.", argument="val")
    if cut_scenes:
        check_cutting()
    files, known, unused = find_files(src, captions)
    report = PackReport(
        uncaptioned=[file.name for file in files if not file.row.caption],
        unused=unused,
        left_out=known.left_out,
        absent=known.absent,
        ungrouped=[file.name for file in files if not file.row.group] if known.splits is None and val > 0 else [],
    )
    splits = _split(files, known.splits, val)
    with new_folder(out, DATASET if overwrite else None) as folder:
        makers = {
            "clips": partial(_clips, cut_scenes=cut_scenes, min_motion=min_motion),
            "images": partial(_images, stills=stills),
        }
        _write(folder, splits, makers, shard_size, report, track)
        if not report.written:
            reasons = [f"{name}: {reason}" for name, reason in report.undecodable.items()]
            reasons += [f"{name}: {reason}" for name, reason in report.dropped.items()]
            reasons += [f"{name}: an image without a caption" for name in report.uncaptioned]
            raise UserError(f"{src}: none of {len(files)} files can be used; the first, {reasons[0]}")
    return report


def _write(
    folder: Path,
    splits: dict[str, "list[SourceFile]"],
    makers: Mapping[str, Callable[..., Iterator[dict[str, bytes]]]],
    shard_size: int,
    report: PackReport,
    track: Track,
) -> None:
    """Write and index the shards of every kind and split that has samples."""
    for split, files in splits.items():
        for kind, make in makers.items():
            samples = make(track(files, len(files), f"{kind}/{split}"), report)
            if first := next(samples, None):
                place = folder / kind / split
                report.written[f"{kind}/{split}"] = write_shards(place, chain([first], samples), shard_size)
                build_index(place)


def _split(files: list[SourceFile], official: Mapping[str, str] | None, val: float) -> dict[str, list[SourceFile]]:
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


def _clips(
    files: Iterable[SourceFile], report: PackReport, cut_scenes: bool, min_motion: float
) -> Iterator[dict[str, bytes]]:
    """Yield the videos unchanged, or the shots they are cut into; one that cannot be decoded is left out."""
    for file in files:
        if file.suffix in VIDEO_SUFFIXES:
            try:
                with open_media(file.path) as video:
                    read_clip(video, video.timeline.at([video.timeline.span / 2]).tolist())
                    shots = find_shots(video, cut_scenes)
                    samples = [_shot(file, video, shots, number, min_motion, report) for number in range(len(shots))]
            except MachineError:
                raise
            except UserError as error:
                report.undecodable[file.name] = str(error)
            else:
                report.cut.update({file.name: len(shots)} if len(shots) > 1 else {})
                yield from (sample for sample in samples if sample is not None)


def _shot(
    file: SourceFile, video: FrameSource, shots: Sequence[Shot], number: int, min_motion: float, report: PackReport
) -> dict[str, bytes] | None:
    """Return the sample of a shot of a film, the whole film if it has only one; None if it is left out."""
    shot, whole = shots[number], len(shots) == 1
    name = file.name if whole else f"{file.name} (shot {number + 1}, {shot.start:.2f} to {shot.end:.2f} s)"
    if not whole and shot.span < SHORTEST:
        report.dropped[name] = f"lasts {shot.span:.2f} s, less than {SHORTEST:g} s"
        return None
    facts: dict[str, Any] = {}
    if min_motion:
        facts["motion"] = report.motion[name] = motion_of_shot(video, shot)
        if facts["motion"] < min_motion:
            report.dropped[name] = f"moves {facts['motion']:.4f} frame widths per second, less than {min_motion:g}"
            return None
    if whole:
        return file.sample(file.suffix, file.path.read_bytes(), **facts)
    facts |= {"shot": number + 1, "start": shot.start, "end": shot.end, "group": file.row.group or file.name}
    return file.sample("mp4", encode_shot(video, shot), **facts)


def _images(files: Iterable[SourceFile], report: PackReport, stills: int) -> Iterator[dict[str, bytes]]:
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
        except MachineError:
            raise
        except UserError as error:
            report.undecodable[file.name] = str(error)


def _jpeg(frame: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()
