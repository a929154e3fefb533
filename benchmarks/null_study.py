"""Stars in studies where there is nothing to find: identical variants, as noisy as a real study's.

    python benchmarks/null_study.py runs/factorized

Ten thousand studies are drawn for each number of seeds and variants. The value of a trial is what its seed gives to all
variants plus what is its own; both are normal with the variances of the first metric in the study's folder, or 1 and 1
without a folder. Printed is the share of studies in which any variant got a star, which must not pass 5 %.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from scipy import stats

from mav_lightning.ablation.paired_statistics import LEVEL, holm, sign_flip_p, student_p
from mav_lightning.ablation.results import read_results
from mav_lightning.ablation.study_plan import read_plan

SEEDS, VARIANTS = (3, 5, 8), (2, 3, 4, 5, 6)


def recorded(folder: Path) -> tuple[str, float, float]:
    """The first metric, and the standard deviations that seeds share and that trials have to themselves."""
    results = read_results(folder, read_plan(folder))
    study = results.plan.study
    name = study.metrics[0].name
    table = np.array([[*results.values(name, variant).values()] for variant in study.order], float)
    table = table[:, ~np.isnan(table).any(axis=0)]
    if table.shape[1] < 2:
        raise typer.BadParameter(f"{folder} has {table.shape[1]} seeds at which all variants are done; two are needed.")
    own = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    rest = float(np.sqrt(np.square(own).sum() / ((table.shape[0] - 1) * (table.shape[1] - 1))))
    shared = max(float(table.mean(axis=0).var(ddof=1)) - rest**2 / table.shape[0], 0.0) ** 0.5
    return name, shared, rest


def null_studies(seeds: int, variants: int, count: int, shared: float, own: float) -> NDArray[np.float64]:
    """Differences from the baseline of `variants` that are all the same: (count, variants - 1, seeds)."""
    rng = np.random.default_rng([seeds, variants])
    values = shared * rng.normal(size=(count, 1, seeds)) + own * rng.normal(size=(count, variants, seeds))
    return values[:, 1:] - values[:, :1]


def false_stars(differences: NDArray[np.float64]) -> dict[str, float]:
    """Share of the studies with any star, by the exact test, by Student's, and by Student's uncorrected."""
    exact, student = sign_flip_p(differences), student_p(differences)
    corrected = {"exact, Holm": holm(exact), "Student, Holm": holm(student), "Student, uncorrected": student}
    return {name: float((p < LEVEL).any(axis=-1).mean()) for name, p in corrected.items()}


def main(
    study: Annotated[Path | None, typer.Argument(help="Folder of a study, for its variances.")] = None,
    count: Annotated[int, typer.Option(help="Studies drawn for each row.")] = 10_000,
) -> None:
    """Print the table as Markdown."""
    name, shared, own = recorded(study) if study else ("values", 1.0, 1.0)
    print(f"{count} null studies a row; {name}: standard deviation {shared:.3g} over seeds, {own:.3g} within\n")
    print("| seeds | variants | exact, Holm | Student, Holm | Student, uncorrected |\n|--:|--:|--:|--:|--:|")
    for seeds in SEEDS:
        for variants in VARIANTS:
            found = false_stars(null_studies(seeds, variants, count, shared, own)).values()
            print(f"| {seeds} | {variants} | " + " | ".join(f"{100 * share:.2f} %" for share in found) + " |")
    bound = stats.binom.ppf(0.975, count, LEVEL) / count
    print(f"\nBy chance alone a row whose true share is 5 % stays below {100 * bound:.2f} % 39 times in 40.")


if __name__ == "__main__":
    typer.run(main)
