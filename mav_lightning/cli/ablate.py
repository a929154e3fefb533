"""``mav ablate``: runs an ablation study."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mav_lightning.cli.progress import exit_if_failed

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["ablate"]


def ablate(
    study: Annotated[str, typer.Argument(help="The study file, for example conf/ablation/quick.yaml.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value: <stage>.<key> for all variants, seeds=[…] or threads=n.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The study's folder; runs/<study> by default.")] = None,
    jobs: Annotated[int, typer.Option(help="Stages that run at once.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and say what would run.")] = False,
) -> None:
    """Run an ablation study and write its report.

    Every stage that two trials share is run once, and one that is done already is not run again: after a failure, a
    kill or an edit, give the same command. Exits with 1 if a stage failed, with 2 if the study is wrong.

    Example:
        mav ablate conf/ablation/quick.yaml --out runs/quick seeds=[0,1,2]
    """
    from rich.console import Console

    from mav_lightning.ablation.report import build_report
    from mav_lightning.ablation.run import run_study

    root = out or Path("runs") / Path(study).stem
    console = Console()
    if dry_run:
        _describe(study, overrides or [], root, console)
        return
    run = run_study(study, root, overrides or [], jobs, console=console)
    report = build_report(root)
    console.print(f"report: {report}", soft_wrap=True, highlight=False)
    exit_if_failed(console, run.outcome)


def _describe(study: str, overrides: list[str], root: Path, console: "Console") -> None:
    from rich.table import Table

    from mav_lightning.ablation.run import load_plan
    from mav_lightning.runs.ledger import Ledger

    plan, ledger = load_plan(study, overrides), Ledger(root)
    table = Table("stage", "id", "state", "trials", box=None, header_style="dim")
    for stage in plan.stages:
        users = [f"{t.variant}/{t.seed}" for t in plan.trials if stage in t.stages.values()]
        shared = "all" if len(users) == len(plan.trials) else ", ".join(users)
        table.add_row(stage.name, stage.id, str(ledger.state(stage)), shared)
    console.print(f"{plan.study.question}\n")
    console.print(table)
    states = [ledger.state(stage) for stage in plan.stages]
    counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    console.print(f"\n{len(plan.trials)} trials, {len(states)} stages: {counted}. Nothing was run.")
