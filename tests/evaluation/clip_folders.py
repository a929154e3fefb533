"""Folders of clips whose frames tell their numbers."""

import io
import tarfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.folders import open_clips
from mav_lightning.common.video_encoding import encode_mp4

LEVELS = 12 * np.arange(16, dtype=np.uint8)


def ramp(frames: int = 16) -> NDArray[np.uint8]:
    return np.broadcast_to(LEVELS[:frames, None, None, None], (frames, 16, 16, 3)).copy()


def numbers(frames: NDArray[np.uint8]) -> list[int]:
    return np.rint(frames.mean(axis=(1, 2, 3)) / 12).astype(int).tolist()


def write_frames(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in zip(names, ramp(len(names)), strict=True):
        image = Image.fromarray(frame)
        image.save(folder / name, **({"quality": 95} if name.lower().endswith(("jpg", "jpeg")) else {"lossless": True}))
    return folder


def write_video(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_mp4(ramp(), 8.0))
    return path


def write_shard(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo("e.mp4")
        entry.size = len(encode_mp4(ramp(), 8.0))
        archive.addfile(entry, io.BytesIO(encode_mp4(ramp(), 8.0)))
    return path


def ids(folder: Path) -> list[str]:
    return [source.id for source in open_clips(folder, fps=8.0)]


SERIES = {
    "no width": [f"{number}.png" for number in range(16)],
    "no width, from 1": [f"{number + 1}.png" for number in range(16)],
    "one width": [f"{number:06}.jpg" for number in range(16)],
    "mixed widths": [f"{number:02}.png" if number % 2 else f"{number}.png" for number in range(16)],
    "a prefix": [f"frame_{number}.png" for number in range(16)],
    "two numbers": [f"shot2_{number}.webp" for number in range(16)],
    "a suffix in the name": [f"{number}_rgb.jpeg" for number in range(16)],
    "gaps": [f"{5 * number}.png" for number in range(16)],
    "capitals": [f"IMG_{number}.PNG" for number in range(16)],
    "two formats": [f"{number}.{'jpg' if number % 3 else 'png'}" for number in range(16)],
    "numbers of 20 digits": [f"{10**19 + number}.png" for number in range(16)],
    "spaces and accents": [f"cafe\u0301 no {number}.png" for number in range(16)],
    "time stamps": [f"2024-01-01_10-00-{number}.png" for number in range(16)],
}  # fmt: skip


def write_animation(path: Path) -> Path:
    images = [Image.fromarray(frame) for frame in ramp(4)]
    path.parent.mkdir(parents=True, exist_ok=True)
    images[0].save(path, save_all=True, append_images=images[1:], duration=100)
    return path
