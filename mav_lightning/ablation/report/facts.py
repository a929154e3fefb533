"""Content of the report as plain data, from which ``report.json`` and both templates are written."""

import signal
from dataclasses import asdict
from typing import Any

from mav_lightning.ablation.differences import config_differences
from mav_lightning.ablation.paired_statistics import Comparison, verdict
from mav_lightning.ablation.report.added_results import added_results
from mav_lightning.ablation.report.answer import answer
from mav_lightning.ablation.report.cost_tables import stage_costs, variant_costs
from mav_lightning.ablation.report.marks import marks
from mav_lightning.ablation.report.origins import origins
from mav_lightning.ablation.report.text import decimals
from mav_lightning.ablation.results import StudyResults, mean_of_known
from mav_lightning.ablation.study import StudyMetric
from mav_lightning.runs.ledger import State

__all__ = ["gather_facts"]

_WORDS = {
    State.PENDING: "has not run yet",
    State.RUNNING: "is running",
    State.FAILED: "failed",
    State.STALE: "was interrupted",
}


def gather_facts(results: StudyResults) -> dict[str, Any]:
    """Return the content of the report; missing numbers are None.

    Args:
        results: Results of the study.
    """
    study = results.plan.study
    complete = [result for result in results.trials if result.complete]
    scores = complete[0].scores if complete else {}
    return {
        "study": {**asdict(study), "order": study.order},
        "answer": answer(results),
        "verdict": _verdict(results),
        "trials": {"planned": len(results.trials), "complete": len(complete)},
        "protocol": scores.get("protocol", {}),
        "extractors": scores.get("extractors", {}),
        "clip_counts": scores.get("n", {}),
        "table": [_group(results, metric) for metric in study.metrics],
        "other_metrics": [_group(results, metric) for metric in _further_metrics(results)],
        "added": added_results(results.root),
        "stage_costs": stage_costs(results),
        "variant_costs": variant_costs(results),
        "differences": config_differences(results.plan),
        "warnings": study.warnings,
        "failures": _failures(results),
        "unfinished": _unfinished(results),
        "origins": origins(results),
    }


def _verdict(results: StudyResults) -> str:
    """Return the verdict on the comparisons with the most pairs; the table lists missing pairs of the others."""
    compared = [[one for one in results.compare(metric) if one.seeds] for metric in results.plan.study.metrics]
    pairs = max((len(one.seeds) for found in compared for one in found), default=0)
    return verdict(pairs, max((len(found) for found in compared), default=0))


def _further_metrics(results: StudyResults) -> list[StudyMetric]:
    """Return the metrics in the results that are not among the study's."""
    asked = {metric.name for metric in results.plan.study.metrics}
    found: dict[str, StudyMetric] = {}
    for result in results.trials:
        for name, entry in result.scores.get("metrics", {}).items():
            if name not in asked:
                found[name] = StudyMetric(name, entry["better"])
    return list(found.values())


def _group(results: StudyResults, metric: StudyMetric) -> dict[str, Any]:
    """Return the rows of a metric, the baseline's first. They hold comparisons unless neither direction is better."""
    study, report_only = results.plan.study, metric.better == "neither"
    marked = {} if report_only else marks(results, metric)
    compared = {} if report_only else {one.variant: _comparison(one) for one in results.compare(metric)}
    rows: list[dict[str, Any]] = [
        {"variant": name, **_values(results, metric, name), "comparison": compared.get(name)} for name in study.order
    ]
    for row in rows:
        row["mark"] = marked.get(row["variant"], "")
    units = {result.scores["metrics"].get(metric.name, {}).get("unit") for result in results.trials if result.complete}
    return {
        "metric": metric.name,
        "better": metric.better,
        "unit": next((unit for unit in units if unit), ""),
        "digits": decimals(value for row in rows for value in row["values"]),
        "known": any(row["n"] for row in rows),
        "rows": rows,
    }


def _comparison(one: Comparison) -> dict[str, Any]:
    return {
        "difference": one.difference,
        "interval": one.interval,
        "effect": one.effect,
        "p": one.p,
        "p_holm": one.p_holm,
        "t_holm": one.t_holm,
        "star": one.star,
        "better": one.better,
        "worse": one.worse,
        "pairs": len(one.seeds),
        "missing": one.missing,
    }


def _values(results: StudyResults, metric: StudyMetric, variant: str) -> dict[str, Any]:
    trials = results.of(variant).values()
    values = [result.value(metric.name) for result in trials]
    return {
        "values": values,
        "intervals": [result.interval(metric.name) for result in trials],
        "mean": mean_of_known(values),
        "n": len(values) - values.count(None),
    }


def _failures(results: StudyResults) -> list[dict[str, Any]]:
    found = []
    for stage in results.plan.stages:
        folder = results.folder(stage)
        failed = folder.read_failure()
        if failed and not folder.done_file.exists():
            users = [f"{t.variant}, seed {t.seed}" for t in results.plan.trials if stage in t.stages.values()]
            kept = {"exit": failed.exit, "how": _how(failed.exit), "log": failed.log}
            found.append({"stage": stage.name, "id": stage.id, "trials": users, **kept})
    return found


def _how(code: int | None) -> str:
    """Describe an exit code; None means that the process was lost with its machine."""
    if code is None:
        return "was lost with its machine"
    if code == 0:
        return "exited without a result"
    if code > 0:
        return f"exited with code {code}"
    if -code == signal.SIGKILL:
        return "was killed (SIGKILL), which the kernel does when memory runs out"
    return f"was terminated by {_signal(-code)}"


def _signal(number: int) -> str:
    try:
        return f"{signal.Signals(number).name} ({(signal.strsignal(number) or '').lower()})"
    except ValueError:  # not a signal of this platform
        return f"signal {number}"


def _unfinished(results: StudyResults) -> list[dict[str, Any]]:
    """Return the trials without results, each with its first stage that is not done."""
    return [
        {"variant": result.trial.variant, "seed": result.trial.seed, "stage": name, "what": _WORDS[state]}
        for result in results.trials
        if not result.complete
        for name, state in [next((n, s) for n, s in result.states.items() if s is not State.DONE)]
    ]
