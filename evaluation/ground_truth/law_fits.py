"""Least-squares fits of motion laws to tracks, with phase, place, direction and optionally speed as parameters."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mav_lightning.common.shapes_world.laws import LAWS, Law, find_law

__all__ = ["SPEED_RANGE", "LawFit", "fit_law", "fit_laws", "fitted_speed"]

Array = NDArray[np.float64]

SPEED_RANGE = (0.25, 2.0)  # relative to the law's speed; a bounce at 4 fps runs 0.23 cycles a frame: faster ones alias
_SLACK = 0.02  # widths a fitted place may leave the law's bounds by: a third of a pixel at 16 pixels
_PHASES = 64  # of a cycle, in the coarse search
_SPEEDS = np.geomspace(*SPEED_RANGE, 33)
_CHUNK = 256  # clips refined at once, to bound memory


@dataclass(frozen=True)
class LawFit:
    """The best fit of one law to each of N tracks.

    Attributes:
        residual: RMS distance between track and path, shape (N,), in widths; infinite if a frame shows no object.
        phase: Cycles at the first frame, shape (N,).
        place: Offset of the path, shape (N, 2), in widths, inside the law's own bounds.
        direction: 1 or -1, shape (N,).
        speed: Ratio to the law's speed, shape (N,); all 1 unless fitted.
        path: Fitted centers, shape (N, T, 2), in widths.
    """

    residual: Array
    phase: Array
    place: Array
    direction: Array
    speed: Array
    path: Array

    @property
    def excursion(self) -> Array:
        """RMS distance of the fitted path from its own mean, shape (N,), in widths: the amount of motion of the law."""
        offset = self.path - self.path.mean(axis=1, keepdims=True)
        distance: Array = np.sqrt(np.square(offset).sum(axis=-1).mean(axis=-1))
        return distance


def fit_laws(track: Array, fps: Array, laws: Iterable[str] = LAWS) -> dict[str, LawFit]:
    """Fit several laws, each at its own speed.

    Args:
        track: Object centers, shape (N, T, 2), in frame widths; NaN in frames that show no object.
        fps: Frames per second of each clip, shape (N,).
        laws: Names of the laws.
    """
    return {name: fit_law(track, fps, name) for name in laws}


def fitted_speed(track: Array, fps: Array, laws: Sequence[str]) -> Array:
    """Fit the speed at which each clip follows its law, within `SPEED_RANGE`.

    A still clip gets the lowest speed of the range.

    Args:
        track: Object centers, shape (N, T, 2), in frame widths; NaN in frames that show no object.
        fps: Frames per second of each clip, shape (N,).
        laws: Name of each clip's law, N names.

    Returns:
        Ratios to the laws' speeds, shape (N,); 1 is correct, NaN if a frame shows no object.
    """
    names, speed = np.asarray(laws), np.full(len(track), np.nan)
    for name in np.unique(names):
        chosen = names == name
        fit = fit_law(track[chosen], fps[chosen], str(name), _SPEEDS)
        speed[chosen] = np.where(np.isfinite(fit.residual), fit.speed, np.nan)
    return speed


def fit_law(track: Array, fps: Array, law: str, speeds: Array | None = None) -> LawFit:
    """Fit one law by exhaustive search over phase, direction and optionally speed; the place is solved in closed form.

    Args:
        track: Object centers, shape (N, T, 2), in frame widths; NaN in frames that show no object.
        fps: Frames per second of each clip, shape (N,).
        law: Name of the law.
        speeds: Geometric grid of speed ratios, refined around the best. None for the law's own speed.
    """
    n, frames, _ = track.shape
    own = find_law(law)
    fit = LawFit(np.full(n, np.inf), np.zeros(n), np.zeros((n, 2)), np.ones(n), np.ones(n), np.zeros(track.shape))
    seen = np.isfinite(track).all(axis=(1, 2))
    for rate in np.unique(fps):
        rows = np.flatnonzero(seen & (fps == rate))
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            for direction in own.directions:
                clock = direction * np.arange(frames) / (rate * own.period)
                found = _fit_direction(track[chunk], clock, own, direction, speeds)
                better = found.residual < fit.residual[chunk]
                for kept, new in zip(vars(fit).values(), vars(found).values(), strict=True):
                    kept[chunk[better]] = new[better]
    return fit


def _fit_direction(track: Array, clock: Array, law: Law, direction: int, speeds: Array | None) -> LawFit:
    """Search a coarse grid, then a fine one around its best; `clock` holds the cycles elapsed at each frame, (T,)."""
    grid, zoom = (np.ones(1), np.ones(1)) if speeds is None else (speeds, _zoom(speeds))
    _, speed, phase = _search(track, clock, law, *_pairs(grid, np.arange(_PHASES) / _PHASES))
    factor, shift = _pairs(zoom, np.linspace(-1.0, 1.0, 33) / _PHASES)
    near = np.clip(speed * factor, grid[0], grid[-1])
    residual, speed, phase = _search(track, clock, law, near, phase + shift)
    path = law.path(speed * clock + phase)
    place = _place(track.mean(axis=1) - path.mean(axis=1), law)
    sense = np.full(len(track), float(direction))
    return LawFit(residual[:, 0], np.mod(phase[:, 0], 1.0), place, sense, speed[:, 0], path + place[:, None])


def _search(track: Array, clock: Array, law: Law, speed: Array, phase: Array) -> tuple[Array, Array, Array]:
    """Return residual, speed and phase, each (N, 1), of the best of K candidates, shared (K,) or per track (N, K)."""
    path = law.path(speed[..., None] * clock + phase[..., None])  # (K, T, 2) or (N, K, T, 2)
    track_mean, path_mean = track.mean(axis=1), path.mean(axis=-2)
    centered, moving = track - track_mean[:, None], path - path_mean[..., None, :]
    offset = track_mean[:, None] - path_mean
    # |track - path - place|^2, expanded: the cross term is one matrix product
    product = np.einsum("ntx,ktx->nk" if path.ndim == 3 else "ntx,nktx->nk", centered, moving, optimize=True)
    squares = np.square(centered).sum(axis=(1, 2))[:, None] + np.square(moving).sum(axis=(-2, -1)) - 2.0 * product
    error = squares / track.shape[1] + np.square(offset - _place(offset, law)).sum(axis=-1)
    best = error.argmin(axis=1)[:, None]
    residual = np.sqrt(np.maximum(np.take_along_axis(error, best, axis=1), 0.0))
    chosen = (np.take_along_axis(np.broadcast_to(axis, error.shape), best, axis=1) for axis in (speed, phase))
    return residual, *chosen


def _place(offset: Array, law: Law) -> Array:
    """Return the allowed place nearest to the mean offset, (..., 2), which minimizes the squared error."""
    low, high = np.asarray(law.place).T
    return np.clip(offset, low - _SLACK, high + _SLACK)


def _zoom(speeds: Array) -> Array:
    """Return factors that span one grid step to either side."""
    factors: Array = (speeds[1] / speeds[0]) ** np.linspace(-1.0, 1.0, 17)
    return factors


def _pairs(first: Array, second: Array) -> tuple[Array, Array]:
    """Return all combinations of two axes, flattened: shapes (A,), (B,) → (A·B,) each."""
    return np.repeat(first, len(second)), np.tile(second, len(first))
