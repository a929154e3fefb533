"""Float64 mean and covariance that merge exactly, independent of batches."""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Divisor", "Moments"]

Divisor = Literal["n-1", "n"]


@dataclass(frozen=True)
class Moments:
    """Count, mean and scatter of feature vectors.

    Kept as sums of squares around the mean (Chan, Golub & LeVeque, 1983), since raw second moments lose every digit
    if the mean is far from zero.

    Attributes:
        n: Number of vectors.
        mean: Shape (d,).
        scatter: Sum of (x - mean)(x - mean)ᵀ, shape (d, d).
    """

    n: int
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]

    @classmethod
    def of(cls, features: NDArray[np.floating]) -> Self:
        """Compute the moments of the rows of features (n, d), n ≥ 1."""
        rows = np.asarray(features, dtype=np.float64)
        centered = rows - (mean := rows.mean(axis=0))
        return cls(len(rows), mean, centered.T @ centered)

    def __add__(self, other: "Moments") -> "Moments":
        """Return the moments of both sets of vectors together."""
        n, step = self.n + other.n, other.mean - self.mean
        scatter = self.scatter + other.scatter + np.outer(step, step) * (self.n * other.n / n)
        return Moments(n, self.mean + step * (other.n / n), scatter)

    def __sub__(self, part: "Moments") -> "Moments":
        """Return the moments without the vectors of `part`, which must be a proper subset."""
        n = self.n - part.n
        mean = (self.mean * self.n - part.mean * part.n) / n
        step = part.mean - mean
        return Moments(n, mean, self.scatter - part.scatter - np.outer(step, step) * (n * part.n / self.n))

    def covariance(self, divisor: Divisor = "n-1") -> NDArray[np.float64]:
        """Return the covariance, shape (d, d); unbiased with ``n-1``."""
        return self.scatter / (self.n - 1 if divisor == "n-1" else self.n)
