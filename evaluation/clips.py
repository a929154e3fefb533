"""Where clips come from: folders of generated clips, plain videos, frames, or WebDataset shards."""

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mav_lightning.common.errors import UserError
from mav_lightning.common.manifest import MANIFEST, read_manifest
from mav_lightning.common.video import VideoLimits

__all__ = ["Clip", "Frames", "VideoSource", "folder_sha256", "open_clips"]

Frames = NDArray[np.uint8]
VIDEOS = (".mp4", ".avi", ".webm", ".mkv", ".gif", ".mov")
_MOST_JSON = 1 << 20  # bytes


@dataclass(frozen=True)
class VideoSource:
    """One video of a folder, not yet read.

    Attributes:
        id: Unique in the folder.
        read: Gives the encoded file, or its path, or frames (T, H, W, 3) uint8 that were stored as pictures.
        fps: What a manifest says; None leaves it to the file.
        prompt: The caption, or None.
        attributes: Known content, such as colour, shape and ground.
        group: Videos of one group are not independent.
    """

    id: str
    read: Callable[[], bytes | Path | Frames]
    fps: float | None = None
    prompt: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    group: str = ""


@dataclass(frozen=True)
class Clip:
    """A decoded clip.

    Attributes:
        id: Unique on its side.
        pixels: Shape (T, S, S, 3), uint8.
        fps: Frames per second.
        prompt: The caption, or None.
        attributes: Known content.
        group: Clips of one group are not independent.
    """

    id: str
    pixels: Frames
    fps: float
    prompt: str | None
    attributes: dict[str, str]
    group: str


def open_clips(folder: Path) -> list[VideoSource]:
    """Lists the videos of a folder, ordered by id, without decoding any.

    A folder is one of: clips with a ``manifest.json``; ``*.tar`` shards of videos with ``json`` beside them, or a root
    with such shards under ``clips/val``; videos of any container FFmpeg reads, at any depth.

    Raises:
        UserError: No such folder, nothing in it, files a manifest names but nobody finds, or half a shard.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give one with clips or shards.")
    root = _root(folder)
    if (root / MANIFEST).is_file():
        sources = _of_manifest(root)
    elif any(root.glob("*.tar")):
        sources = _of_shards(root)
    else:
        sources = _of_files(root)
    if not sources:
        raise UserError(f"{folder}: holds no clips; expected {MANIFEST}, *.tar shards, or {', '.join(VIDEOS)} files.")
    return sorted(sources, key=lambda source: source.id)


def folder_sha256(folder: Path) -> str:
    """Over names and bytes of the files that `open_clips` would read, independent of where the folder is."""
    digest = hashlib.sha256()
    root = _root(folder)
    kinds = {*VIDEOS, ".png", ".tar"}
    files = (path for path in root.rglob("*") if path.suffix.lower() in kinds or path.name == MANIFEST)
    for path in sorted(path for path in files if path.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


def _root(folder: Path) -> Path:
    """Where the clips are: a data set keeps those to measure against under ``clips/val``."""
    split = folder / "clips" / "val"
    return split if split.is_dir() and not (folder / MANIFEST).is_file() else folder


def _of_manifest(folder: Path) -> list[VideoSource]:
    sources, root, where = [], folder.resolve(), folder / MANIFEST
    for clip in read_manifest(folder):
        path = (folder / clip.file).resolve()
        if not path.is_relative_to(root) or not path.exists():
            raise UserError(f"{where}, clip `{clip.id}`: no file `{clip.file}` in the folder; generate it again.")
        if not clip.fps > 0:
            raise UserError(f"{where}, clip `{clip.id}`: fps must be positive, got {clip.fps}; correct it.")
        source = VideoSource(clip.id, _reader(path), float(clip.fps), clip.prompt, dict(clip.attributes), clip.id)
        sources.append(source)
    return sources


def _of_files(folder: Path) -> list[VideoSource]:
    videos = [path for path in folder.rglob("*") if path.suffix.lower() in VIDEOS and path.is_file()]
    if not videos and any(folder.rglob("*.png")):
        raise UserError(f"{folder}: frames as pictures have no frame rate; name their folders and fps in a {MANIFEST}.")
    names = [path.relative_to(folder).as_posix() for path in videos]
    return [VideoSource(name, _reader(path), group=name) for name, path in zip(names, videos, strict=True)]


def _reader(path: Path) -> Callable[[], Path | Frames]:
    return (lambda: _pictures(path)) if path.is_dir() else (lambda: path)


def _pictures(folder: Path) -> Frames:
    files = sorted(folder.glob("*.png"))
    if not files:
        raise UserError(f"{folder}: holds no .png frames; write them again or take the clip out of the {MANIFEST}.")
    frames = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    if len({frame.shape for frame in frames}) > 1:
        raise UserError(f"{folder}: frames of different sizes; write them again at one size.")
    return np.stack(frames)


def _of_shards(folder: Path) -> list[VideoSource]:
    return [source for shard in sorted(folder.glob("*.tar")) for source in _of_shard(shard)]


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
            _member_reader(shard, member),
            prompt=known.get("caption"),
            attributes={name: str(value) for name, value in (known.get("attributes") or {}).items()},
            group=str(known.get("group") or f"{shard.stem}/{key}"),
        )


def _json(shard: Path, member: tarfile.TarInfo) -> dict[str, Any]:
    value = json.loads(_bytes(shard, member))
    return value if isinstance(value, dict) else {}


def _member_reader(shard: Path, member: tarfile.TarInfo) -> Callable[[], bytes]:
    return lambda: _bytes(shard, member)


def _bytes(shard: Path, member: tarfile.TarInfo) -> bytes:
    with shard.open("rb") as file:
        file.seek(member.offset_data)
        return file.read(member.size)
