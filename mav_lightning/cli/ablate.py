"""``mav ablate``: runs an ablation study."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mav_lightning.cli.options import output
from mav_lightning.cli.printing import echo
from mav_lightning.cli.progress import exit_if_failed
from mav_lightning.common.terminal import markup

if TYPE_CHECKING:
    from rich.console import Console

    from mav_lightning.ablation.study import Study
    from mav_lightning.runs.executor import Executor

__all__ = ["ablate"]


def ablate(
    study: Annotated[str, typer.Argument(help="The study file, for example conf/ablation/quick.yaml.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value: <stage>.<key> for all variants, seeds=[…] or threads=n.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(callback=output("folder"), help="The study's folder; runs/<study> by default.")
    ] = None,
    beside: Annotated[
        Path | None, typer.Option(help="Folder of another study, whose stages this one uses and adds to.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Stages that run at once; 1 here, as many as it has room for on Ray.")
    ] = None,
    executor: Annotated[
        Literal["local", "ray"], typer.Option(help="Where stages run: this machine, or a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster, or auto; one is started on this machine by default.")
    ] = None,
    gpus: Annotated[float, typer.Option(min=0.0, help="On Ray: GPUs of each stage; 0.5 lets two share one.")] = 0.0,
    retries: Annotated[int, typer.Option(min=0, help="On Ray: of a stage whose worker was lost.")] = 3,
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

        mav ablate conf/ablation/sampler.yaml --beside runs/demo

        mav ablate conf/ablation/factorized.yaml --out /shared/factorized --executor ray --address auto --gpus 0.5
    """
    from rich.console import Console

    from mav_lightning.ablation.report import build_report
    from mav_lightning.ablation.run import run_study
    from mav_lightning.common.errors import UserError
    from mav_lightning.runs.executor import Local

    if executor == "local" and (address is not None or gpus):
        raise UserError("--address and --gpus are of a Ray cluster; add --executor ray.")
    root = out or Path("runs") / Path(study).stem
    console = Console()
    if dry_run:
        _describe(study, overrides or [], _ledger_of(root, beside), jobs, console)
        return
    if power:
        _say_power(study, overrides or [], _ledger_of(root, beside), power, console)
        return

    def make(checked: "Study") -> "Executor":
        if executor == "local":
            return Local(jobs or 1, checked.threads)
        from mav_lightning.runs.on_ray import OnRay

        return OnRay(checked.threads, gpus, retries, address, jobs)

    run = run_study(study, root, overrides or [], make, console, beside)
    report = build_report(root)
    echo(f"report: {report}")
    exit_if_failed(console, run.outcome)


def _ledger_of(root: Path, beside: Path | None) -> Path:
    """The folder whose stages count, where nothing is run."""
    from mav_lightning.runs.ledger import check_stages, require_stages

    check_stages(root)
    if beside is None:
        return root
    require_stages(beside)
    return beside


def _describe(study: str, overrides: list[str], root: Path, jobs: int | None, console: "Console") -> None:
    from rich.table import Table

    from mav_lightning.ablation.report.text import duration
    from mav_lightning.ablation.run import load_plan
    from mav_lightning.runs.eta import estimate
    from mav_lightning.runs.lease import holder
    from mav_lightning.runs.ledger import Ledger, State

    plan, ledger = load_plan(study, overrides), Ledger(root)
    left = estimate(ledger, plan.stages)
    table = Table("stage", "id", "state", "left", "trials", box=None, header_style="dim")
    for stage in plan.stages:
        users = [f"{t.variant}/{t.seed}" for t in plan.trials if stage in t.stages.values()]
        shared = "all" if len(users) == len(plan.trials) else ", ".join(users)
        state = ledger.state(stage)
        by = f": {holder(ledger.folder(stage).path)}" if state in (State.RUNNING, State.STALE) else ""
        table.add_row(markup(stage.name), stage.id, f"{state}{by}", duration(left[stage.id] or None), shared)
    console.print(f"{markup(plan.study.question)}\n")
    console.print(table)
    for warning in plan.study.warnings:
        console.print(f"\n[yellow]![/] {markup(warning)}", highlight=False)
    states = [ledger.state(stage) for stage in plan.stages]
    counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    console.print(f"\n{len(plan.trials)} trials, {len(states)} stages: {counted}. Nothing was run.")
    known = sum(seconds for seconds in left.values() if seconds)
    unknown = len(dict.fromkeys(stage.name for stage in plan.stages if left[stage.id] is None))
    if known:
        more = f", and more: {unknown} kinds of stage have no finished sibling to tell" if unknown else ""
        at_once = jobs or 1
        console.print(f"About {duration(known / at_once)} with --jobs {at_once}, as the finished stages took{more}.")


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
            cells = ["no spread seen" if one.std == 0 else "–", "–", "–"]
            if one.std is not None and one.seeds is not None and one.interval is not None:
                cells = [f"{one.std:.3g}", said(one.seeds), " … ".join(map(said, one.interval))]
            table.add_row(metric, f"{effect:g}", markup(one.variant), str(one.pairs), *cells)
    console.print(table)
    console.print(
        f"\nSeeds at which such a difference gets a star with a chance of {100 * POWER:.0f} %; 95 %: as far as the "
        "pairs seen bound it. Nothing was run."
    )
