"""Strict law accuracy: does the object follow the motion law of its shape, and at which speed?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from evaluation.ground_truth.law_fits import fit_laws, fitted_speed
from evaluation.ground_truth.object_tracking import track
from mav_lightning.common.shapes_world.laws import Level, laws_of_shapes

__all__ = ["MOST_RESIDUAL", "MOST_UNEXPLAINED", "EasyLawAccuracy", "LawAccuracy", "Verdict", "judge"]

# Chosen on 600 clips a frame rate, 9 frames of 16 pixels, after H.264 (see tests/evaluation/test_controls.py): real
# clips have residuals up to 0.007 widths and 0.13 of the excursion, so both leave a model some room.
MOST_RESIDUAL = 0.03  # widths: half a pixel at 16 pixels; half the law's speed at 8 fps stays above it
# Residual / excursion of the fitted path: rest has 1, noise around rest more. Straight motion at half its speed has 0.5
# at any frame rate.
MOST_UNEXPLAINED: dict[Level, float] = {"easy": 0.4, "hard": 0.6}


@dataclass(frozen=True)
class Verdict:
    """How well N tracks follow the motion laws that their captions imply; columns of shape (N,).

    Attributes:
        follows: Strict criterion: `fits_best`, and within both limits.
        fits_best: Forced choice: no other law fits better; False without an object. Chance is not 1/4, since still or
            shuffled clips also fit some law best.
        residual: RMS distance from the best path of the clip's own law, in frame widths; infinite without an object.
        unexplained: Residual as a fraction of how much that path moves; 1 for a clip at rest.
        speed: Fitted speed as a ratio to the law's speed; NaN without an object.
    """

    follows: NDArray[np.bool_]
    fits_best: NDArray[np.bool_]
    residual: NDArray[np.float64]
    unexplained: NDArray[np.float64]
    speed: NDArray[np.float64]


def judge(
    tracks: NDArray[np.float64], fps: NDArray[np.float64], shapes: Sequence[str], level: Level = "hard"
) -> Verdict:
    """Compare tracks with the laws of the captioned shapes.

    Args:
        tracks: Object centers, shape (N, T, 2), in frame widths; NaN where a frame shows no object.
        fps: Frames per second of each clip, shape (N,).
        shapes: Captioned shape of each clip.
        level: Laws that the shapes follow.
    """
    law_of_shape = laws_of_shapes(level)
    laws, rows = [law_of_shape[shape] for shape in shapes], np.arange(len(tracks))
    fits = fit_laws(tracks, fps, law_of_shape.values())
    own = np.array([list(fits).index(law) for law in laws], dtype=np.intp)
    residuals = np.stack([fit.residual for fit in fits.values()])
    excursion = np.stack([fit.excursion for fit in fits.values()])[own, rows]
    residual = residuals[own, rows]
    unexplained = residual / np.maximum(excursion, 1e-9)
    fits_best = np.isfinite(residual) & (residuals.argmin(axis=0) == own)
    follows = fits_best & (residual < MOST_RESIDUAL) & (unexplained < MOST_UNEXPLAINED[level])
    return Verdict(follows, fits_best, residual, unexplained, fitted_speed(tracks, fps, laws))


@dataclass(frozen=True)
class LawAccuracy:
    """Law accuracy of clips in memory, for use during training: no extractor, thousands of clips in seconds."""

    level: ClassVar[Level] = "hard"

    def __call__(self, videos: NDArray[np.uint8], fps: NDArray[np.float64], shapes: Sequence[str]) -> dict[str, float]:
        """Score clips of known shape.

        Args:
            videos: Clips, shape (N, T, H, W, 3), uint8.
            fps: Frames per second of each clip, shape (N,).
            shapes: Captioned shape of each clip.

        Returns:
            ``law`` (strict accuracy), ``law-forced-choice`` and ``speed-ratio`` (median; 1 is right; NaN if no clip
            shows an object in every frame), overall and for each frame rate as ``law@8`` and so on.
        """
        rates = np.asarray(fps, dtype=np.float64)
        verdict = judge(track(videos), rates, shapes, self.level)
        groups = {"": np.full(len(rates), True)} | {f"@{rate:g}": rates == rate for rate in np.unique(rates)}
        scores: dict[str, float] = {}
        for suffix, chosen in groups.items():
            speeds = verdict.speed[chosen][np.isfinite(verdict.speed[chosen])]
            scores[f"law{suffix}"] = float(verdict.follows[chosen].mean())
            scores[f"law-forced-choice{suffix}"] = float(verdict.fits_best[chosen].mean())
            scores[f"speed-ratio{suffix}"] = float(np.median(speeds)) if len(speeds) else float("nan")
        return scores


@dataclass(frozen=True)
class EasyLawAccuracy(LawAccuracy):
    """Law accuracy at level easy."""

    level: ClassVar[Level] = "easy"
