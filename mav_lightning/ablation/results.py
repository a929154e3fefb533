"""Results of a study's trials, read from their stage folders."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mav_lightning.ablation.paired_statistics import Comparison, compare
from mav_lightning.ablation.study import StudyMetric
from mav_lightning.ablation.study_plan import Plan, Trial
from mav_lightning.runs.ledger import Ledger, State
from mav_lightning.runs.records import read_scores
from mav_lightning.runs.stage_folder import Stage, StageFolder

__all__ = ["StudyResults", "TrialResult", "mean_of_known", "read_results"]


@dataclass(frozen=True)
class TrialResult:
    """Results of one trial.

    Attributes:
        trial: The trial.
        states: Stage name → state recorded in its folder.
        scores: Content of the evaluation's ``results.json``; empty until the evaluation is done.
        done: Stage name → figures and provenance from its ``done.json``; finished stages only.
        clips: Folder of the scored clips; None until they are sampled.
    """

    trial: Trial
    states: dict[str, State]
    scores: dict[str, Any]
    done: dict[str, dict[str, Any]]
    clips: Path | None

    def value(self, metric: str) -> float | None:
        """Return the value of a metric; None if the trial has no results or the evaluation gave no value."""
        value: float | None = self.scores.get("metrics", {}).get(metric, {}).get("value")
        return value

    def interval(self, metric: str) -> tuple[float, float] | None:
        """Return the confidence interval of a metric *within* this run, over its clips; it does not cover seeds."""
        found = self.scores.get("metrics", {}).get(metric, {}).get("interval")
        return (found[0], found[1]) if found else None

    @property
    def complete(self) -> bool:
        """Whether the trial has results."""
        return bool(self.scores)


@dataclass(frozen=True)
class StudyResults:
    """Results of a study's trials, in the order of the plan.

    Attributes:
        root: Folder of the study.
        plan: The planned trials.
        trials: Results of the trials so far.
    """

    root: Path
    plan: Plan
    trials: list[TrialResult]

    def of(self, variant: str) -> dict[int, TrialResult]:
        """Return the trials of a variant: seed → trial."""
        return {result.trial.seed: result for result in self.trials if result.trial.variant == variant}

    def values(self, metric: str, variant: str) -> dict[int, float | None]:
        """Return the values of a metric for a variant: seed → value."""
        return {seed: result.value(metric) for seed, result in self.of(variant).items()}

    def compare(self, metric: StudyMetric) -> list[Comparison]:
        """Compare every other variant with the baseline on a metric."""
        study = self.plan.study
        others = {name: self.values(metric.name, name) for name in study.order[1:]}
        return compare(metric, self.values(metric.name, study.baseline), others)

    def folder(self, stage: Stage) -> StageFolder:
        """Return the folder of a stage."""
        return Ledger(self.root).folder(stage)


def mean_of_known(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are not None; None without any."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def read_results(root: Path, plan: Plan) -> StudyResults:
    """Read the state of every trial and its results, if there are any.

    Args:
        root: Folder of the study.
        plan: The study's plan.

    Raises:
        UserError: If a record in a stage folder is damaged.
    """
    ledger = Ledger(root)
    return StudyResults(root, plan, [_read_trial(ledger, trial) for trial in plan.trials])


def _read_trial(ledger: Ledger, trial: Trial) -> TrialResult:
    states = {name: ledger.state(stage) for name, stage in trial.stages.items()}
    folders = {name: ledger.folder(stage) for name, stage in trial.stages.items()}
    records = {name: folders[name].read_done() for name, state in states.items() if state is State.DONE}
    done = {name: {"commit": None, "dirty": None} | record.known() for name, record in records.items() if record}
    scored, sampled = trial.score.name in done, trial.sample.name in done
    return TrialResult(
        trial,
        states,
        scores=read_scores(folders[trial.score.name].results_file) if scored else {},
        done=done,
        clips=folders[trial.sample.name].clips if sampled else None,
    )
