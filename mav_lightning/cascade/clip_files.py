"""Reading clips in common file formats, with the provenance in their metadata."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mav_lightning.cascade.mark import CLAIMS
from mav_lightning.common.errors import UserError
from mav_lightning.common.video import VideoError, read_comment, read_frames

__all__ = ["read_clip", "read_facts"]

Frames = NDArray[np.uint8]
_PICTURES = (".gif", ".png")


def read_clip(path: Path) -> Frames:
    """Read the frames of a clip, shape (T, H, W, 3), uint8.

    Args:
        path: File in one of the formats of `write_clip`, or a folder of PNGs.

    Raises:
        UserError: If there is no such file or it cannot be decoded.
    """
    if path.is_dir():
        return np.concatenate([_images(file) for file in _frames(path)])
    return _images(path) if path.suffix in _PICTURES else read_frames(_existing(path))


def read_facts(path: Path) -> dict[str, str]:
    """Read what the metadata of a clip claims about its origin, without decoding frames.

    Args:
        path: File in one of the formats of `write_clip`, or a folder of PNGs.

    Returns:
        The claims. Empty if there are none in the form that `mav_lightning.cascade.mark.provenance` writes.

    Raises:
        UserError: If there is no such file or it cannot be read.
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
    except (ValueError, RecursionError):
        return {}
    claims = {key: facts.get(key) for key in CLAIMS} if isinstance(facts, dict) else {}
    texts = {key: value for key, value in claims.items() if isinstance(value, str)}
    return texts if len(texts) == len(CLAIMS) else {}


def _existing(path: Path) -> Path:
    if not path.exists():
        raise UserError(f"{path}: no such file or folder.")
    return path


def _frames(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.png"))
    if not files:
        raise UserError(f"{folder}: has no PNGs; give a clip, or a folder with the frames of one clip.")
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
