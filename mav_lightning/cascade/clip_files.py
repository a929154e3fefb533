"""Clips as files in the forms people use, all of which say where they come from."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from mav_lightning.common.errors import UserError
from mav_lightning.common.gif import encode_gif
from mav_lightning.common.video import VideoError, encode_mp4, read_comment, read_frames, write_lossless

__all__ = ["FORMATS", "read_clip", "read_facts", "write_clip"]

Frames = NDArray[np.uint8]
_PICTURES = (".gif", ".png")


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


def write_clip(
    path: Path, frames: Frames, fps: float, comment: str, finish: Callable[[Path], None] | None = None
) -> None:
    """Writes a clip (T, H, W, 3) in the form that its suffix names.

    ``.mkv`` is lossless, ``.mp4`` plays anywhere, ``.gif`` has 256 colours, times in hundredths of a second, and one
    longer frame where neighbours are alike; a path without a suffix becomes a folder of PNGs.

    Args:
        path: Of the new file.
        frames: The clip.
        fps: Frames per second.
        comment: Stored in the file, where `read_facts` finds it. The file appears whole or not at all.
        finish: What is still to be done to every file written, before it gets its name; None for nothing.
    """
    writers = dict(FORMATS.values())
    partial = path.with_name(f".partial-{path.name}")
    _remove(partial)  # a killed writer's
    try:
        writers[path.suffix](partial, frames, fps, comment)
        if finish is not None:
            for file in _frames(partial) if partial.is_dir() else [partial]:
                finish(file)
    except BaseException:
        _remove(partial)
        raise
    _remove(path)
    partial.rename(path)


def read_clip(path: Path) -> Frames:
    """Reads what `write_clip` wrote, or any such file: frames (T, H, W, 3).

    Raises:
        UserError: No such file, or none of the forms.
    """
    if path.is_dir():
        return np.concatenate([_images(file) for file in _frames(path)])
    return _images(path) if path.suffix in _PICTURES else read_frames(_existing(path))


def read_facts(path: Path) -> dict[str, Any]:
    """What a clip's file says of itself, empty where it says nothing that we understand; no frame is decoded.

    Raises:
        UserError: As `read_clip`.
    """
    if path.is_dir():
        return read_facts(_frames(path)[0])
    if path.suffix in _PICTURES:
        with _image(path) as image:
            found = image.info.get("comment") or image.info.get("Comment") or ""
        comment = found.decode(errors="replace") if isinstance(found, bytes) else found
    else:
        comment = read_comment(_existing(path))
    try:
        facts = json.loads(comment or "{}")
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _existing(path: Path) -> Path:
    if not path.exists():
        raise UserError(f"{path}: no such file or folder.")
    return path


def _frames(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.png"))
    if not files:
        raise UserError(f"{folder}: a folder without PNGs; give a clip, or a folder of one clip's frames.")
    return files


@contextmanager
def _image(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(_existing(path)) as image:
            yield image
    except (UnidentifiedImageError, OSError) as error:
        raise VideoError(f"{path}: not a readable image ({error}).") from error


def _images(path: Path) -> Frames:
    frames = []
    with _image(path) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            frames.append(np.asarray(image.convert("RGB")))
    return np.stack(frames)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
