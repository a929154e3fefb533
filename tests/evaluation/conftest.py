"""Clips that no extractor was trained on, through the codec, at the size and rates of the tiny scale."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.extractors.crossed import through_codec
from mav_lightning.common.cropping import crop_to_square
from mav_lightning.common.shapes_world.laws import Level, laws_of_shapes, sample_motion
from mav_lightning.common.shapes_world.scene import Scene, all_scenes, render

FRAMES, SIZE, RATES = 9, 16, (4.0, 8.0, 16.0)


@dataclass(frozen=True)
class Rendered:
    """Clips (N, 9, 16, 16, 3) at one rate, and their scenes."""

    pixels: NDArray[np.uint8]
    fps: NDArray[np.float64]
    scenes: list[Scene]

    @property
    def shapes(self) -> list[str]:
        return [scene.shape for scene in self.scenes]


@cache
def rendered(fps: float, right_law: bool = True, count: int = 72, seed: int = 7, level: Level = "hard") -> Rendered:
    laws = laws_of_shapes(level)
    rng, scenes = np.random.default_rng((seed, int(fps), right_law)), all_scenes()
    pixels = np.empty((count, FRAMES, SIZE, SIZE, 3), np.uint8)
    chosen = [scenes[number % len(scenes)] for number in range(count)]
    for clip, scene in zip(pixels, chosen, strict=True):
        own, times = laws[scene.shape], np.arange(FRAMES) / fps
        law = own if right_law else str(rng.choice([name for name in laws.values() if name != own]))
        large = render(scene, sample_motion(law, rng, times[-1]).at(times), 64, supersample=2)
        clip[:] = [crop_to_square(frame, SIZE) for frame in through_codec(large, fps, rng)]
    return Rendered(pixels, np.full(count, fps), chosen)


@pytest.fixture(scope="session")
def real_clips() -> Callable[..., Rendered]:
    """Renders clips of every scene: ``real_clips(fps, right_law=True)``; cached."""
    return rendered
