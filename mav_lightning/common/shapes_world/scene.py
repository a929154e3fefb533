"""Appearance of an object, its captions, and its rendering."""

import itertools
import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from mav_lightning.common.shapes_world.laws import LAW_OF_SHAPE, Motion

__all__ = [
    "COLOURS",
    "GROUNDS",
    "HELD_OUT_PAIRS",
    "RADIUS",
    "SHAPES",
    "Scene",
    "all_scenes",
    "caption",
    "render",
    "render_motion",
]

RADIUS = 0.2  # of the object, in frame widths: large enough to be recognized at 16 pixels
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (225, 40, 40),
    "green": (40, 190, 60),
    "blue": (50, 80, 235),
    "yellow": (235, 215, 40),
    "purple": (170, 50, 200),
    "cyan": (40, 205, 215),
}
SHAPES = tuple(LAW_OF_SHAPE)
# Grounds are gray and objects are not, so saturation alone locates the object whatever its color.
GROUNDS = ("dark", "light", "checkered")
# Seen in stills, never in clips: animating these well is the sharpest test of motion without text.
HELD_OUT_PAIRS = frozenset({
    ("red", "cross"), ("green", "circle"), ("blue", "triangle"), ("yellow", "square"),
    ("purple", "circle"), ("cyan", "cross"),
})  # fmt: skip
_TEMPLATES = (
    "a {colour} {shape} on a {ground} background",
    "{colour} {shape}, {ground} ground",
    "a picture of a {colour} {shape} over a {ground} backdrop",
    "there is a {shape} that is {colour} on {ground} ground",
    "a {ground} scene with one {colour} {shape}",
)


@dataclass(frozen=True)
class Scene:
    """Color, shape and ground of one image: everything a caption may describe."""

    colour: str
    shape: str
    ground: str

    def attributes(self) -> dict[str, str]:
        """Return the fields as plain data, for manifests and sample metadata."""
        return asdict(self)

    @property
    def held_out(self) -> bool:
        """Whether this color and shape never appear together in training clips."""
        return (self.colour, self.shape) in HELD_OUT_PAIRS


def all_scenes() -> list[Scene]:
    """Return every scene, in a fixed order."""
    return [Scene(*names) for names in itertools.product(COLOURS, SHAPES, GROUNDS)]


def caption(scene: Scene, phrasing: int = 0) -> str:
    """Describe the appearance, never the motion.

    Args:
        scene: The scene.
        phrasing: Number of the template, modulo their count.

    Example:
        >>> caption(Scene("red", "circle", "dark"))
        'a red circle on a dark background'
    """
    return _TEMPLATES[phrasing % len(_TEMPLATES)].format(**scene.attributes())


def render(scene: Scene, centers: NDArray[np.float64], size: int, supersample: int = 3) -> NDArray[np.uint8]:
    """Render the object at each center.

    Args:
        scene: The scene.
        centers: Centers, shape (T, 2), in frame widths, x right and y down.
        size: Side of the square frame, in pixels.
        supersample: Samples per pixel and axis, for smooth edges.

    Returns:
        Frames, shape (T, size, size, 3), uint8.
    """
    fine = size * supersample
    ticks = (np.arange(fine) + 0.5) / fine
    ground = np.broadcast_to(_ground(scene.ground, ticks), (fine, fine))
    colour = np.asarray(COLOURS[scene.colour], np.float64)
    empty = _downsample(np.repeat(ground[..., None], 3, axis=2), supersample)
    frames = np.broadcast_to(empty, (len(centers), *empty.shape)).copy()
    for frame, (x, y) in zip(frames, centers, strict=True):
        rows, columns = (_touched(center, size) for center in (y, x))  # the rest of the frame is ground
        u, v = (ticks[_fine(part, supersample)] for part in (columns, rows))
        inside = _inside(scene.shape, (u[None, :] - x) / RADIUS, (v[:, None] - y) / RADIUS)
        behind = ground[_fine(rows, supersample), _fine(columns, supersample)]
        frame[rows, columns] = _downsample(np.where(inside[..., None], colour, behind[..., None]), supersample)
    return frames


def render_motion(scene: Scene, motion: Motion, seconds: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """Render a clip: times (T,) in seconds to frames (T, size, size, 3) uint8."""
    return render(scene, motion.at(seconds), size)


def _touched(center: float, size: int) -> slice:
    """Return the pixels of one axis that an object at `center` may cover; the triangle extends furthest, 1.1 radii."""
    low, high = ((center + side * 1.1 * RADIUS) * size for side in (-1, 1))
    return slice(min(max(math.floor(low), 0), size), min(max(math.ceil(high), 0), size))


def _fine(pixels: slice, supersample: int) -> slice:
    return slice(pixels.start * supersample, pixels.stop * supersample)


def _downsample(image: NDArray[np.float64], supersample: int) -> NDArray[np.uint8]:
    """Average the samples of each pixel: (H * s, W * s, 3) → (H, W, 3) uint8."""
    height, width = (side // supersample for side in image.shape[:2])
    means = image.reshape(height, supersample, width, supersample, 3).mean(axis=(1, 3))
    pixels: NDArray[np.uint8] = np.rint(means).astype(np.uint8)
    return pixels


def _ground(name: str, ticks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Grey levels in [0, 255], broadcastable to (N, N)."""
    if name == "checkered":
        cells = np.floor(ticks * 4)
        return np.where((cells[None, :] + cells[:, None]) % 2 == 0, 90.0, 150.0)
    return np.full((1, 1), {"dark": 35.0, "light": 215.0}[name])


def _inside(shape: str, u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which points, in radii from the center (v down), are in the shape, whose centroid is the center."""
    if shape == "circle":
        return u**2 + v**2 <= 1.0
    if shape == "square":
        return np.maximum(np.abs(u), np.abs(v)) <= 0.82
    if shape == "triangle":  # apex up; two thirds of the height above the centroid
        return (v <= 0.55) & (v >= -1.1) & (np.abs(u) <= (v + 1.1) * 0.6)
    if shape == "cross":
        return (np.minimum(np.abs(u), np.abs(v)) <= 0.32) & (np.maximum(np.abs(u), np.abs(v)) <= 1.0)
    raise KeyError(shape)
