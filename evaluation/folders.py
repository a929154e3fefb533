"""Anybody's folder → its videos: a manifest's clips, WebDataset shards, video files, frames as pictures or arrays."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from evaluation.clip_sources import ArraySource, Clip, VideoSource
from evaluation.failures import Failures
from evaluation.resize import check_frames
from mav_lightning.common.arguments import check_argument
from mav_lightning.common.errors import UserError
from mav_lightning.common.manifest import MANIFEST, read_manifest
from mav_lightning.common.schema import PositiveFloat
from mav_lightning.media.listing import list_folder
from mav_lightning.shards.sample_facts import read_facts
from mav_lightning.shards.samples import VIDEO_SUFFIXES, Group, SampleError, read_folder
from mav_lightning.shards.shard_listing import shard_paths
from mav_lightning.shards.tar_members import TarMember

__all__ = ["Clips", "Split", "open_clips", "with_prompts"]

Split = Literal["train", "val"]
Clips = Path | str | Sequence[Clip] | NDArray[np.uint8]
"""A folder of clips, clips in memory, or an array (N, T, H, W, 3) uint8."""
VIDEOS = (".mp4", ".avi", ".webm", ".mkv", ".gif", ".mov")


def open_clips(clips: Clips, split: Split = "val", fps: float | None = None) -> list[VideoSource]:
    """List videos, ordered by id, without decoding any.

    A folder is one of: clips with a ``manifest.json``; ``*.tar`` shards of videos with ``json`` next to them, or a root
    with such shards under ``clips/<split>``; and at any depth, videos of any container FFmpeg reads, folders of
    ``.png`` frames, and ``.npy`` arrays (T, H, W, 3) uint8.

    Args:
        clips: The folder; or clips in memory.
        split: Split of a dataset that has ``clips/<split>``.
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
    root = _root(folder, split)
    if (root / MANIFEST).is_file():
        sources = _of_manifest(root)
    elif list_folder(root, recursive=False).with_suffix("tar"):
        sources = list(_of_shards(shard_paths(root)))
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


def _of_shards(shards: Sequence[Path]) -> Iterator[VideoSource]:
    """Yield the videos of shards, which are read in place, with the facts of their samples.

    Raises:
        UserError: A shard is damaged, or a sample cannot be used: all are counted.
    """
    failures, count = Failures(), 0
    for shard, samples in read_folder(shards):
        with shard.open("rb") as file:
            for sample in samples:
                count += 1
                try:
                    yield _of_sample(shard, file, sample)
                except UserError as error:
                    failures.add(f"{shard.name}:{sample.key}", str(error))
    failures.raise_any(count, f"samples of {shards[0].parent}", "Write the shards again without them.")


def _of_sample(shard: Path, file: BinaryIO, sample: Group[TarMember]) -> VideoSource:
    if sample.error is not None:
        raise SampleError(sample.error)
    video = next((sample.members[suffix] for suffix in VIDEO_SUFFIXES if suffix in sample.members), None)
    if video is None:
        raise SampleError("holds no video")
    texts = {suffix: _read(file, sample.members[suffix]) for suffix in ("txt", "json") if suffix in sample.members}
    facts, name = read_facts(texts), f"{shard.stem}/{sample.key}"
    span = (video.offset, video.size)
    return VideoSource(name, shard, span, None, facts.caption, dict(facts.attributes), facts.group or name)


def _read(file: BinaryIO, member: TarMember) -> bytes:
    file.seek(member.offset)
    return file.read(member.size)
