"""Do the intervals hold what they say? Simulated where the truth is known: distances of Gaussians.

    python benchmarks/intervals.py --repetitions 5000 > intervals.md

Two sets of n clips, N(0, 1) and N(0.3, 1.2²) in d dimensions; in groups, the clips of a source video share half of
their variance. A row says the mean estimate, and how many 95 % intervals held their estimand: of the plain distance its
expectation at this n (the mean over all repetitions), of the others that of infinitely many clips. Beside them a
percentile bootstrap of clips, as often seen, against the expectation at n. A second table has few source videos with
many clips each, on either side of the number from which distances are extrapolated (more videos than features).
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: small matrices only lose by threads

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from evaluation.metrics.frechet import frechet_distance, frechet_jackknife
from evaluation.metrics.kernel import kernel_distance
from evaluation.moments import Moments

SHIFT, SCALE, RESAMPLES = 0.3, 1.2, 100
Bounds = tuple[float, float, float]  # estimate, low, high


@dataclass(frozen=True)
class Case:
    """A size of the simulation; `resampled` has the bootstrap beside it."""

    d: int
    n: int
    per_video: int
    resampled: bool = True

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64], list[int]]:
        """Both sides' clips, (n, d), and the group of each."""
        groups = [i // self.per_video for i in range(self.n)]
        sides = []
        for _ in range(2):
            own = rng.normal(size=(self.n, self.d))
            shared = rng.normal(size=(max(groups) + 1, self.d))[groups]
            sides.append((own + shared) / 2**0.5 if self.per_video > 1 else own)
        return sides[0], SHIFT + SCALE * sides[1], groups

    @property
    def truth(self) -> float:
        """The Fréchet distance of the two distributions."""
        return self.d * (SHIFT**2 + (SCALE - 1) ** 2)

    @property
    def kernel_truth(self) -> float:
        """The kernel distance of the two distributions, from moments: E(x·y/d + 1)³ for independent x and y."""

        def mean(shift_x: float, scale_x: float, shift_y: float, scale_y: float) -> float:
            m = shift_x * shift_y  # of x·y/d
            variance = (scale_x**2 * scale_y**2 + scale_x**2 * shift_y**2 + scale_y**2 * shift_x**2) / self.d
            third = 6 * scale_x**2 * scale_y**2 * shift_x * shift_y / self.d**2
            return (m + 1) ** 3 + 3 * (m + 1) * variance + third

        return mean(0, 1, 0, 1) + mean(SHIFT, SCALE, SHIFT, SCALE) - 2 * mean(0, 1, SHIFT, SCALE)


def bootstrap(a: NDArray[np.float64], b: NDArray[np.float64], rng: np.random.Generator) -> Bounds:
    """The percentile bootstrap of clips, groups ignored."""
    rows = (rng.integers(len(a), size=(2, len(a))) for _ in range(RESAMPLES))
    values = [frechet_distance(Moments.of(a[i]), Moments.of(b[j])) for i, j in rows]
    low, middle, high = np.quantile(values, [0.025, 0.5, 0.975])
    return float(middle), float(low), float(high)


def repeat(case: Case, seed: int) -> dict[str, Bounds]:
    """One repetition: estimate and interval of every kind."""
    rng = np.random.default_rng((case.d, case.n, case.per_video, seed))
    a, b, groups = case.draw(rng)
    frechet = frechet_jackknife(list(a[:, None]), list(b[:, None]), groups, groups)
    kernel, jackknife = kernel_distance(a, b, groups, groups)
    assert frechet and jackknife
    found = {
        "plain": (frechet.value, *frechet.interval(frechet.value)),
        "-inf": (frechet.extrapolated, *frechet.interval(frechet.extrapolated)),
        "-kvd": (kernel, *jackknife.interval(kernel)),
    }
    resampled = case.resampled and seed % 10 == 0  # a tenth of them: it is slow
    return found | ({"bootstrap": bootstrap(a, b, rng)} if resampled else {})


def row(case: Case, found: list[dict[str, Bounds]]) -> str:
    """A line of the table."""
    columns = {kind: np.array([one[kind] for one in found if kind in one]) for kind in found[0]}
    at_n = float(columns["plain"][:, 0].mean())
    truths = {"plain": at_n, "-inf": case.truth, "-kvd": case.kernel_truth, "bootstrap": at_n}
    cells = [
        f"{case.d}",
        f"{case.n}{f' in groups of {case.per_video}' if case.per_video > 1 else ''}",
        f"{case.truth:.3g}",
    ]
    for kind, values in columns.items():
        held = float(((values[:, 1] <= truths[kind]) & (truths[kind] <= values[:, 2])).mean())
        mean = f"{values[:, 0].mean():.3g}" + (f" of {case.kernel_truth:.3g}" if kind == "-kvd" else "")
        cells.append(f"{mean}: {100 * held:.1f} %")
    return f"| {' | '.join(cells)} |"


SIZES = [(8, 100), (8, 1000), (32, 100), (32, 300), (32, 1000)]
FEW = [(8, 3, 30), (8, 5, 30), (8, 8, 30), (8, 9, 30), (8, 16, 30), (32, 16, 4), (32, 33, 4), (32, 64, 4)]


def main(
    repetitions: Annotated[int, typer.Option(help="Of every case.")] = 5000,
    processes: Annotated[int, typer.Option(help="That share them.")] = 2,
    few: Annotated[bool, typer.Option(help="Only the table of few source videos.")] = False,
) -> None:
    """Print the tables as Markdown."""
    print(f"{repetitions} repetitions a row ({repetitions // 10} of the bootstrap): mean estimate: coverage.")
    tables = {
        " bootstrap |": [Case(d, n, per_video) for per_video in (1, 4) for d, n in SIZES],
        "": [Case(d, videos * per_video, per_video, resampled=False) for d, videos, per_video in FEW],
    }
    with ProcessPoolExecutor(processes) as pool:
        for beside, cases in list(tables.items())[few:]:
            columns = f"| d | n a side | truth | plain | -inf | -kvd |{beside}"
            print(f"\n{columns}\n|{'---|' * (columns.count('|') - 1)}")
            for case in cases:
                found = list(pool.map(partial(repeat, case), range(repetitions), chunksize=25))
                print(row(case, found), flush=True)


if __name__ == "__main__":
    typer.run(main)
