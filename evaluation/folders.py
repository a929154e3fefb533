"""Anybody's folder → its videos: a manifest's clips, WebDataset shards, video files, frames as pictures or arrays."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from evaluation.clip_listing import list_clips
from evaluation.clip_sources import ArraySource, Clip, VideoSource
from evaluation.failures import Failures
from evaluation.resize import check_frames
from mav_lightning.common.arguments import check_argument
from mav_lightning.common.errors import UserError
from mav_lightning.common.manifest import MANIFEST, read_manifest
from mav_lightning.common.schema import PositiveFloat
from mav_lightning.common.terminal import SafeLog
from mav_lightning.common.text_files import composed
from mav_lightning.media.formats import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from mav_lightning.media.listing import describe_unused, is_folder
from mav_lightning.shards.sample_facts import read_facts
from mav_lightning.shards.samples import Group, SampleError, read_folder
from mav_lightning.shards.shard_listing import shard_paths
from mav_lightning.shards.tar_members import TarMember

__all__ = ["Clips", "Split", "open_clips", "with_prompts"]

Split = Literal["train", "val", "all"]
Clips = Path | str | Sequence[Clip] | NDArray[np.uint8]
"""A folder of clips, clips in memory, or an array (N, T, H, W, 3) uint8."""
log = SafeLog(__name__)


def open_clips(clips: Clips, split: Split = "val", fps: float | None = None) -> list[VideoSource]:
    """List videos, ordered by id, without decoding any.

    A folder holds clips with a ``manifest.json``, or at any depth: ``*.tar`` shards of videos with ``txt`` and
    ``json`` next to them, videos and animations, folders of numbered ``.png``, ``.jpg`` or ``.webp`` frames, and
    ``.npy`` arrays (T, H, W, 3) uint8. A dataset has its shards under ``clips/<split>``. Links are followed. What a
    folder holds besides is logged once, with the reason why it is no clip.

    Args:
        clips: The folder; or clips in memory.
        split: Split of a dataset that has ``clips/<split>``; ``all`` takes all splits, and their names begin the ids.
        fps: Frames per second of images and arrays, which have no frame rate of their own. None if there are none.

    Raises:
        UserError: If the folder is missing or empty, a dataset has no such split, a file that the manifest names is
            missing, a shard is cut off, or images or arrays come without a frame rate.
    """
    if not isinstance(clips, Path | str):
        return _in_memory(clips, fps)
    folder = Path(clips)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give one with clips or shards.")
    if split == "all" and (parts := _splits(folder)):
        if len({place.resolve() for place in parts.values()}) < len(parts):
            raise UserError(f"{folder}: its splits {' and '.join(parts)} are one folder; evaluate one of them.")
        return [replace(one, id=f"{part}/{one.id}") for part in parts for one in open_clips(clips, part, fps)]
    root = folder if split == "all" else _split(folder, split)
    if os.path.lexists(root / MANIFEST):
        sources = _of_manifest(root)
    else:
        sources = _of_files(root, fps)
    if not sources:
        videos, images = (", ".join(f".{name}" for name in names) for names in (VIDEO_SUFFIXES, PICTURE_SUFFIXES))
        raise UserError(
            f"{folder}: holds no clips; expected {MANIFEST}, *.tar shards, {videos} or .npy files, or folders of "
            f"{images} frames."
        )
    return sorted(sources, key=lambda source: source.id)


def with_prompts(sources: Sequence[VideoSource], prompts: Mapping[str, str]) -> list[VideoSource]:
    """Assign a prompt to every video.

    Args:
        sources: The videos.
        prompts: By the video's id, with or without its suffix.

    Raises:
        UserError: Videos without a prompt, or prompts without a video: how many, and the first of them.
    """
    spelled = {composed(name): name for name in prompts}
    found = {source.id: spelled[name] for source in sources for name in _names(composed(source.id)) if name in spelled}
    lost = [source.id for source in sources if source.id not in found]
    unused = sorted(prompts.keys() - set(found.values()))
    told = [
        f"{len(names)} {what}, first {', '.join(f'`{name}`' for name in names[:3])}"
        for names, what in ((lost, "clips without a prompt"), (unused, "prompts without a clip"))
        if names
    ]
    if told:
        raise UserError(
            f"{len(sources)} clips and {len(prompts)} prompts do not match: {'; '.join(told)}. The table's ids are the "
            "files' paths within the folder, with or without suffix."
        )
    return [replace(source, prompt=prompts[found[source.id]]) for source in sources]


def _in_memory(clips: Sequence[Clip] | NDArray[np.uint8], fps: float | None) -> list[VideoSource]:
    if isinstance(clips, np.ndarray):
        if fps is None:
            raise UserError("an array of clips has no frame rate; give it.", argument="fps")
        names = [f"{number:0{len(str(len(clips) - 1))}}" for number in range(len(clips))]
        clips = [Clip(name, frames, fps) for name, frames in zip(names, clips, strict=True)]
    sources: dict[str, VideoSource] = {}
    for clip in clips:
        if not isinstance(clip, Clip):
            raise UserError(f"clips in memory must be `evaluation.Clip` objects, got {type(clip).__name__}.")
        check_frames(clip.pixels)
        check_argument("fps", clip.fps, PositiveFloat)
        if clip.id in sources:
            raise UserError(f"clip id `{clip.id}` appears twice; give every clip its own id.")
        sources[clip.id] = ArraySource(
            clip.id, Path(clip.id), None, float(clip.fps), clip.prompt, dict(clip.attributes), clip.group or clip.id,
            frames=clip.pixels,
        )  # fmt: skip
    if not sources:
        raise UserError("there are no clips; give at least one.")
    return sorted(sources.values(), key=lambda source: source.id)


def _names(name: str) -> tuple[str, str]:
    return name, str(PurePosixPath(name).with_suffix(""))


def _splits(folder: Path) -> dict[Split, Path]:
    """Return the folders of a dataset's splits that there are; none of a folder that is no dataset."""
    if os.path.lexists(folder / MANIFEST):
        return {}
    places = {split: folder / "clips" / split for split in get_args(Split) if split != "all"}
    return {split: place for split, place in places.items() if is_folder(place)}


