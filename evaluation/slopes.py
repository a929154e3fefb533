"""How a displacement grows with the time between frames."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["log_log_slope"]


def log_log_slope(steps: NDArray[np.floating], fps: NDArray[np.float64]) -> float:
    """Fit log mean step = slope · log(1 / fps) + constant over the frame rates.

    The mean per rate is fitted rather than single clips, since a still clip has no logarithm.

    Args:
        steps: Displacement per frame of each clip, shape (N,).
        fps: Frames per second of each clip, shape (N,).

    Returns:
        The slope: 1 for motion in real time, 0 for motion that ignores the frame rate. NaN with fewer than two rates,
        or if the mean step at a rate is 0.
    """
    rates = np.unique(fps)
    means = np.array([steps[fps == rate].mean() for rate in rates])
    if len(rates) < 2 or not (means > 0).all():
        return float("nan")
    return float(np.polyfit(-np.log(rates), np.log(means), 1)[0])
