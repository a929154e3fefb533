"""Recipes of others, written anew from their description."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def polynomial_mmd(a: Array, b: Array) -> float:
    """TATS's kernel distance: degree 3, gamma 1/d, coef0 1, unbiased."""
    kernels = [(x @ y.T / a.shape[1] + 1) ** 3 for x, y in ((a, a), (b, b), (a, b))]
    n, m = len(a), len(b)
    own = (
        (kernels[0].sum() - np.trace(kernels[0])) / (n * (n - 1)),
        (kernels[1].sum() - np.trace(kernels[1])) / (m * (m - 1)),
    )
    return float(own[0] + own[1] - 2 * kernels[2].mean())