def _split(folder: Path, split: Split) -> Path:
    """Return the folder of a split; of what is no dataset, the folder itself."""
    splits = _splits(folder)
    if splits and split not in splits:
        other = next(iter(splits.values()))
        raise UserError(f"{folder}: holds no split {split}; to measure another one, give {other}.")
    return splits.get(split, folder)


def _of_manifest(folder: Path) -> list[VideoSource]:
    found, sources = list_clips(folder), []
    clips = {_name(folder, path): path for path in (*found.videos, *found.frame_folders, *found.arrays)}
    for clip in read_manifest(folder):
        path, where = clips.get(composed(clip.file)), f"{folder / MANIFEST}, clip `{clip.id}`"
        if path is None and (path := _named_file(folder, clip.file)) is None:
            raise UserError(f"{where}: no file `{clip.file}` in the folder; generate it again.")
        facts: dict[str, Any] = {"prompt": clip.prompt, "attributes": dict(clip.attributes)}
        sources.append(VideoSource(clip.id, path, None, float(clip.fps), group=clip.source or clip.id, **facts))
    named = {source.path.resolve() for source in sources}
    if others := [name for name, path in clips.items() if path.resolve() not in named]:
        _report_unused(folder, {f"clips that {MANIFEST} does not list": others})
    return sources


def _named_file(folder: Path, name: str) -> Path | None:
    """Return what a manifest names, or None if there is no such file or folder; links are followed, as everywhere."""
    path = folder / name
    return path if os.path.isfile(path) or os.path.isdir(path) else None  # also where the name is too long


def _name(folder: Path, path: Path) -> str:
    return composed(path.relative_to(folder).as_posix())


def _of_files(folder: Path, fps: float | None) -> list[VideoSource]:
    found = list_clips(folder)
    found.check_series()
    unrated = [*found.frame_folders, *found.arrays]
    if found.loose:
        raise UserError(
            f"{folder}: holds loose {found.loose[0].suffix} files; put the frames of each clip into a folder of its "
            "own."
        )
    if unrated and fps is None:
        raise UserError(
            f"{folder}: {len(unrated)} clips are images or arrays, which have no frame rate; give it, or list files "
            f"and frame rates in a {MANIFEST}.",
            argument="fps",
        )
    _report_unused(folder, found.unused)
    kept = set(found.shards)
    sharded = [
        source
        for place in sorted({shard.parent for shard in found.shards})
        for source in _of_shards(folder, place, [shard for shard in shard_paths(place) if shard in kept])
    ]
    return [*sharded, *_named(folder, found.videos, None), *_named(folder, unrated, fps)]


def _report_unused(folder: Path, unused: Mapping[str, Sequence[str]]) -> None:
    if described := describe_unused(unused):
        log.warning("%s: %s", folder, described)


def _named(folder: Path, paths: Iterable[Path], fps: float | None) -> Iterator[VideoSource]:
    for path in paths:
        name = path.relative_to(folder).as_posix()
        yield VideoSource(name, path, None, fps, group=name)


def _of_shards(root: Path, folder: Path, shards: Iterable[Path]) -> Iterator[VideoSource]:
    """Yield the videos of the shards in a folder below `root`, which are read in place, with their samples' facts.

    Raises:
        UserError: A shard is damaged, or a sample cannot be used: all are counted.
    """
    failures, count = Failures(), 0
    for shard, samples in read_folder(shards):
        place = shard.relative_to(root).with_suffix("").as_posix()
        with shard.open("rb") as file:
            for sample in samples:
                count += 1
                try:
                    yield _of_sample(shard, f"{place}/{sample.key}", file, sample)
                except UserError as error:
                    failures.add(f"{shard.name}:{sample.key}", str(error))
    failures.raise_any(count, f"samples of {folder}", "Write the shards again without them.")


def _of_sample(shard: Path, name: str, file: BinaryIO, sample: Group[TarMember]) -> VideoSource:
    if sample.error is not None:
        raise SampleError(sample.error)
    video = next((sample.members[suffix] for suffix in VIDEO_SUFFIXES if suffix in sample.members), None)
    if video is None:
        raise SampleError("holds no video")
    texts = {suffix: _read(file, sample.members[suffix]) for suffix in ("txt", "json") if suffix in sample.members}
    facts = read_facts(texts)
    span = (video.offset, video.size)
    return VideoSource(name, shard, span, None, facts.caption, dict(facts.attributes), facts.group or name)


def _read(file: BinaryIO, member: TarMember) -> bytes:
    file.seek(member.offset)
    return file.read(member.size)
