"""Motion laws: analytic trajectories in frame widths and seconds.

A law maps time to the object's center, x to the right and y down, both in [0, 1] frame widths. It is exact at any time,
so a clip can be rendered at any fps, size and start time, and a measured track can be fitted to it.

There are two levels. The hard laws rebound, accelerate and turn, and a decoder learns them in hours. The easy ones are
straight and uniform, each in its own direction, so that ablations differ in law accuracy after minutes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "EASY_LAWS",
    "EASY_SECONDS",
    "LAWS",
    "LAW_OF_SHAPE",
    "Law",
    "Level",
    "Motion",
    "find_law",
    "laws_of_shapes",
    "sample_motion",
]

Array = NDArray[np.float64]
Level: TypeAlias = Literal["easy", "hard"]


@dataclass(frozen=True)
class Law:
    """A motion, periodic or once across the frame.

    Attributes:
        name: Name of the motion.
        period: Period in seconds; of a motion that is not periodic, the time from one side of the frame to the other.
        speed: Mean speed along the path, in frame widths per second.
        path: Maps cycles (time / period, any shape) to the offset from the object's place, shape (..., 2), in widths.
        place: Lowest and highest place, ((x, x), (y, y)), that keeps the whole object inside the frame.
        directions: Directions of time that give distinct motions (an orbit has a sense of rotation).
        periodic: Whether the motion repeats. If not, all of a video lies within one period.
    """

    name: str
    period: float
    speed: float
    path: Callable[[Array], Array]
    place: tuple[tuple[float, float], tuple[float, float]]
    directions: tuple[int, ...] = (1,)
    periodic: bool = True


_REACH = 0.27  # half the free way of the object's center, in widths: from 0.23 to 0.77
_DROP, _BOUNCE = 0.5, 1.1  # height of the fall in widths, seconds from bounce to bounce
_SLIDE_SPEED, _CLIMB_SPEED, _ORBIT_SPEED, _ORBIT_RADIUS = 0.5, 0.3, 0.7, 0.22
EASY_SECONDS = 3.0  # from one side of the frame to the other
_EASY_SPEED = 2 * _REACH / EASY_SECONDS


def _triangle_wave(cycles: Array) -> Array:
    """Constant speed from -1 to 1 and back."""
    return 1.0 - 4.0 * np.abs(np.mod(cycles, 1.0) - 0.5)


def _bounce(cycles: Array) -> Array:
    """Free fall on a floor that returns everything: parabolas with a kink at the floor (y points down)."""
    height = 1.0 - np.square(2.0 * np.mod(cycles, 1.0) - 1.0)
    return np.stack([np.zeros_like(cycles), _DROP * (0.5 - height)], axis=-1)


def _slide(cycles: Array) -> Array:
    return np.stack([_REACH * _triangle_wave(cycles), np.zeros_like(cycles)], axis=-1)


def _climb(cycles: Array) -> Array:
    return np.stack([np.zeros_like(cycles), _REACH * _triangle_wave(cycles)], axis=-1)


def _orbit(cycles: Array) -> Array:
    angle = 2.0 * np.pi * cycles
    return _ORBIT_RADIUS * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _straight(name: str, x: int, y: int) -> Law:
    """Return the uniform motion along an axis, from one side of the frame to the other, at any height or breadth."""

    def path(cycles: Array) -> Array:
        return _REACH * (2.0 * cycles[..., None] - 1.0) * np.array([x, y], dtype=np.float64)

    place = (_MIDDLE, _FREE) if x else (_FREE, _MIDDLE)
    return Law(name, EASY_SECONDS, _EASY_SPEED, path, place, periodic=False)


_FREE, _MIDDLE, _ORBIT = (0.23, 0.77), (0.5, 0.5), (0.45, 0.55)
LAWS: dict[str, Law] = {
    law.name: law
    for law in (
        Law("bounce", _BOUNCE, 2 * _DROP / _BOUNCE, _bounce, (_FREE, (0.48, 0.52))),
        Law("slide", 4 * _REACH / _SLIDE_SPEED, _SLIDE_SPEED, _slide, (_MIDDLE, _FREE)),
        Law("climb", 4 * _REACH / _CLIMB_SPEED, _CLIMB_SPEED, _climb, (_FREE, _MIDDLE)),
        Law("orbit", 2 * np.pi * _ORBIT_RADIUS / _ORBIT_SPEED, _ORBIT_SPEED, _orbit, (_ORBIT, _ORBIT), (1, -1)),
    )
}
LAW_OF_SHAPE = {"circle": "bounce", "square": "slide", "triangle": "climb", "cross": "orbit"}
EASY_LAWS: dict[str, Law] = {
    law.name: law
    for law in (
        _straight("fall", 0, 1),
        _straight("advance", 1, 0),
        _straight("rise", 0, -1),
        _straight("retreat", -1, 0),
    )
}
_ALL = LAWS | EASY_LAWS


def laws_of_shapes(level: Level) -> dict[str, str]:
    """Return the name of the law that every shape follows at a level."""
    return LAW_OF_SHAPE if level == "hard" else dict(zip(LAW_OF_SHAPE, EASY_LAWS, strict=True))


def find_law(name: str) -> Law:
    """Return the law of a name, of either level."""
    return _ALL[name]


@dataclass(frozen=True)
class Motion:
    """One object's motion: a law with its free parameters fixed.

    Attributes:
        law: Key of `LAWS` or `EASY_LAWS`.
        phase: Cycles completed at time 0, in [0, 1).
        place: Offset of the path, (x, y) in widths.
        direction: 1, or -1 for the opposite sense of rotation.
    """

    law: str
    phase: float
    place: tuple[float, float]
    direction: int = 1

    def at(self, seconds: Array) -> Array:
        """Compute the object's centers: times (T,) in seconds to positions (T, 2) in frame widths."""
        law = find_law(self.law)
        cycles = self.direction * np.asarray(seconds, dtype=np.float64) / law.period + self.phase
        centers: Array = law.path(cycles) + np.asarray(self.place)
        return centers


def sample_motion(law: str, rng: np.random.Generator, seconds: float = 0.0) -> Motion:
    """Sample phase, place and direction uniformly for the named law.

    Args:
        law: Key of `LAWS` or `EASY_LAWS`.
        rng: Random numbers.
        seconds: Length of the video, below the period of a motion that is not periodic.
    """
    own = find_law(law)
    (x_low, x_high), (y_low, y_high) = own.place
    return Motion(
        law,
        phase=float(rng.uniform()) * (1.0 if own.periodic else 1.0 - seconds / own.period),
        place=(float(rng.uniform(x_low, x_high)), float(rng.uniform(y_low, y_high))),
        direction=int(rng.choice(own.directions)),
    )
