"""Runs of studies: plan, store the plan, run the missing stages, write the TensorBoard view."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mav_lightning.ablation.board import write_board
from mav_lightning.ablation.results import read_results
from mav_lightning.ablation.study import Study
from mav_lightning.ablation.study_file import load_study
from mav_lightning.ablation.study_plan import Plan, freeze, plan_study
from mav_lightning.common.console import SafeConsole
from mav_lightning.runs.display import Display
from mav_lightning.runs.executor import Executor, Local
from mav_lightning.runs.ledger import Ledger, check_stages, share_stages
from mav_lightning.runs.repair import repair_stages
from mav_lightning.runs.scheduler import StageOutcomes, run_stages
from mav_lightning.runs.slurm import Slurm, Submission, submit_stages

__all__ = ["StudyRun", "load_plan", "run_study", "submit_study"]


@dataclass(frozen=True)
class StudyRun:
    """A finished call of `run_study`.

    Attributes:
        root: Folder of the study.
        plan: The planned trials.
        outcome: Outcome of each stage.
    """

    root: Path
    plan: Plan
    outcome: StageOutcomes


def load_plan(study: str | Path, overrides: Sequence[str] = (), allow: Sequence[str] = ()) -> Plan:
    """Read a study file, resolve it to all its stages and check every value; nothing is run or written.

    Args:
        study: Study file; `find_config` also finds shipped ones.
        overrides: ``<stage>.<key>=value`` for all variants; ``seeds=[…]`` or ``threads=n`` for the study itself.
        allow: Names of packages whose classes the configs may name, beside those that the study allows.

    Raises:
        UserError: If anything is wrong with the study, its recipe or their configs.
    """
    return plan_study(*load_study(study, overrides, allow))


def run_study(
    study: str | Path,
    out: Path,
    overrides: Sequence[str] = (),
    executor: Callable[[Study], Executor] | None = None,
    console: SafeConsole | None = None,
    beside: Path | None = None,
    allow: Sequence[str] = (),
) -> StudyRun:
    """Run the stages of a study that are not done yet. An interrupted study resumes from its last checkpoints.

    Args:
        study: Study file; `find_config` also finds shipped ones.
        out: Folder of the study.
        overrides: ``<stage>.<key>=value`` for all variants; ``seeds=[…]`` or ``threads=n`` for the study itself.
        executor: Builds the executor that runs the stages, from the checked study; None runs one stage at a time on
            this machine.
        console: Console for progress; None prints to stdout.
        beside: Folder of another study to share stages with; None keeps this study's stages in `out`.
        allow: Names of packages whose classes the configs may name, beside those that the study allows.

    Raises:
        UserError: If anything is wrong with the study or its configs, or `beside` cannot be shared. Nothing has been
            run then.
    """
    plan = load_plan(study, overrides, allow)
    ready = executor(plan.study) if executor else Local(threads=plan.study.threads)
    console = console or SafeConsole()
    ledger = _prepared(plan, out, beside, console)
    with Display(ledger, len(plan.stages), console) as display:
        outcome = run_stages(ledger, plan.stages, ready, display)
    write_board(read_results(out, plan))
    return StudyRun(out, plan, outcome)


def submit_study(
    study: str | Path,
    out: Path,
    slurm: Callable[[Study], Slurm],
    overrides: Sequence[str] = (),
    console: SafeConsole | None = None,
    beside: Path | None = None,
    allow: Sequence[str] = (),
) -> Submission:
    """Submit the stages of a study that are neither done nor queued to SLURM, and return at once.

    Args:
        study: Study file; `find_config` also finds shipped ones.
        out: Folder of the study, on a file system that all nodes share.
        slurm: Submission settings, built from the checked study.
        overrides: ``<stage>.<key>=value`` for all variants; ``seeds=[…]`` or ``threads=n`` for the study itself.
        console: Console for messages; None prints to stdout.
        beside: Folder of another study to share stages with; None keeps this study's stages in `out`.
        allow: Names of packages whose classes the configs may name, beside those that the study allows.

    Raises:
        UserError: If anything is wrong with the study or its configs, `beside` cannot be shared, or SLURM is not
            available or rejects a job.
    """
    plan = load_plan(study, overrides, allow)
    ready = slurm(plan.study)
    _prepared(plan, out, beside, console or SafeConsole())
    found = submit_stages(out, plan.stages, ready, f"mav-{plan.study.name}")
    write_board(read_results(out, plan))
    return found


def _prepared(plan: Plan, out: Path, beside: Path | None, console: SafeConsole) -> Ledger:
    """Write the folders of a plan's stages, after setting aside what is damaged in them."""
    check_stages(out)
    if beside is not None:
        share_stages(out, beside)
    ledger = Ledger(out)
    for line in repair_stages(ledger, plan.stages):
        console.print(line, highlight=False, soft_wrap=True)
    freeze(plan, out)
    return ledger
