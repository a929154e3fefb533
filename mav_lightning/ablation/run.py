"""Runs a study: plans it, freezes it, runs what is missing, shows it to TensorBoard."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from mav_lightning.ablation.board import write_board
from mav_lightning.ablation.plan import Plan, freeze, plan_study
from mav_lightning.ablation.results import read_results
from mav_lightning.ablation.study import Study, load_study
from mav_lightning.runs.display import Display
from mav_lightning.runs.executor import Executor, Local
from mav_lightning.runs.ledger import Ledger, check_stages, share_stages
from mav_lightning.runs.scheduler import StageOutcomes, run_stages

__all__ = ["StudyRun", "load_plan", "run_study"]


@dataclass(frozen=True)
class StudyRun:
    """A study that has been run as far as it goes.

    Attributes:
        root: Its folder.
        plan: What was to be done.
        outcome: What was.
    """

    root: Path
    plan: Plan
    outcome: StageOutcomes


def load_plan(study: str | Path, overrides: Sequence[str] = ()) -> Plan:
    """Reads and checks a study to the last stage; nothing is run or written.

    Raises:
        UserError: Anything wrong with the study, its recipe or their configs.
    """
    return plan_study(*load_study(study, overrides))


def run_study(
    study: str | Path,
    out: Path,
    overrides: Sequence[str] = (),
    executor: Callable[[Study], Executor] | None = None,
    console: Console | None = None,
    beside: Path | None = None,
) -> StudyRun:
    """Runs the stages of a study that are not done yet, however and whenever an earlier run ended.

    Args:
        study: The study file.
        out: Its folder.
        overrides: See `load_study`.
        executor: Makes what runs the stages, once the study is known to be right; one stage at a time on this machine
            by default.
        console: Where progress goes; stdout by default.
        beside: Folder of another study, whose stages this one uses and adds to; None for stages of its own.

    Raises:
        UserError: A mistake in the study or its configs, or as `share_stages`, before anything runs.
    """
    plan = load_plan(study, overrides)
    ready = executor(plan.study) if executor else Local(threads=plan.study.threads)
    check_stages(out)
    if beside is not None:
        share_stages(out, beside)
    freeze(plan, out)
    ledger = Ledger(out)
    with Display(ledger, len(plan.stages), console) as display:
        outcome = run_stages(ledger, plan.stages, ready, display)
    write_board(read_results(out, plan))
    return StudyRun(out, plan, outcome)
