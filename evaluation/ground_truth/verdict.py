"""The strict verdict: does the object follow its own law, really, and at which speed?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.ground_truth.law_fits import fit_laws, fitted_speed
from mav_lightning.common.shapes_world.laws import LAW_OF_SHAPE

__all__ = ["MOST_RESIDUAL", "MOST_UNEXPLAINED", "Verdict", "judge"]

# Chosen on 600 clips a frame rate, 9 frames of 16 pixels, after H.264 (see tests/evaluation/test_controls.py): real
# clips have residuals up to 0.007 widths and 0.13 of the excursion, so both leave a model some room.
MOST_RESIDUAL = 0.03  # widths: half a pixel at 16 pixels; half the law's speed at 8 fps stays above it
MOST_UNEXPLAINED = 0.6  # residual / excursion of the fitted path: rest has 1, noise around rest more


@dataclass(frozen=True)
class Verdict:
    """What the tracks of N clips say about the laws their captions imply.

    Attributes:
        follows: Strict: `fits_best`, and within both limits, shape (N,).
        fits_best: Forced choice: no other law fits better; False without an object. Beware: chance is not 1/4, since
            still or shuffled clips also fit something best. Shape (N,).
        residual: RMS distance from the own law's best path, shape (N,), in widths; infinite without an object.
        unexplained: Residual as a share of how much that path moves, shape (N,): the law must move enough to show,
            and the clip with it.
        speed: Fitted speed as a ratio to the law's, shape (N,); NaN without an object.
    """

    follows: NDArray[np.bool_]
    fits_best: NDArray[np.bool_]
    residual: NDArray[np.float64]
    unexplained: NDArray[np.float64]
    speed: NDArray[np.float64]


def judge(track: NDArray[np.float64], fps: NDArray[np.float64], shapes: Sequence[str]) -> Verdict:
    """Compares tracks with the laws of the captioned shapes.

    Args:
        track: Centres, shape (N, T, 2), in widths; NaN where a frame shows no object.
        fps: Frames per second of each clip, shape (N,).
        shapes: The captioned shape of each clip, N keys of `LAW_OF_SHAPE`.
    """
    laws, rows = [LAW_OF_SHAPE[shape] for shape in shapes], np.arange(len(track))
    fits = fit_laws(track, fps)
    own = np.array([list(fits).index(law) for law in laws], dtype=np.intp)
    residuals = np.stack([fit.residual for fit in fits.values()])
    excursion = np.stack([fit.excursion for fit in fits.values()])[own, rows]
    residual = residuals[own, rows]
    unexplained = residual / np.maximum(excursion, 1e-9)
    fits_best = np.isfinite(residual) & (residuals.argmin(axis=0) == own)
    follows = fits_best & (residual < MOST_RESIDUAL) & (unexplained < MOST_UNEXPLAINED)
    return Verdict(follows, fits_best, residual, unexplained, fitted_speed(track, fps, laws))
