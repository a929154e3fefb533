"""``mav ablate``: run an ablation study."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mav_lightning.cli.options import Allow, config_file, existing, output
from mav_lightning.cli.printing import echo
from mav_lightning.cli.progress import exit_if_failed
from mav_lightning.common.counting import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from mav_lightning.ablation.study import Study
    from mav_lightning.ablation.study_plan import Plan
    from mav_lightning.common.console import SafeConsole
    from mav_lightning.runs.executor import Executor
    from mav_lightning.runs.slurm import Slurm

__all__ = ["ablate"]


def ablate(
    study: Annotated[str, typer.Argument(callback=config_file, help="Study file, for example ablation/quick.yaml.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value: <stage>.<key> for all variants, seeds=[…] or threads=n.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(callback=output("folder"), help="Folder of the study; default: runs/<study>.")
    ] = None,
    beside: Annotated[
        Path | None, typer.Option(callback=existing("folder"), help="Folder of another study to share stages with.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Number of stages that run at once; default: 1, on Ray as many as fit.")
    ] = None,
    executor: Annotated[
        Literal["local", "ray", "slurm"],
        typer.Option(help="Where stages run: on this machine, on a Ray cluster, or as jobs that SLURM is given."),
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Ray: address of the cluster, or auto; default: start one on this machine.")
    ] = None,
    gpus: Annotated[
        float, typer.Option(min=0.0, help="Ray, SLURM: GPUs per stage; with 0.5 two stages share one on Ray.")
    ] = 0.0,
    partition: Annotated[str | None, typer.Option(help="SLURM: partition; default: the cluster's.")] = None,
    account: Annotated[str | None, typer.Option(help="SLURM: account; default: yours.")] = None,
    sbatch: Annotated[
        list[str] | None,
        typer.Option(metavar="OPTION", help="SLURM: further option of sbatch, for example --sbatch=--time=24:00:00."),
    ] = None,
    stall_timeout: Annotated[
        float,
        typer.Option(
            min=1.0,
            help="Seconds without progress after which a stage is ended and started again, once.",
        ),
    ] = 1800.0,
    retries: Annotated[int, typer.Option(min=0, help="Ray: retries of a stage whose worker was lost.")] = 3,
    allow: Allow = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and list the stages, run nothing.")
    ] = False,
    power: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=EFFECT", help="Estimate the number of seeds that detect this difference; run nothing."
        ),
    ] = None,
) -> None:
    """Run an ablation study and write its report.

    A stage that several trials share runs once, and a finished stage is reused: after a failure, an interruption or an
    edit, rerun the same command. Exits with 1 if a stage failed, with 2 if the study is invalid.

    Examples:
        mav ablate conf/ablation/quick.yaml --out runs/quick seeds=[0,1,2]

        mav ablate conf/ablation/quick.yaml --out runs/quick seeds=[0,1,2] --power law=0.1 --power shapes-fvd=10

        mav ablate conf/ablation/sampler.yaml --beside runs/demo

        mav ablate conf/ablation/factorized.yaml --out /shared/factorized --executor ray --address auto --gpus 0.5

        mav ablate conf/ablation/factorized.yaml --out /shared/factorized --executor slurm --gpus 1 --partition gpu
    """
    echo(f"planning {study}", err=True)  # which takes seconds
    from mav_lightning.ablation.report import build_report
    from mav_lightning.ablation.run import load_plan, run_study
    from mav_lightning.common.console import SafeConsole
    from mav_lightning.runs.executor import Local

    _check_executor(executor, address, gpus, partition, account, sbatch)
    root = out or Path("runs") / Path(study).stem
    console = SafeConsole()
    if dry_run:
        _describe(load_plan(study, overrides or [], allow or []), _ledger_of(root, beside), jobs, console)
        return
    if power:
        _print_power(load_plan(study, overrides or [], allow or []), _ledger_of(root, beside), power, console)
        return

    if executor == "slurm":
        from mav_lightning.runs.slurm import Slurm

        def how(checked: "Study") -> "Slurm":
            own = (partition, account, tuple(sbatch or ()))
            return Slurm(checked.threads, int(gpus), jobs, *own, stall=stall_timeout)

        _submit(study, root, overrides or [], how, console, beside, allow or [])
        return

    def make(checked: "Study") -> "Executor":
        if executor == "local":
            return Local(jobs or 1, checked.threads, stall=stall_timeout)
        from mav_lightning.runs.on_ray import OnRay

        return OnRay(checked.threads, gpus, retries, address, jobs, stall=stall_timeout)

    run = run_study(study, root, overrides or [], make, console, beside, allow or [])
    report = build_report(root)
    echo(f"report: {report}")
    exit_if_failed(console, run.outcome)


def _check_executor(
    executor: str,
    address: str | None,
    gpus: float,
    partition: str | None,
    account: str | None,
    sbatch: list[str] | None,
) -> None:
    """Reject options of another executor than the one chosen."""
    from mav_lightning.common.errors import UserError

    if executor == "local" and (address is not None or gpus):
        raise UserError("`ray` is needed for an address or GPUs; add --executor ray.", argument="executor")
    if executor != "slurm" and (partition or account or sbatch):
        raise UserError("`slurm` is needed for a partition, an account or options of sbatch.", argument="executor")
    if executor == "slurm" and (address is not None or gpus % 1):
        raise UserError("`slurm` takes no address, and whole GPUs only; see --sbatch for shares.", argument="executor")


def _submit(
    study: str,
    root: Path,
    overrides: list[str],
    how: "Callable[[Study], Slurm]",
    console: "SafeConsole",
    beside: Path | None,
    allow: list[str],
) -> None:
    """Submit a study to SLURM, or write its report if everything is done."""
    from mav_lightning.ablation.report import build_report
    from mav_lightning.ablation.run import submit_study

    found = submit_study(study, root, how, overrides, console, beside, allow)
    for job, stages in found.jobs.items():
        console.print(f"job {job}: {', '.join(stage.name for stage in stages)}", highlight=False)
    submitted = sum(map(len, found.jobs.values()))
    if not submitted and not found.queued:
        echo(f"report: {build_report(root)}")
        return
    echo(
        f"{counted(submitted, 'stage')} submitted, {len(found.queued)} queued before, {len(found.done)} done. `squeue "
        "--me` shows the jobs. The same command submits what has failed, and writes the report once all are done; "
        f"`mav report {root}` writes it from what is done."
    )


def _ledger_of(root: Path, beside: Path | None) -> Path:
    """Return the folder whose stages are looked at when nothing is run."""
    from mav_lightning.runs.ledger import check_stages, require_stages

    check_stages(root)
    if beside is None:
        return root
    require_stages(beside)
    return beside


def _describe(plan: "Plan", root: Path, jobs: int | None, console: "SafeConsole") -> None:
    from rich.table import Table

    from mav_lightning.common.console import styled
    from mav_lightning.common.lease import holder
    from mav_lightning.common.units import duration
    from mav_lightning.runs.eta import estimate
    from mav_lightning.runs.ledger import Ledger, State

    ledger = Ledger(root)
    left = estimate(ledger, plan.stages)
    table = Table("stage", "id", "steps", "state", "left", "trials", box=None, header_style="dim")
    for stage in plan.stages:
        users = [f"{t.variant}/{t.seed}" for t in plan.trials if stage in t.stages.values()]
        shared = "all" if len(users) == len(plan.trials) else ", ".join(users)
        state = ledger.state(stage)
        by = f": {holder(ledger.folder(stage).path)}" if state in (State.RUNNING, State.STALE) else ""
        steps = str((stage.config.get("fit") or {}).get("steps", ""))
        table.add_row(stage.name, stage.id, steps, f"{state}{by}", duration(left[stage.id] or None), shared)
    console.print(f"{plan.study.question}\n")
    console.print_table(table)
    for warning in plan.study.warnings:
        console.print(styled("\n", ("!", "yellow"), f" {warning}"), highlight=False)
    states = [ledger.state(stage) for stage in plan.stages]
    by_state = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    trials, stages = counted(len(plan.trials), "trial"), counted(len(states), "stage")
    console.print(f"\n{trials}, {stages}: {by_state}. Nothing was run.")
    known = sum(seconds for seconds in left.values() if seconds)
    unknown = len(dict.fromkeys(stage.name for stage in plan.stages if left[stage.id] is None))
    if known:
        more = f", plus {counted(unknown, 'kind')} of stage without a finished sibling" if unknown else ""
        at_once = jobs or 1
        console.print(f"About {duration(known / at_once)} with --jobs {at_once}, estimated from finished stages{more}.")
    elif unknown:
        console.print("The time left is estimated once stages of this study, or of one --beside it, have finished.")


def _print_power(plan: "Plan", root: Path, requests: list[str], console: "SafeConsole") -> None:
    from rich.table import Table

    from mav_lightning.ablation.power import MOST, POWER, power
    from mav_lightning.ablation.results import read_results
    from mav_lightning.common.errors import UserError
    from mav_lightning.config import parse_override

    def shown(seeds: int) -> str:
        return f"{seeds}" if seeds < MOST else f"over {MOST}"

    results = read_results(root, plan)
    table = Table("metric", "effect", "variant", "pairs", "sd of differences", "seeds", "95 %", box=None)
    for metric, effect in map(parse_override, requests):
        if not isinstance(effect, int | float):
            raise UserError(
                f"{metric}={effect}: the effect must be a number, for example {metric}=0.1.", argument="power"
            )
        for one in power(results, metric, effect):
            cells = ["no spread" if one.std == 0 else "–", "–", "–"]
            if one.std is not None and one.seeds is not None and one.interval is not None:
                cells = [f"{one.std:.3g}", shown(one.seeds), " … ".join(map(shown, one.interval))]
            table.add_row(metric, f"{effect:g}", one.variant, str(one.pairs), *cells)
    console.print_table(table)
    console.print(
        f"\nNumber of seeds at which such a difference is significant with probability {100 * POWER:.0f} %, and its "
        "95 % interval given the pairs so far. Nothing was run."
    )
