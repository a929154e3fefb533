"""Training clips for the extractors: shape and motion law drawn independently, with video compression.

In Shapes World the shape determines the law. A network trained there could infer one from the other and miss what is to
be measured. A network trained without compression would lose accuracy on compressed clips.
"""

from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from evaluation.extractors.shapes_layers import APPEARANCE, MOTIONS, network_input
from mav_lightning.common.pixels import quantize
from mav_lightning.common.shapes_world.laws import sample_motion
from mav_lightning.common.shapes_world.scene import Scene, all_scenes, caption, render
from mav_lightning.common.video_encoding import encode_mp4
from mav_lightning.media.media_reader import read_frames

__all__ = ["FRAMES", "CrossedClips", "crossed_clips", "through_codec"]

FRAMES = 9
_SIZES = (16, 32, 64)  # pixels: sizes at which clips are encoded and then downsampled


@dataclass(frozen=True)
class CrossedClips:
    """N clips with labels of their content.

    Attributes:
        pixels: Frames, shape (N, T, 32, 32, 3), uint8.
        centers: Object centers, shape (N, T, 2), in frame widths.
        captions: One caption per clip, in a random phrasing.
        labels: Attribute → class numbers, shape (N,), over `APPEARANCE` and ``motion`` over `MOTIONS`.
    """

    pixels: Tensor
    centers: Tensor
    captions: list[str]
    labels: dict[str, Tensor]


def crossed_clips(count: int, seed: int) -> CrossedClips:
    """Render `count` clips with scene and motion drawn independently; the same seed gives the same clips."""
    rng, scenes = np.random.default_rng(seed), all_scenes()
    pixels, centers = torch.empty(count, FRAMES, 32, 32, 3, dtype=torch.uint8), torch.empty(count, FRAMES, 2)
    captions: list[str] = []
    labels: dict[str, list[int]] = {name: [] for name in (*APPEARANCE, "motion")}
    for clip, track in zip(pixels, centers, strict=True):
        scene, motion = scenes[rng.integers(len(scenes))], MOTIONS[rng.integers(len(MOTIONS))]
        fps = float(rng.uniform(4, 16))
        places = _centers(motion, fps, rng)
        track.copy_(torch.from_numpy(places))
        clip.copy_(_clip(scene, places, fps, rng))
        captions.append(caption(scene, int(rng.integers(1 << 16))))
        for name, value in scene.attributes().items():
            labels[name].append(APPEARANCE[name].index(value))
        labels["motion"].append(MOTIONS.index(motion))
    return CrossedClips(pixels, centers, captions, {name: torch.tensor(values) for name, values in labels.items()})


def through_codec(frames: NDArray[np.uint8], fps: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Encode as H.264 at a random rate factor from 18 to 32, and decode."""
    return read_frames(encode_mp4(frames, fps, crf=int(rng.integers(18, 33))))


def _clip(scene: Scene, centers: NDArray[np.float64], fps: float, rng: np.random.Generator) -> Tensor:
    encoded = int(rng.choice(_SIZES))
    seen = int(rng.choice([size for size in _SIZES if size <= encoded]))
    frames = torch.from_numpy(through_codec(render(scene, centers, encoded, supersample=2), fps, rng))
    small = frames.unflatten(1, (seen, -1)).unflatten(3, (seen, -1)).float().mean(dim=(2, 4)).round()
    return rearrange(quantize(network_input(small.to(torch.uint8))), "n c h w -> n h w c")


def _centers(motion: str, fps: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the centers of one clip, (T, 2), in widths; for ``none``, a frozen, shuffled or uniformly random track."""
    law = motion if motion != "none" else str(rng.choice(MOTIONS[:-1]))
    track = sample_motion(law, rng).at(np.arange(FRAMES) / fps)
    if motion != "none":
        return track
    ways = (np.repeat(track[:1], FRAMES, axis=0), rng.permutation(track), rng.uniform(0.23, 0.77, track.shape))
    return ways[rng.integers(len(ways))]
