"""What the trials of a study came to, read from their stage folders."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mav_lightning.ablation.plan import Plan, Trial
from mav_lightning.ablation.statistics import Comparison, compare
from mav_lightning.ablation.study import Metric
from mav_lightning.common.json_files import read_json
from mav_lightning.runs.ledger import Ledger, State
from mav_lightning.runs.stage_folder import Stage, StageFolder

__all__ = ["StudyResults", "TrialResult", "read_results"]


@dataclass(frozen=True)
class TrialResult:
    """One trial's numbers.

    Attributes:
        trial: Which.
        states: Stage name → what its folder says.
        scores: The evaluation's ``results.json``; empty until it is done.
        done: Stage name → its ``done.json``; only stages that are done.
        clips: Folder of the scored clips; None until they are sampled.
    """

    trial: Trial
    states: dict[str, State]
    scores: dict[str, Any]
    done: dict[str, dict[str, Any]]
    clips: Path | None

    def value(self, metric: str) -> float | None:
        """A metric's value; None where the trial or the evaluation has none."""
        return self.scores.get("metrics", {}).get(metric, {}).get("value")

    def interval(self, metric: str) -> tuple[float, float] | None:
        """The interval *within* this one run, which says nothing of other seeds."""
        found = self.scores.get("metrics", {}).get(metric, {}).get("interval")
        return tuple(found) if found else None

    @property
    def complete(self) -> bool:
        """Whether the trial has results."""
        return bool(self.scores)


@dataclass(frozen=True)
class StudyResults:
    """A study's trials, in the plan's order.

    Attributes:
        root: The study's folder.
        plan: What was to be done.
        trials: What was.
    """

    root: Path
    plan: Plan
    trials: list[TrialResult]

    def of(self, variant: str) -> dict[int, TrialResult]:
        """Seed → the variant's trial."""
        return {result.trial.seed: result for result in self.trials if result.trial.variant == variant}

    def values(self, metric: str, variant: str) -> dict[int, float | None]:
        """Seed → value."""
        return {seed: result.value(metric) for seed, result in self.of(variant).items()}

    def compare(self, metric: Metric) -> list[Comparison]:
        """Every other variant against the baseline."""
        study = self.plan.study
        others = {name: self.values(metric.name, name) for name in study.order[1:]}
        return compare(metric, self.values(metric.name, study.baseline), others)

    def folder(self, stage: Stage) -> StageFolder:
        """A stage's folder."""
        return Ledger(self.root).folder(stage)


def read_results(root: Path, plan: Plan) -> StudyResults:
    """Reads every trial's state and, where there are any, its results."""
    ledger = Ledger(root)
    return StudyResults(root, plan, [_read_trial(ledger, trial) for trial in plan.trials])


def _read_trial(ledger: Ledger, trial: Trial) -> TrialResult:
    states = {name: ledger.state(stage) for name, stage in trial.stages.items()}
    folders = {name: ledger.folder(stage) for name, stage in trial.stages.items()}
    done = {name: read_json(folders[name].done_file) for name, state in states.items() if state is State.DONE}
    scored, sampled = trial.score.name in done, trial.sample.name in done
    return TrialResult(
        trial,
        states,
        scores=(read_json(ledger.folder(trial.score).results_file) or {}) if scored else {},
        done=done,
        clips=ledger.folder(trial.sample).clips if sampled else None,
    )
