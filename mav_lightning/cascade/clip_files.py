"""Reading and writing clips in common file formats, with provenance in their metadata."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mav_lightning.cascade.mark import CLAIMS
from mav_lightning.common.errors import UserError
from mav_lightning.common.gif import encode_gif
from mav_lightning.common.video_encoding import encode_mp4, write_lossless
from mav_lightning.media.frame_series import frame_files
from mav_lightning.media.media_reader import open_media, read_comment
from mav_lightning.media.media_reader import read_clip as read_frames_of

__all__ = ["FORMATS", "Format", "read_clip", "read_facts", "write_clip"]

Frames = NDArray[np.uint8]
Format = Literal["mkv", "mp4", "gif", "frames"]


class FileFormat(NamedTuple):
    """A file format for clips.

    Attributes:
        suffix: Suffix of the file. Empty for a folder.
        write: ``write(path, frames, fps, comment)``.
    """

    suffix: str
    write: Callable[[Path, Frames, float, str], None]


def _mp4(path: Path, frames: Frames, fps: float, comment: str) -> None:
    height, width = frames.shape[1:3]
    even = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")  # 4:2:0 requires even sides
    path.write_bytes(encode_mp4(even, fps, comment=comment))


def _gif(path: Path, frames: Frames, fps: float, comment: str) -> None:
    path.write_bytes(encode_gif(frames, fps, comment))


def _pngs(path: Path, frames: Frames, fps: float, comment: str) -> None:
    path.mkdir(exist_ok=True)
    info = PngInfo()
    info.add_text("Comment", comment)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(path / f"{number:05d}.png", pnginfo=info)


# ``frames`` is a folder of PNGs.
FORMATS: dict[Format, FileFormat] = {
    "mkv": FileFormat(".mkv", write_lossless),
    "mp4": FileFormat(".mp4", _mp4),
    "gif": FileFormat(".gif", _gif),
    "frames": FileFormat("", _pngs),
}


def write_clip(
    path: Path, frames: Frames, fps: float, comment: str, finish: Callable[[Path], None] | None = None
) -> None:
    """Write a clip atomically in the format that the suffix of `path` names.

    ``.mkv`` is lossless; ``.mp4`` plays anywhere; ``.gif`` has 256 colors, frame times in hundredths of a second, and
    merges equal neighboring frames; a path without a suffix becomes a folder of PNGs.

    Args:
        path: The new file.
        frames: Clip, shape (T, H, W, 3), uint8.
        fps: Frames per second.
        comment: Text stored in the file, which `read_facts` reads.
        finish: Applied to every written file before it gets its final name. None for nothing.
    """
    writers = dict(FORMATS.values())
    partial = path.with_name(f".partial-{path.name}")
    _remove(partial)  # of an interrupted run
    try:
        writers[path.suffix](partial, frames, fps, comment)
        if finish is not None:
            for file in frame_files(partial) if partial.is_dir() else [partial]:
                finish(file)
    except BaseException:
        _remove(partial)
        raise
    _remove(path)
    partial.rename(path)


def read_clip(path: Path, fps: float | None = None) -> Frames:
    """Read the frames of a clip, shape (T, H, W, 3), uint8.

    Args:
        path: A video, animation or image, or a folder of numbered images.
        fps: Frame rate that the clip was written with. None if it is not known; an animation that stores equal
            neighboring frames once may then give fewer frames.

    Raises:
        UserError: If there is no such file or it cannot be decoded.
    """
    with open_media(_existing(path), fps) as clip:
        return read_frames_of(clip, range(len(clip.timeline)))


def read_facts(path: Path) -> dict[str, str]:
    """Read what the metadata of a clip claims about its origin, without decoding frames.

    Args:
        path: A video, animation or image, or a folder of numbered images.

    Returns:
        The claims. Empty if there are none in the form that `mav_lightning.cascade.mark.provenance` writes.

    Raises:
        UserError: If there is no such file or it cannot be read.
    """
    file = _existing(path)
    try:
        facts = json.loads(read_comment(frame_files(file)[0] if file.is_dir() else file) or "{}")
    except (ValueError, RecursionError):
        return {}
    claims = {key: facts.get(key) for key in CLAIMS} if isinstance(facts, dict) else {}
    texts = {key: value for key, value in claims.items() if isinstance(value, str)}
    return texts if len(texts) == len(CLAIMS) else {}


def _existing(path: Path) -> Path:
    if not path.exists():
        raise UserError(f"{path}: no such file or folder.")
    return path


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
