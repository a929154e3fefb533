"""How much an autoencoder makes clips flicker, as it encodes and decodes every frame on its own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from datamodules.cached_samples import decode_samples
from datamodules.index import load_index
from datamodules.index_table import Sample
from mav_lightning.common.cropping import crop_to_square
from mav_lightning.common.pixels import from_uint8, quantize
from mav_lightning.media.media_reader import open_media
from mav_lightning.shards.samples import IMAGE_SUFFIXES
from mav_lightning.shards.shard_listing import shard_folders

__all__ = ["Flicker", "measure_flicker"]

_CLIPS, _FRAMES = 8, 8


@dataclass(frozen=True)
class Flicker:
    """Mean absolute difference between neighboring frames, in gray levels of 255.

    Attributes:
        original: Change of the clips.
        decoded: Change of the same clips after encoding and decoding.
        added: Change from frame to frame of the reconstruction error. 0 if the error is constant over time.
        static_original: Change of static films: the first frame of each clip, with noise of at most one gray level.
        static_decoded: Change of the static films after encoding and decoding.
        clips: Number of clips.
    """

    original: float
    decoded: float
    added: float
    static_original: float
    static_decoded: float
    clips: int


def measure_flicker(root: Path, reconstruct: Callable[[Tensor], Tensor], size: int) -> Flicker | None:
    """Measure the flicker that an autoencoder adds to the first 8 frames of the first 8 clips below `root`.

    Args:
        root: Dataset folder.
        reconstruct: Encodes and decodes images (B, 3, size, size) in [-1, 1].
        size: Side of the squares in pixels.

    Returns:
        The measurement. None if there are no clips of two frames or more.
    """
    moving, static = list[tuple[Tensor, Tensor]](), list[tuple[Tensor, Tensor]]()
    noise = np.random.default_rng(0)
    for clip in _first_clips(root, size):
        still = clip[:1].astype(np.int16) + noise.integers(-1, 2, clip.shape)
        for kind, frames in ((moving, clip), (static, still.clip(0, 255).astype(np.uint8))):
            images = rearrange(from_uint8(frames[None]), "n c t h w -> (n t) c h w").contiguous()
            decoded = torch.cat([quantize(reconstruct(image[None])) for image in images])
            kind.append((quantize(images).float(), decoded.cpu().float()))
    if not moving:
        return None
    return Flicker(
        original=_mean([_change(before) for before, _ in moving]),
        decoded=_mean([_change(after) for _, after in moving]),
        added=_mean([_change(after - before) for before, after in moving]),
        static_original=_mean([_change(before) for before, _ in static]),
        static_decoded=_mean([_change(after) for _, after in static]),
        clips=len(moving),
    )


def _change(frames: Tensor) -> float:
    return float(frames.diff(dim=0).abs().mean())


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _first_clips(root: Path, size: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the first frames of the first clips, shape (T, size, size, 3)."""

    def beginning(suffix: str, content: bytes, sample: Sample) -> NDArray[np.uint8] | None:
        if suffix in IMAGE_SUFFIXES:
            return None
        with open_media(content) as video:
            frames = video.frames(range(min(len(video.timeline), _FRAMES)))
            return np.stack([crop_to_square(Image.fromarray(frame), size) for frame in frames])

    found = 0
    for index in map(load_index, shard_folders(root)):
        for number in range(len(index)):
            if found == _CLIPS:
                return
            (clip,) = decode_samples(index, [number], beginning, {})
            if clip is None:
                if (media := index[number][1].media) is not None and media.frames < 2:
                    break  # a folder of images
            elif len(clip) > 1:
                found += 1
                yield clip
