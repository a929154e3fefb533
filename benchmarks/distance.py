"""The Fréchet distance beside the common recipe, on the same features in one run.

    python benchmarks/distance.py

The recipe takes `scipy.linalg.sqrtm` of the product of both covariances and drops the imaginary part.
"""

import time
from typing import Annotated

import numpy as np
import scipy
import typer
from numpy.typing import NDArray

from evaluation.metrics.frechet import frechet_distance
from evaluation.moments import Moments


def recipe(a: Moments, b: Moments) -> float:
    """As most evaluations compute it."""
    left, right = a.covariance(), b.covariance()
    root = scipy.linalg.sqrtm(left @ right)
    return float(np.square(a.mean - b.mean).sum() + np.trace(left + right - 2.0 * root).real)


def features(rng: np.random.Generator, mix: NDArray[np.float64], scale: float, shift: float) -> Moments:
    """Moments of twice as many correlated vectors as they have dimensions."""
    return Moments.of(shift + scale * rng.normal(size=(2 * len(mix), len(mix))) @ mix)


def main(
    dimensions: Annotated[list[int] | None, typer.Option(help="Of the features; default 400 and 2048.")] = None,
    repeats: Annotated[int, typer.Option(help="The median of this many runs counts.")] = 3,
) -> None:
    """Print the table as Markdown."""
    print(f"numpy {np.__version__}, scipy {scipy.__version__}\n")
    print("| d | ours, s | recipe, s | ratio | relative difference |\n|---|---|---|---|---|")
    for d in dimensions or [400, 2048]:
        rng = np.random.default_rng(0)
        mix = rng.normal(size=(d, d)) / d**0.5
        sides = features(rng, mix, 1.0, 0.0), features(rng, mix, 1.1, 0.1)
        seconds, values = [], []
        for distance in (frechet_distance, recipe):
            runs = []
            for _ in range(repeats):
                start = time.perf_counter()
                value = distance(*sides)
                runs.append(time.perf_counter() - start)
            seconds.append(float(np.median(runs)))
            values.append(value)
        ratio, off = seconds[1] / seconds[0], abs(values[0] / values[1] - 1)
        print(f"| {d} | {seconds[0]:.2g} | {seconds[1]:.2g} | {ratio:.1f} | {off:.0e} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
