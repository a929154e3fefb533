"""Clips as files in the forms people use, all of which say where they come from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from mav_lightning.common.errors import UserError
from mav_lightning.common.gif import encode_gif
from mav_lightning.common.video import VideoError, encode_mp4, read_comment, read_frames, write_lossless

__all__ = ["FORMATS", "read_clip", "write_clip"]

Frames = NDArray[np.uint8]


def _mp4(path: Path, frames: Frames, fps: float, comment: str) -> None:
    height, width = frames.shape[1:3]
    even = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")  # 4:2:0 demands it
    path.write_bytes(encode_mp4(even, fps, comment=comment))


def _gif(path: Path, frames: Frames, fps: float, comment: str) -> None:
    path.write_bytes(encode_gif(frames, fps, comment))


def _pngs(path: Path, frames: Frames, fps: float, comment: str) -> None:
    path.mkdir(exist_ok=True)
    info = PngInfo()
    info.add_text("Comment", comment)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(path / f"{number:05d}.png", pnginfo=info)


# Name of a format → suffix of the file, and who writes it; ``frames`` is a folder of PNGs.
FORMATS: dict[str, tuple[str, Callable[[Path, Frames, float, str], None]]] = {
    "mkv": (".mkv", write_lossless),
    "mp4": (".mp4", _mp4),
    "gif": (".gif", _gif),
    "frames": ("", _pngs),
}


def write_clip(path: Path, frames: Frames, fps: float, comment: str) -> None:
    """Writes a clip (T, H, W, 3) in the form that its suffix names.

    ``.mkv`` is lossless, ``.mp4`` plays anywhere, ``.gif`` has 256 colours, times in hundredths of a second, and one
    longer frame where neighbours are alike; a path without a suffix becomes a folder of PNGs.

    Args:
        path: Of the new file.
        frames: The clip.
        fps: Frames per second.
        comment: Stored in the file, where `read_clip` finds it.
    """
    writers = dict(FORMATS.values())
    writers[path.suffix](path, frames, fps, comment)


def read_clip(path: Path) -> tuple[Frames, dict[str, Any]]:
    """Reads what `write_clip` wrote: frames (T, H, W, 3), and what the file says of itself, empty where it does not.

    Raises:
        UserError: No such file, or none of the forms.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder.")
    if path.is_dir():
        files = sorted(path.glob("*.png"))
        if not files:
            raise UserError(f"{path}: a folder without PNGs; give a clip, or a folder of one clip's frames.")
        frames, comment = np.concatenate([_images(file)[0] for file in files]), _images(files[0])[1]
    elif path.suffix in (".gif", ".png"):
        frames, comment = _images(path)
    else:
        frames, comment = read_frames(path), read_comment(path)
    try:
        facts = json.loads(comment or "{}")
    except ValueError:
        facts = {}
    return frames, facts if isinstance(facts, dict) else {}


def _images(path: Path) -> tuple[Frames, str]:
    try:
        with Image.open(path) as image:
            comment = image.info.get("comment") or image.info.get("Comment") or ""
            frames = []
            for number in range(getattr(image, "n_frames", 1)):
                image.seek(number)
                frames.append(np.asarray(image.convert("RGB")))
    except (UnidentifiedImageError, OSError) as error:
        raise VideoError(f"{path}: not a readable image ({error}).") from error
    return np.stack(frames), comment.decode() if isinstance(comment, bytes) else comment
