"""Shapes World as an ordinary data set: captioned stills and unlabelled clips in shards, read like anybody's.

Stills place the object anywhere, so they do not leak the law of its motion. Training clips have no text, and leave out
some pairs of colour and shape that the stills show; validation clips have all pairs and their texts.
"""

import io
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from datamodules.index import build_index
from datamodules.reader import unchanged
from datamodules.shards import write_shards
from mav_lightning.common.errors import UserError
from mav_lightning.common.shapes_world.laws import LAW_OF_SHAPE, sample_motion
from mav_lightning.common.shapes_world.scene import RADIUS, Scene, all_scenes, caption, render
from mav_lightning.common.tracking import Track, untracked
from mav_lightning.common.video import encode_mp4
from mav_lightning.common.whole_file import new_folder

__all__ = ["write_shapes_world"]

Kind: TypeAlias = Literal["images", "clips"]
Split: TypeAlias = Literal["train", "val"]
_PARTS: tuple[tuple[Kind, Split], ...] = (("images", "train"), ("images", "val"), ("clips", "train"), ("clips", "val"))
_SUPERSAMPLE = 2
_MARGIN = RADIUS + 0.03  # keeps the whole object in the frame


def write_shapes_world(
    out: Path,
    *,
    seed: int = 0,
    images: int = 4000,
    clips: int = 800,
    val_images: int = 360,
    val_clips: int = 144,
    size: int = 64,
    seconds: float = 3.0,
    fps: float = 32.0,
    shard_size: int = 1000,
    processes: int | None = None,
    track: Track = untracked,
) -> None:
    """Writes and indexes ``out/images/{train,val}`` (png, txt, json) and ``out/clips/{train,val}`` (mp4, json).

    Validation clips have a txt, too. The bytes depend on the arguments above `processes` only.

    Args:
        out: A folder that does not exist yet, or is empty; it appears when all is written.
        seed: Of everything random.
        images: Training stills.
        clips: Training clips.
        val_images: Validation stills.
        val_clips: Validation clips; 72 show every scene once.
        size: Side of the frames in pixels, even.
        seconds: Length of a clip; T frames at f frames per second need more than (T - 1) / f.
        fps: Frames per second of the clips.
        shard_size: Samples in a shard.
        processes: That render; None takes the available cores.
        track: Shows progress.

    Raises:
        UserError: `out` holds something, or an argument is out of range.
    """
    for name, value in (("size", size), ("seconds", seconds), ("fps", fps), ("shard_size", shard_size)):
        if value <= 0:
            raise UserError(f"{name}: must be above 0, got {value}; leave it out for the default.")
    if size % 2:
        raise UserError(f"size: H.264 needs an even number of pixels, got {size}; use {size + 1}.")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = cores if processes is None else processes
    with new_folder(out) as folder:
        for (kind, split), count in zip(_PARTS, (images, val_images, clips, val_clips), strict=True):
            if count < 1:
                raise UserError(f"{kind}/{split}: needs at least 1 sample, got {count}; leave it out for the default.")
            samples = _Samples(kind, split, count, seed, size, seconds, fps)
            rendered = track(_rendered(samples, workers), count, f"{kind}/{split}")
            write_shards(folder / kind / split, rendered, shard_size)
            build_index(folder / kind / split)


@dataclass(frozen=True)
class _Samples(Dataset[dict[str, bytes]]):
    """Number → encoded members of that sample; each has its own generator, so that any process can make any."""

    kind: Kind
    split: Split
    count: int
    seed: int
    size: int
    seconds: float
    fps: float

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> dict[str, bytes]:
        rng = self._rng(0, number)
        scene = self._scene(number)
        return self._still(scene, rng) if self.kind == "images" else self._clip(scene, rng)

    def _rng(self, *numbers: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, _PARTS.index((self.kind, self.split)), *numbers])

    def _scene(self, number: int) -> Scene:
        """All scenes equally often: shuffled anew for each round."""
        scenes = [scene for scene in all_scenes() if not (self._without_text and scene.held_out)]
        turn, place = divmod(number, len(scenes))
        return scenes[self._rng(1, turn).permutation(len(scenes))[place]]

    @property
    def _without_text(self) -> bool:
        return self.kind == "clips" and self.split == "train"

    def _still(self, scene: Scene, rng: np.random.Generator) -> dict[str, bytes]:
        centre = rng.uniform(_MARGIN, 1.0 - _MARGIN, size=(1, 2))
        frame = render(scene, centre, self.size, _SUPERSAMPLE)[0]
        return {"png": _png(frame), "txt": _text(scene, rng), "json": _json({"attributes": scene.attributes()})}

    def _clip(self, scene: Scene, rng: np.random.Generator) -> dict[str, bytes]:
        motion = sample_motion(LAW_OF_SHAPE[scene.shape], rng)
        times = np.arange(round(self.seconds * self.fps)) / self.fps
        video = encode_mp4(render(scene, motion.at(times), self.size, _SUPERSAMPLE), self.fps)
        members = {"mp4": video, "json": _json({"attributes": scene.attributes(), "motion": asdict(motion)})}
        return members if self._without_text else {**members, "txt": _text(scene, rng)}


def _rendered(samples: _Samples, workers: int) -> Iterator[dict[str, bytes]]:
    """The samples in order, made by `workers` processes that end with this one."""
    # torch's loader is the process pool: ordered, of bounded memory, and its workers notice a killed parent
    loader = DataLoader(samples, batch_size=None, num_workers=workers if workers > 1 else 0, collate_fn=unchanged)
    return iter(loader)


def _text(scene: Scene, rng: np.random.Generator) -> bytes:
    return caption(scene, phrasing=int(rng.integers(1 << 16))).encode()


def _json(content: dict[str, object]) -> bytes:
    return json.dumps(content).encode()


def _png(frame: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG")
    return buffer.getvalue()
