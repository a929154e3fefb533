"""Shapes World as an ordinary dataset: shards of captioned still images and unlabeled clips.

Stills place the object anywhere, so they do not leak its law of motion. Training clips have no text and omit some pairs
of color and shape that the stills show; validation clips have all pairs and their texts.
"""

import io
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datamodules.index import DATASET, build_index
from datamodules.parallel import in_parallel
from datamodules.shards import write_shards
from mav_lightning.common.arguments import check_fields
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import PositiveFloat, PositiveInt, Seed
from mav_lightning.common.shapes_world.laws import EASY_SECONDS, Level, laws_of_shapes, sample_motion
from mav_lightning.common.shapes_world.scene import RADIUS, Scene, all_scenes, caption, render
from mav_lightning.common.task import Task
from mav_lightning.common.tracking import Track, untracked
from mav_lightning.common.video_encoding import encode_mp4
from mav_lightning.common.whole_file import new_folder
from mav_lightning.media.limits import DEFAULT_LIMITS

__all__ = ["WriteEasyShapesWorld", "WriteShapesWorld"]

Kind: TypeAlias = Literal["images", "clips"]
Split: TypeAlias = Literal["train", "val"]
_PARTS: tuple[tuple[Kind, Split], ...] = (("images", "train"), ("images", "val"), ("clips", "train"), ("clips", "val"))
_SUPERSAMPLE = 2
_MARGIN = RADIUS + 0.03  # keeps the whole object in the frame


@dataclass(frozen=True, kw_only=True)
class WriteShapesWorld(Task):
    """Write and index ``images/{train,val}`` (png, txt, json) and ``clips/{train,val}`` (mp4, json).

    Validation clips have a txt member, too. The bytes written depend on every attribute but `processes`.

    Attributes:
        seed: Seed of everything random.
        images: Training stills.
        clips: Training clips.
        val_images: Validation stills.
        val_clips: Validation clips; 72 show every scene once.
        size: Side of the frames in pixels, even.
        seconds: Length of a clip in seconds; T frames at f frames per second need more than (T - 1) / f.
        fps: Frame rate of the clips in frames per second.
        shard_size: Samples per shard.
        processes: Rendering processes. None uses one per available core.

    Raises:
        UserError: A value is out of range, or the frames or clips are larger than the limits of the reader.
    """

    level: ClassVar[Level] = "hard"

    seed: Seed = 0
    images: PositiveInt = 4000
    clips: PositiveInt = 800
    val_images: PositiveInt = 360
    val_clips: PositiveInt = 144
    size: PositiveInt = 64
    seconds: PositiveFloat = 3.0
    fps: PositiveFloat = 32.0
    shard_size: PositiveInt = 1000
    processes: PositiveInt | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        check_fields(self)
        if self.size % 2:
            raise UserError(f"H.264 needs an even number of pixels, got {self.size}.", argument="size")
        limits = DEFAULT_LIMITS
        if self.size**2 > limits.pixels:
            raise UserError(f"must be at most {math.isqrt(limits.pixels)} pixels, got {self.size}.", argument="size")
        if self.seconds * self.fps > limits.frames:
            raise UserError(
                f"{self.seconds:g} s at {self.fps:g} fps are more than {limits.frames} frames; make clips shorter.",
                argument="seconds",
            )

    def run(self, place: Path, *, seed: int | None = None, track: Track = untracked, overwrite: bool = False) -> None:
        """Write the dataset.

        Args:
            place: New or empty folder. It appears complete or not at all.
            seed: Overrides the attribute `seed`. None keeps it.
            track: Shows progress.
            overwrite: Replace a dataset that `place` holds.

        Raises:
            UserError: `place` holds something else already or cannot be written.
        """
        seed = self.seed if seed is None else seed
        counts = (self.images, self.val_images, self.clips, self.val_clips)
        with new_folder(place, DATASET if overwrite else None) as folder:
            for (kind, split), count in zip(_PARTS, counts, strict=True):
                samples = _Samples(kind, split, seed, self.size, self.seconds, self.fps, self.level)
                encoded = in_parallel(samples.encoded, range(count), self.processes)
                write_shards(folder / kind / split, track(encoded, count, f"{kind}/{split}"), self.shard_size)
                build_index(folder / kind / split)


@dataclass(frozen=True, kw_only=True)
class WriteEasyShapesWorld(WriteShapesWorld):
    """Write Shapes World at level easy, where every shape moves straight and at constant speed.

    The stills are those of the hard level.

    Attributes:
        seconds: Length of a clip in seconds, less than it takes an object to cross the frame.
    """

    level: ClassVar[Level] = "easy"

    seconds: PositiveFloat = 2.25

    def __post_init__(self) -> None:
        """Check the values."""
        super().__post_init__()
        if self.seconds >= EASY_SECONDS:
            raise UserError(
                f"must be below {EASY_SECONDS:g}, in which objects cross the frame, got {self.seconds:g}.",
                argument="seconds",
            )


@dataclass(frozen=True)
class _Samples:
    """Encoded samples; each has its own generator, so that any process can render any of them."""

    kind: Kind
    split: Split
    seed: int
    size: int
    seconds: float
    fps: float
    level: Level

    def encoded(self, number: int) -> dict[str, bytes]:
        """Render a sample, and return its members by suffix."""
        rng = self._rng(0, number)
        scene = self._scene(number)
        return self._still(scene, rng) if self.kind == "images" else self._clip(scene, rng)

    def _rng(self, *numbers: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, _PARTS.index((self.kind, self.split)), *numbers])

    def _scene(self, number: int) -> Scene:
        """Return a scene; all occur equally often, shuffled in every round."""
        scenes = [scene for scene in all_scenes() if not (self._without_text and scene.held_out)]
        turn, place = divmod(number, len(scenes))
        return scenes[int(self._rng(1, turn).permutation(len(scenes))[place])]

    @property
    def _without_text(self) -> bool:
        return self.kind == "clips" and self.split == "train"

    def _still(self, scene: Scene, rng: np.random.Generator) -> dict[str, bytes]:
        center = rng.uniform(_MARGIN, 1.0 - _MARGIN, size=(1, 2))
        frame = render(scene, center, self.size, _SUPERSAMPLE)[0]
        return {"png": _png(frame), "txt": _text(scene, rng), "json": _json({"attributes": scene.attributes()})}

    def _clip(self, scene: Scene, rng: np.random.Generator) -> dict[str, bytes]:
        motion = sample_motion(laws_of_shapes(self.level)[scene.shape], rng, self.seconds)
        times = np.arange(round(self.seconds * self.fps)) / self.fps
        video = encode_mp4(render(scene, motion.at(times), self.size, _SUPERSAMPLE), self.fps)
        members = {"mp4": video, "json": _json({"attributes": scene.attributes(), "motion": asdict(motion)})}
        return members if self._without_text else {**members, "txt": _text(scene, rng)}


def _text(scene: Scene, rng: np.random.Generator) -> bytes:
    return caption(scene, phrasing=int(rng.integers(1 << 16))).encode()


def _json(content: dict[str, object]) -> bytes:
    return json.dumps(content).encode()


def _png(frame: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG")
    return buffer.getvalue()
