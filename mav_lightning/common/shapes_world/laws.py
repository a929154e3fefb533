"""Motion laws: analytic trajectories in frame widths and seconds.

A law maps time to the object's center, x to the right and y down, both in [0, 1] frame widths. It is exact at any time,
so a clip can be rendered at any fps, size and start time, and a measured track can be fitted to it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LAWS", "LAW_OF_SHAPE", "Law", "Motion", "sample_motion"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Law:
    """A periodic motion.

    Attributes:
        name: Name of the motion.
        period: Period in seconds.
        speed: Mean speed along the path, in frame widths per second.
        path: Maps cycles (time / period, any shape) to the offset from the object's place, shape (..., 2), in widths.
        place: Lowest and highest place, ((x, x), (y, y)), that keeps the whole object inside the frame.
        directions: Directions of time that give distinct motions (an orbit has a sense of rotation).
    """

    name: str
    period: float
    speed: float
    path: Callable[[Array], Array]
    place: tuple[tuple[float, float], tuple[float, float]]
    directions: tuple[int, ...] = (1,)


_REACH = 0.27  # half the free way of the object's center, in widths: from 0.23 to 0.77
_DROP, _BOUNCE = 0.5, 1.1  # height of the fall in widths, seconds from bounce to bounce
_SLIDE_SPEED, _CLIMB_SPEED, _ORBIT_SPEED, _ORBIT_RADIUS = 0.5, 0.3, 0.7, 0.22


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


@dataclass(frozen=True)
class Motion:
    """One object's motion: a law with its free parameters fixed.

    Attributes:
        law: Key of `LAWS`.
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
        law = LAWS[self.law]
        cycles = self.direction * np.asarray(seconds, dtype=np.float64) / law.period + self.phase
        centers: Array = law.path(cycles) + np.asarray(self.place)
        return centers


def sample_motion(law: str, rng: np.random.Generator) -> Motion:
    """Sample phase, place and direction uniformly for the named law."""
    (x_low, x_high), (y_low, y_high) = LAWS[law].place
    return Motion(
        law,
        phase=float(rng.uniform()),
        place=(float(rng.uniform(x_low, x_high)), float(rng.uniform(y_low, y_high))),
        direction=int(rng.choice(LAWS[law].directions)),
    )
