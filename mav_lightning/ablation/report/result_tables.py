"""Result tables for papers (LaTeX) and for other programs (CSV)."""

import csv
import io
from typing import Any

from mav_lightning.ablation.paired_statistics import student_half_width
from mav_lightning.ablation.report.text import decimals, number
from mav_lightning.ablation.results import StudyResults
from mav_lightning.ablation.study import StudyMetric

__all__ = ["csv_table", "latex_table"]

_ARROWS = {"lower": r"$\downarrow$", "higher": r"$\uparrow$", "one": r"$\to 1$"}
_SPECIAL = {"\\": r"\textbackslash{}", "_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$", "{": r"\{",
            "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}  # fmt: skip


def csv_table(results: StudyResults) -> str:
    """Return a CSV table with one row per trial and metric.

    The columns are study, variant, seed, metric, better, value, low, high and state; `low` and `high` bound the
    confidence interval within that run. Trials without results have rows as well, with the state that explains why.

    Args:
        results: Results of the study.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["study", "variant", "seed", "metric", "better", "value", "low", "high", "state"])
    for result in results.trials:
        states = {str(state) for state in result.states.values()} - {"done"}
        state = (
            "done" if result.complete else next((s for s in ("failed", "running", "stale") if s in states), "pending")
        )
        for metric in results.plan.study.metrics:
            low, high = result.interval(metric.name) or (None, None)
            trial = result.trial
            values = [result.value(metric.name), low, high]
            writer.writerow(
                [results.plan.study.name, trial.variant, trial.seed, metric.name, metric.better]
                + ["" if value is None else repr(value) for value in values]
                + [state]
            )
    return out.getvalue()


def latex_table(results: StudyResults, marked: dict[str, dict[str, str]]) -> str:
    """Return a LaTeX table for booktabs: means over seeds with half the width of their Student-t interval.

    Args:
        results: Results of the study.
        marked: Metric → variant → ``best`` (set in bold) or ``second`` (underlined), from `marks`.
    """
    study = results.plan.study
    head = " & ".join([_escaped("variant"), *(f"{_escaped(m.name)} {_ARROWS[m.better]}" for m in study.metrics)])
    rows = [
        " & ".join([_escaped(name), *(_cell(results, metric, name, marked[metric.name]) for metric in study.metrics)])
        for name in study.order
    ]
    seeds = f"{len(study.seeds)} seeds" if len(study.seeds) != 1 else "one seed"
    lines = [
        r"% \usepackage{booktabs}",
        rf"% {study.name}: means over {seeds}; +- half the width of the 95 % Student-t interval, from three seeds.",
        "% Bold: best of all variants, underlined: second best, by the exact paired test, Holm-corrected.",
        r"\begin{tabular}{l" + "r" * len(study.metrics) + "}",
        r"\toprule",
        head + r" \\",
        r"\midrule",
        *(row + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _cell(results: StudyResults, metric: StudyMetric, variant: str, marked: dict[str, str]) -> str:
    values = [value for value in results.values(metric.name, variant).values() if value is not None]
    if not values:
        return "--"
    everywhere: list[Any] = [results.values(metric.name, name).values() for name in results.plan.study.order]
    digits = decimals(value for column in everywhere for value in column)
    text = number(sum(values) / len(values), digits).replace("−", "-")
    if half := student_half_width(values):
        text += rf" \pm {number(half, digits)}"
    missing = len(results.plan.study.seeds) - len(values)
    note = rf"\,(n={len(values)})" if missing else ""
    frame = {"best": r"\mathbf{%s}", "second": r"\underline{%s}"}.get(marked.get(variant, ""), "%s")
    return f"${frame % text}{note}$"


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(letter, letter) for letter in text)
