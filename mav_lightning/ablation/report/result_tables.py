"""Result tables for papers (LaTeX) and for other programs (CSV)."""

import csv
import io

from mav_lightning.ablation.paired_statistics import student_half_width
from mav_lightning.ablation.report.text import decimals, number
from mav_lightning.ablation.results import StudyResults
from mav_lightning.ablation.study import StudyMetric
from mav_lightning.common.escaping import csv_cell, latex

__all__ = ["csv_table", "latex_table"]

_ARROWS = {"lower": r"$\downarrow$", "higher": r"$\uparrow$", "one": r"$\to 1$"}


def csv_table(results: StudyResults) -> str:
    """Return a CSV table with one row per trial and metric.

    The columns are study, variant, seed, metric, better, value, low, high and state; `low` and `high` bound the
    confidence interval within that run. Trials without results have rows as well, with the state that explains why. An
    apostrophe precedes names that a spreadsheet would run as formulas.

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
                [
                    csv_cell(results.plan.study.name),
                    csv_cell(trial.variant),
                    trial.seed,
                    csv_cell(metric.name),
                    metric.better,
                ]
                + ["" if value is None else repr(value) for value in values]
                + [state]
            )
    return out.getvalue()


def latex_table(results: StudyResults, marked: dict[str, dict[str, str]]) -> str:
    """Return a LaTeX table for booktabs: means over seeds with half the width of their Student-t interval.

    Metrics without a value in any trial have no column; a comment names them.

    Args:
        results: Results of the study.
        marked: Metric → variant → ``best`` (set in bold) or ``second`` (underlined), from `marks`.
    """
    study = results.plan.study
    everywhere = {metric.name: _values(results, metric) for metric in study.metrics}
    metrics = [metric for metric in study.metrics if everywhere[metric.name]]
    missing = [latex(name) for name, values in everywhere.items() if not values]
    head = " & ".join(["variant", *(f"{latex(metric.name)} {_ARROWS[metric.better]}" for metric in metrics)])
    rows = [
        " & ".join([latex(name), *(_cell(results, metric, name, marked[metric.name]) for metric in metrics)])
        for name in study.order
    ]
    seeds = f"{len(study.seeds)} seeds" if len(study.seeds) != 1 else "one seed"
    lines = [
        r"% \usepackage{booktabs}",
        rf"% {latex(study.name)}: means over {seeds}; +- is half the width of the 95 % Student-t interval.",
        "% Bold: best of all variants, underlined: second best, by the exact paired test, Holm-corrected.",
        *([f"% Without a value in any trial: {', '.join(missing)}."] if missing else []),
        r"\begin{tabular}{l" + "r" * len(metrics) + "}",
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
    digits = decimals(_values(results, metric))
    text = number(sum(values) / len(values), digits).replace("−", "-")
    if half := student_half_width(values):
        text += rf" \pm {number(half, digits)}"
    missing = len(results.plan.study.seeds) - len(values)
    note = rf"\,(n={len(values)})" if missing else ""
    frame = {"best": r"\mathbf{%s}", "second": r"\underline{%s}"}.get(marked.get(variant, ""), "%s")
    return f"${frame % text}{note}$"


def _values(results: StudyResults, metric: StudyMetric) -> list[float]:
    return [value for result in results.trials if (value := result.value(metric.name)) is not None]
