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
    power: Annotated[
        list[str] | None,
        typer.Option(metavar="METRIC=EFFECT", help="Say how many seeds such a difference needs, and run nothing."),
    ] = None,
) -> None:
    """Run an ablation study and write its report.

    Every stage that two trials share is run once, and one that is done already is not run again: after a failure, a
    kill or an edit, give the same command. Exits with 1 if a stage failed, with 2 if the study is wrong.

    Examples:
        mav ablate conf/ablation/quick.yaml --out runs/quick seeds=[0,1,2]

        mav ablate conf/ablation/quick.yaml --out runs/quick seeds=[0,1,2] --power law=0.1 --power shapes-fvd=10
    """
    from rich.console import Console

    from mav_lightning.ablation.report import build_report
    from mav_lightning.ablation.run import run_study

    root = out or Path("runs") / Path(study).stem
    console = Console()
    if dry_run:
        _describe(study, overrides or [], root, jobs, console)
        return
    if power:
        _say_power(study, overrides or [], root, power, console)
        return
    run = run_study(study, root, overrides or [], jobs, console=console)
    report = build_report(root)
    console.print(f"report: {report}", soft_wrap=True, highlight=False)
    exit_if_failed(console, run.outcome)


def _describe(study: str, overrides: list[str], root: Path, jobs: int, console: "Console") -> None:
    from rich.table import Table

    from mav_lightning.ablation.report.text import duration
    from mav_lightning.ablation.run import load_plan
    from mav_lightning.runs.estimate import estimate
    from mav_lightning.runs.ledger import Ledger

    plan, ledger = load_plan(study, overrides), Ledger(root)
    left = estimate(ledger, plan.stages)
    table = Table("stage", "id", "state", "left", "trials", box=None, header_style="dim")
    for stage in plan.stages:
        users = [f"{t.variant}/{t.seed}" for t in plan.trials if stage in t.stages.values()]
        shared = "all" if len(users) == len(plan.trials) else ", ".join(users)
        table.add_row(stage.name, stage.id, str(ledger.state(stage)), duration(left[stage.id] or None), shared)
    console.print(f"{plan.study.question}\n")
    console.print(table)
    states = [ledger.state(stage) for stage in plan.stages]
    counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    console.print(f"\n{len(plan.trials)} trials, {len(states)} stages: {counted}. Nothing was run.")
    known = sum(seconds for seconds in left.values() if seconds)
    unknown = len(dict.fromkeys(stage.name for stage in plan.stages if left[stage.id] is None))
    if known:
        more = f", and more: {unknown} kinds of stage have no finished sibling to tell" if unknown else ""
        console.print(f"About {duration(known / jobs)} with --jobs {jobs}, as the finished stages took{more}.")


def _say_power(study: str, overrides: list[str], root: Path, asked: list[str], console: "Console") -> None:
    from rich.table import Table

    from mav_lightning.ablation.power import MOST, POWER, power
    from mav_lightning.ablation.results import read_results
    from mav_lightning.ablation.run import load_plan
    from mav_lightning.common.errors import UserError
    from mav_lightning.config import parse_override

    def said(seeds: int) -> str:
        return f"{seeds}" if seeds < MOST else f"over {MOST}"

    results = read_results(root, load_plan(study, overrides))
    table = Table("metric", "effect", "variant", "pairs", "sd of differences", "seeds", "95 %", box=None)
    for metric, effect in map(parse_override, asked):
        if not isinstance(effect, int | float):
            raise UserError(f"--power {metric}={effect}: an effect is a number, for example {metric}=0.1.")
        for one in power(results, metric, effect):
            cells = ["–"] * 3
            if one.std is not None and one.seeds is not None and one.interval is not None:
                cells = [f"{one.std:.3g}", said(one.seeds), " … ".join(map(said, one.interval))]
            table.add_row(metric, f"{effect:g}", one.variant, str(one.pairs), *cells)
    console.print(table)
    console.print(
        f"\nSeeds at which such a difference gets a star with a chance of {100 * POWER:.0f} %; 95 %: as far as the "
        "pairs seen bound it. Nothing was run."
    )
