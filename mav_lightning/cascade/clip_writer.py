"""Writing clips in common file formats, with provenance in their metadata."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mav_lightning.cascade.sampling import Factor
from mav_lightning.common.errors import UserError
from mav_lightning.common.gif import encode_gif
from mav_lightning.common.machine_faults import write_faults_name
from mav_lightning.common.schema import check
from mav_lightning.common.video_encoding import write_lossless, write_mp4

__all__ = ["FORMATS", "SIGNED_FORMATS", "FileFormat", "Format", "choose_format", "remove", "write_clip"]

Frames = NDArray[np.uint8]
Format = Literal["mp4", "mkv", "gif", "frames"]
SIGNED_FORMATS: tuple[Format, ...] = ("mp4", "gif", "frames")  # C2PA does not support Matroska


class FileFormat(NamedTuple):
    """A file format for clips.

    Attributes:
        suffix: Suffix of the file. Empty for a folder.
        write: ``write(path, frames, fps, comment)``.
    """

    suffix: str
    write: Callable[[Path, Frames, float, str], None]


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
    "mp4": FileFormat(".mp4", write_mp4),
    "mkv": FileFormat(".mkv", write_lossless),
    "gif": FileFormat(".gif", _gif),
    "frames": FileFormat("", _pngs),
}


def choose_format(format: Format | None, *, mark: bool, scale: int, signed: bool) -> Format:
    """Return the format of clips, and check that it fits their other settings.

    Args:
        format: Format that was asked for. None for mp4 if clips are marked, and lossless mkv if they are not.
        mark: Whether clips get the visible mark.
        scale: Factor by which frames are upsampled for the eye.
        signed: Whether files are signed.

    Raises:
        UserError: If the format is unknown or cannot be signed, or clips without the mark are to be upsampled.
    """
    chosen: Format = check(format or ("mp4" if mark else "mkv"), Format, "format")
    if signed and chosen not in SIGNED_FORMATS:
        raise UserError(f"{chosen} cannot be signed; choose one of {', '.join(SIGNED_FORMATS)}.", argument="format")
    if check(scale, Factor, "scale") > 1 and not mark:
        raise UserError(
            f"got {scale}, but clips without the mark are for evaluation, which takes them at their own size; leave "
            "the scale at 1, or keep the mark.",
            argument="scale",
        )
    return chosen


def write_clip(
    path: Path, frames: Frames, fps: float, comment: str, finish: Callable[[Path], None] | None = None
) -> None:
    """Write a clip atomically in the format that the suffix of `path` names.

    ``.mp4`` plays anywhere; ``.mkv`` is lossless; ``.gif`` has 256 colors, at most 50 frames per second with times in
    hundredths of a second, and merges equal neighboring frames; a path without a suffix becomes a folder of PNGs.

    Args:
        path: The new file.
        frames: Clip, shape (T, H, W, 3), uint8.
        fps: Frames per second.
        comment: Text stored in the file, which `mav_lightning.cascade.clip_files.read_facts` reads.
        finish: Applied to every written file before it gets its final name. None for nothing.
    """
    writers = dict(FORMATS.values())
    partial = path.with_name(f".partial-{path.name}")
    remove(partial)  # of an interrupted run
    try:
        with write_faults_name(path):
            writers[path.suffix](partial, frames, fps, comment)
            if finish is not None:
                for file in sorted(partial.glob("*.png")) if partial.is_dir() else [partial]:
                    finish(file)
    except BaseException:
        remove(partial)
        raise
    remove(path)
    partial.rename(path)


def remove(path: Path) -> None:
    """Delete a clip, be it a file or a folder of PNGs, if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
