"""Reading clips in common file formats, with the provenance in their metadata."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mav_lightning.cascade.mark import CLAIMS
from mav_lightning.common.errors import UserError
from mav_lightning.media.frame_series import frame_files
from mav_lightning.media.media_reader import open_media, read_comment
from mav_lightning.media.media_reader import read_clip as read_frames_of

__all__ = ["read_clip", "read_facts"]

Frames = NDArray[np.uint8]


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
