"""``mav train``: train one stage, or a whole system."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mav_lightning.cli.options import Allow, config_file, output
from mav_lightning.cli.printing import echo
from mav_lightning.cli.progress import exit_if_failed
from mav_lightning.common.counting import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from mav_lightning.common.console import SafeConsole
    from mav_lightning.runs.stage_folder import Stage

__all__ = ["train"]


def train(
    config: Annotated[
        str,
        typer.Argument(
            callback=config_file, help="Config of a stage, for example stage/spatial_tiny.yaml, or a recipe."
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="key=value. needs.<role>=DIR is the folder of a stage or of shards that the stage needs. For a "
            "recipe: <stage>.key=value, and seed=n for all stages."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(callback=output("folder"), help="Folder of the run; default: runs/<name>.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Recipes: number of stages that run at once.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Recipes: CPU threads per stage.")] = 1,
    stall_timeout: Annotated[
        float,
        typer.Option(
            min=1.0,
            help="Recipes: seconds without progress after which a stage is ended and started again, once.",
        ),
    ] = 1800.0,
    extend: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Continue the run in --out, finished or not, to this total number of steps, if its schedule allows "
            "that.",
            show_default=False,
        ),
    ] = None,
    any_machine: Annotated[
        bool,
        typer.Option(
            "--any-machine",
            help="Resume although processor, threads or PyTorch differ; the result is then not the same bits.",
        ),
    ] = False,
    check_determinism: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="STEPS",
            help="Train this number of steps twice, keep nothing, and name the first tensor whose bits differ; exits "
            "with 1 if one does.",
            show_default=False,
        ),
    ] = None,
    profile: Annotated[
        int | None,
        typer.Option(
            min=4,
            metavar="STEPS",
            help="Train this number of steps, keep nothing, and print where the time of a step goes, without the first "
            "two and the last.",
            show_default=False,
        ),
    ] = None,
    replay: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="STEP",
            help="Repeat one step of the run in --out, numbered as in its nonfinite.json or spikes.json, and print its "
            "samples, its loss, and the first layer that was not finite. The run is not changed.",
            show_default=False,
        ),
    ] = None,
    allow: Allow = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Recipes: check and list the stages only.")] = False,
) -> None:
    """Train a stage, or resume its training: rerun the same command after an interruption to get the same bits.

    Writes checkpoints, TensorBoard logs, and at the end weights.safetensors with the averaged weights. run.json records
    config, data and machine; continuing a run in this folder with others is an error. Given a recipe, trains every
    stage in dependency order in DIR/stages and assembles the pipeline for `mav generate` if the recipe has one.

    Examples:
        mav data shapes --out runs/shapes

        mav train stage/clip_tiny.yaml needs.data=runs/shapes --out runs/clip

        mav train stage/spatial_tiny.yaml needs.data=runs/shapes needs.clip=runs/clip fit.steps=500

        mav train stage/temporal_tiny.yaml needs.data=runs/shapes … --out runs/temporal --extend 2000

        mav train stage/temporal_tiny.yaml needs.data=runs/shapes … --profile 20

        mav train stage/temporal_tiny.yaml needs.data=runs/shapes … --out runs/temporal --replay 1234

        mav train recipe/tiny.yaml --out runs/tiny --jobs 2
    """
    from mav_lightning.common.errors import UserError
    from mav_lightning.config import find_config, read_yaml

    file = find_config(config)
    if "stages" in read_yaml(file):
        single = {"extend": extend is not None, "any_machine": any_machine, "check_determinism": check_determinism}
        single |= {"profile": profile, "replay": replay is not None}
        if given := [name for name, value in single.items() if value]:
            raise UserError("only for a single stage.", argument=given[0])
        _train_recipe(file, overrides or [], out or Path("runs") / file.stem, jobs, threads, stall_timeout, dry_run)
        return
    if dry_run:
        raise UserError(f"only for recipes; `mav config {config}` prints what this stage would do.", argument="dry_run")
    if check_determinism is not None:
        _compare_two_runs(config, overrides or [], check_determinism)
        return
    if profile is not None:
        _profile(config, overrides or [], profile)
        return
    if replay is not None:
        _replay(config, overrides or [], out, replay)
        return
    _train_stage(config, overrides or [], out, extend, any_machine)


def _compare_two_runs(config: str, overrides: list[str], steps: int) -> None:
    from mav_lightning.runs.determinism import check_determinism

    resolved, needs = _trial(config, overrides, steps, "check_determinism")
    mismatch, compared = check_determinism(resolved, needs)
    if mismatch is None:
        echo(f"deterministic: {counted(compared, 'tensor')} of {counted(steps, 'step')} are equal to the bit")
        return
    echo(f"not deterministic: step {mismatch.step + 1}, {mismatch.kind} of `{mismatch.name}` differs first")
    raise typer.Exit(1)


def _profile(config: str, overrides: list[str], steps: int) -> None:
    from mav_lightning.runs.profiling import profile_table, profile_training

    for line in profile_table(profile_training(*_trial(config, overrides, steps, "profile"))):
        echo(line)


def _replay(config: str, overrides: list[str], out: Path | None, step: int) -> None:
    from mav_lightning.runs.execute import run_training
    from mav_lightning.training.step_replay import replay_step

    resolved, needs = _trial(config, overrides, None, "replay")
    found = replay_step(
        lambda folder, callback: run_training(resolved, folder, [callback], needs=needs),
        out or Path("runs") / resolved["name"],
        step,
    )
    echo(f"step {step}, repeated from step {found.begun_at}")
    for samples, loss in zip(found.samples, found.losses, strict=True):
        echo(f"loss {loss} of {', '.join(samples)}")
    echo(f"first output that is not finite: {found.layer or 'none'}")
    if found.recorded is not None:
        echo("equal to the record" if found.recorded == found.losses else f"recorded: {', '.join(found.recorded)}")


def _trial(
    config: str, overrides: list[str], steps: int | None, argument: str
) -> "tuple[Mapping[str, Any], dict[str, Path]]":
    """Return the config of a training without loggers, and the folders that it needs; None for all its steps."""
    from mav_lightning.common.errors import UserError
    from mav_lightning.config import load_config

    needs, rest = _needed_folders(overrides)
    length = [] if steps is None else [f"fit.steps={steps}"]
    resolved = load_config(config, [*rest, *length, "fit.logger=false"])
    _check_roles(needs, resolved.get("needs", {}))
    if resolved["kind"] != "train" or "task" in resolved:
        raise UserError(f"{config}: is not trained by steps, so this option has no effect; omit it.", argument=argument)
    return resolved, needs


def _train_stage(config: str, overrides: list[str], out: Path | None, extend: int | None, any_machine: bool) -> None:
    from mav_lightning.common.errors import UserError
    from mav_lightning.config import load_config
    from mav_lightning.runs.execute import run_training

    needs, rest = _needed_folders(overrides)
    resolved = load_config(config, rest if extend is None else [*rest, f"fit.steps={extend}"])
    _check_roles(needs, resolved.get("needs", {}))
    if resolved["kind"] != "train":
        raise UserError(f"{config}: is a stage of kind `{resolved['kind']}`; `mav train` takes the kind train.")
    if extend is not None and "task" in resolved:
        raise UserError(f"{config}: is fitted in closed form, without steps.", argument="extend")
    folder = out or Path("runs") / resolved["name"]
    run_training(resolved, folder, needs=needs, extend=extend is not None, any_machine=any_machine)
    tried = bool(resolved.get("trainer", {}).get("fast_dev_run"))
    echo("tried, nothing kept" if tried else f"trained: {folder}")


def _needed_folders(overrides: list[str]) -> tuple[dict[str, Path], list[str]]:
    """Split overrides into the folders of ``needs.<role>=DIR`` and the rest.

    A folder counts by its content, so its path stays out of the config.
    """
    from mav_lightning.config import parse_override

    needs, rest = {}, []
    for word in overrides:
        key, value = parse_override(word)
        role = key.removeprefix("needs.")
        if role != key and isinstance(value, str) and not value.startswith(("@", "${")):
            needs[role] = Path(value)
        else:
            rest.append(word)
    return needs, rest


def _check_roles(given: "Iterable[str]", known: "Iterable[str]") -> None:
    from mav_lightning.common.errors import UserError, nearest

    for role in given:
        if role not in known:
            raise UserError(
                f"needs.{role}: the stage needs {', '.join(known) or 'nothing'}.", suggestion=nearest(role, known)
            )


def _train_recipe(
    file: Path, overrides: list[str], out: Path, jobs: int, threads: int, stall: float, dry_run: bool
) -> None:
    from mav_lightning.common.console import SafeConsole
    from mav_lightning.config import parse_override
    from mav_lightning.runs.recipe import load_recipe, plan_recipe
    from mav_lightning.runs.score_check import check_scores
    from mav_lightning.runs.system import train_system

    deltas = dict(map(parse_override, overrides))
    seed = deltas.pop("seed", None)
    stages = list(plan_recipe(load_recipe(file), deltas, seed, str(file)).values())
    console = SafeConsole()
    if dry_run:
        check_scores(str(file), {"": {stage.name: stage for stage in stages}})
        _list_stages(stages, out, console)
        return
    outcomes, pipelines = train_system(stages, out, jobs, threads, console, stall)
    for folder in pipelines:
        console.print(f"{folder.name}: {folder}", soft_wrap=True, highlight=False)
    exit_if_failed(console, outcomes)


def _list_stages(stages: "list[Stage]", out: Path, console: "SafeConsole") -> None:
    from mav_lightning.runs.ledger import Ledger

    ledger = Ledger(out)
    for stage in stages:
        steps = stage.config.get("fit", {}).get("steps")
        budget = counted(steps, "step") if steps else ""
        console.print(f"{stage.name:14} {stage.id} {ledger.state(stage)!s:8} {budget}", highlight=False)
    console.print(f"{counted(len(stages), 'stage')}. Nothing was run.")
