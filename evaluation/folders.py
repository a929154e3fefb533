"""Anybody's folder → its videos: a manifest's clips, WebDataset shards, video files, frames as pictures or arrays."""

import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from evaluation.clip_sources import ArraySource, Clip, VideoSource
from evaluation.resize import check_frames
from mav_lightning.common.arguments import check_argument
from mav_lightning.common.errors import UserError
from mav_lightning.common.manifest import MANIFEST, read_manifest
from mav_lightning.common.schema import PositiveFloat, check
from mav_lightning.common.video import VideoLimits

__all__ = ["Clips", "Split", "open_clips", "with_prompts"]

Split = Literal["train", "val", "all"]
Clips = Path | str | Sequence[Clip] | NDArray[np.uint8]
"""A folder of clips, clips in memory, or an array (N, T, H, W, 3) uint8."""
VIDEOS = (".mp4", ".avi", ".webm", ".mkv", ".gif", ".mov")
_MOST_JSON = 1 << 20  # bytes


def open_clips(clips: Clips, split: Split = "val", fps: float | None = None) -> list[VideoSource]:
    """List videos, ordered by id, without decoding any.

    A folder is one of: clips with a ``manifest.json``; ``*.tar`` shards of videos with ``json`` next to them, or a root
    with such shards under ``clips/<split>``; and at any depth, videos of any container FFmpeg reads, folders of
    ``.png`` frames, and ``.npy`` arrays (T, H, W, 3) uint8.

    Args:
        clips: The folder; or clips in memory.
        split: Split of a dataset that has ``clips/<split>``; ``all`` takes all splits, and their names begin the ids.
        fps: Frames per second of images and arrays, which have no frame rate of their own. None if there are none.

    Raises:
        UserError: If the folder is missing or empty, a file that the manifest names is missing, a shard is cut off, or
            images or arrays come without a frame rate.
    """
    if not isinstance(clips, Path | str):
        return _in_memory(clips, fps)
    folder = Path(clips)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give one with clips or shards.")
    if split == "all" and (parts := _splits(folder)):
        return [replace(one, id=f"{part}/{one.id}") for part in parts for one in open_clips(clips, part, fps)]
    root = _root(folder, split)
    if (root / MANIFEST).is_file():
        sources = _of_manifest(root)
    elif any(root.glob("*.tar")):
        sources = [source for shard in sorted(root.glob("*.tar")) for source in _of_shard(shard)]
    else:
        sources = _of_files(root, fps)
    if not sources:
        kinds = f"{MANIFEST}, *.tar shards, {', '.join(VIDEOS)} or .npy files, or folders of .png frames"
        raise UserError(f"{folder}: holds no clips; expected {kinds}.")
    return sorted(sources, key=lambda source: source.id)


def with_prompts(sources: Sequence[VideoSource], prompts: Mapping[str, str]) -> list[VideoSource]:
    """Assign a prompt to every video.

    Args:
        sources: The videos.
        prompts: By the video's id, with or without its suffix.

    Raises:
        UserError: Videos without a prompt, or prompts without a video: how many, and the first of them.
    """
    found = {source.id: name for source in sources for name in _names(source.id) if name in prompts}
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


def _splits(folder: Path) -> list[Split]:
    return [split for split in get_args(Split) if split != "all" and _root(folder, split) != folder]


def _root(folder: Path, split: str) -> Path:
    """Where the clips are: a dataset stores them by split."""
    part = folder / "clips" / split
    return part if part.is_dir() and not (folder / MANIFEST).is_file() else folder


def _of_manifest(folder: Path) -> list[VideoSource]:
    sources, root, where = [], folder.resolve(), folder / MANIFEST
    for clip in read_manifest(folder):
        path = (folder / clip.file).resolve()
        if not path.is_relative_to(root) or not path.exists():
            raise UserError(f"{where}, clip `{clip.id}`: no file `{clip.file}` in the folder; generate it again.")
        if not clip.fps > 0:
            raise UserError(f"{where}, clip `{clip.id}`: fps must be positive, got {clip.fps}; correct it.")
        facts: dict[str, Any] = {"prompt": clip.prompt, "attributes": dict(clip.attributes)}
        sources.append(VideoSource(clip.id, path, None, float(clip.fps), group=clip.source or clip.id, **facts))
    return sources


def _of_files(folder: Path, fps: float | None) -> list[VideoSource]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    videos = [path for path in files if path.suffix.lower() in VIDEOS]
    stills = sorted({path.parent for path in files if path.suffix == ".png"}) if not videos else []
    unrated = [*stills, *(path for path in files if path.suffix == ".npy")]
    if folder in stills:
        raise UserError(f"{folder}: holds loose .png files; put the frames of each clip into a folder of its own.")
    if unrated and fps is None:
        raise UserError(
            f"{folder}: {len(unrated)} clips are images or arrays, which have no frame rate; give it, or list files "
            f"and frame rates in a {MANIFEST}.",
            argument="fps",
        )
    return [*_named(folder, videos, None), *_named(folder, unrated, fps)]


def _named(folder: Path, paths: Iterable[Path], fps: float | None) -> Iterator[VideoSource]:
    for path in paths:
        name = path.relative_to(folder).as_posix()
        yield VideoSource(name, path, None, fps, group=name)


def _of_shard(shard: Path) -> Iterator[VideoSource]:
    """Pairs videos with the json of the same key; members are read in place and their names never become paths."""
    videos: dict[str, tarfile.TarInfo] = {}
    facts: dict[str, dict[str, Any]] = {}
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                path = PurePosixPath(member.name)
                key = str(path.parent / path.name.split(".")[0])
                if member.isfile() and path.suffix.lower() in VIDEOS and member.size <= VideoLimits.bytes:
                    videos[key] = member
                elif member.isfile() and path.suffix == ".json" and member.size <= _MOST_JSON:
                    facts[key] = _json(shard, member)
    except (tarfile.TarError, OSError, ValueError) as error:
        raise UserError(f"{shard}: damaged ({error}); write the shard again.") from error
    for key, member in videos.items():
        if member.offset_data + member.size > shard.stat().st_size:
            raise UserError(f"{shard}: cut off inside `{member.name}`; write the shard again.")
        known = facts.get(key, {})
        yield VideoSource(
            f"{shard.stem}/{key}",
            shard,
            (member.offset_data, member.size),
            prompt=known.get("caption"),
            attributes={name: str(value) for name, value in (known.get("attributes") or {}).items()},
            group=str(known.get("group") or f"{shard.stem}/{key}"),
        )


def _json(shard: Path, member: tarfile.TarInfo) -> dict[str, Any]:
    with shard.open("rb") as file:
        file.seek(member.offset_data)
        text = file.read(member.size)
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise UserError(f"{shard}: `{member.name}` is nested too deeply; write the shard again.") from error
    where = f"{shard}: `{member.name}`"
    known: dict[str, Any] = check(value, dict[str, Any], where) if isinstance(value, dict) else {}
    check(known.get("caption"), str | None, f"{where}: caption")
    check(known.get("attributes"), dict[str, Any] | None, f"{where}: attributes")
    return known
