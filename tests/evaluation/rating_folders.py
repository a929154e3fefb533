"""Folders of clips of two systems, for the tests of people's preference."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mav_lightning.common.manifest import ClipRecord, write_manifest
from mav_lightning.common.video_encoding import write_lossless


def frames_of(system: int, number: int) -> np.ndarray:
    """Four frames of 8x6 pixels, of one color for each system, clip and frame."""
    found = np.zeros((4, 8, 6, 3), np.uint8)
    found[..., system * 2] = (40 + 10 * number) % 256
    found[..., 1] = np.arange(4)[:, None, None] * 50
    return found


def write_system(folder: Path, system: int, prompts: Sequence[str | None], fps: float = 8.0) -> Path:
    folder.mkdir(parents=True)
    records = []
    for number, prompt in enumerate(prompts):
        write_lossless(folder / f"{number}.mkv", frames_of(system, number), fps)
        records.append(ClipRecord(str(number), f"{number}.mkv", fps, prompt))
    write_manifest(folder, records)
    return folder
