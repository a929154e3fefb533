"""Law accuracy while training: numpy only, no extractor, thousands of clips in seconds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.ground_truth.object_tracking import track
from evaluation.ground_truth.verdict import judge

__all__ = ["law_accuracy"]


def law_accuracy(videos: NDArray[np.uint8], fps: NDArray[np.float64], shapes: Sequence[str]) -> dict[str, float]:
    """Scores clips of known shape against their motion laws.

    Args:
        videos: Shape (N, T, H, W, 3), uint8.
        fps: Frames per second of each clip, shape (N,).
        shapes: The captioned shape of each clip, N of them.

    Returns:
        ``law`` (strict accuracy), ``law-forced-choice`` and ``speed-ratio`` (median; 1 is right; NaN if no clip shows
        an object in every frame), overall and for each frame rate as ``law@8`` and so on.
    """
    rates = np.asarray(fps, dtype=np.float64)
    verdict = judge(track(videos), rates, shapes)
    groups = {"": np.full(len(rates), True)} | {f"@{rate:g}": rates == rate for rate in np.unique(rates)}
    scores: dict[str, float] = {}
    for suffix, chosen in groups.items():
        speeds = verdict.speed[chosen]
        scores[f"law{suffix}"] = float(verdict.follows[chosen].mean())
        scores[f"law-forced-choice{suffix}"] = float(verdict.fits_best[chosen].mean())
        scores[f"speed-ratio{suffix}"] = float(np.median(s)) if len(s := speeds[np.isfinite(speeds)]) else float("nan")
    return scores
