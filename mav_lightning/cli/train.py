"""``mav train``: trains one stage, or a whole system."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mav_lightning.cli.options import output
from mav_lightning.cli.printing import echo
from mav_lightning.cli.progress import exit_if_failed

__all__ = ["run_training", "train"]


def train(
    config: Annotated[str, typer.Argument(help="A stage's config, stage/spatial_tiny.yaml, or a recipe's.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="key=value; needs.<role>=DIR names the folder of a stage or of shards it needs. For a recipe "
            "<stage>.key=value, and seed=n for all stages."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(callback=output("folder"), help="The run's folder; runs/<name> by default.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Of a recipe: stages that run at once.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Of a recipe: threads of each stage.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Of a recipe: check it, say what would run.")] = False,
) -> None:
    """Train a stage, or continue its training: after a kill, the same command goes on bit for bit.

    Writes checkpoints, TensorBoard logs, and at the end weights.safetensors with the averaged weights. Of a recipe it
    trains all stages, needed ones first, each once, in DIR/stages, and puts a pipeline for `mav generate` together if
    the recipe has one.

    Examples:
        mav data shapes --out runs/shapes

        mav train stage/clip_tiny.yaml needs.data=runs/shapes --out runs/clip

        mav train stage/spatial_tiny.yaml needs.data=runs/shapes needs.clip=runs/clip fit.steps=500

        mav train recipe/tiny.yaml --out runs/tiny --jobs 2
    """
    from mav_lightning.common.errors import UserError
    from mav_lightning.config import find_config, load_config, read_yaml, resolve_needs

    file = find_config(config)
    if "stages" in read_yaml(file):
        _train_recipe(file, overrides or [], out or Path("runs") / file.stem, jobs, threads, dry_run)
        return
    if dry_run:
        raise UserError(f"--dry-run: is for recipes; `mav config {config}` prints what this stage would do.")
    resolved = resolve_needs(load_config(config, overrides or []), {})
    if resolved["kind"] != "train":
        raise UserError(f"{config}: is a stage of kind `{resolved['kind']}`; `mav train` takes the kind train.")
    folder = out or Path("runs") / resolved["name"]
    run_training(resolved, folder)
    echo(f"trained: {folder}")


def _train_recipe(file: Path, overrides: list[str], out: Path, jobs: int, threads: int, dry_run: bool) -> None:
    from rich.console import Console

    from mav_lightning.cascade.pipeline_folder import copy_pipeline
    from mav_lightning.config import parse_override
    from mav_lightning.runs.display import Display
    from mav_lightning.runs.executor import Local
    from mav_lightning.runs.ledger import Ledger
    from mav_lightning.runs.recipe import load_recipe, plan_recipe
    from mav_lightning.runs.scheduler import run_stages

    deltas = dict(map(parse_override, overrides))
    seed = deltas.pop("seed", None)
    stages = list(plan_recipe(load_recipe(file), deltas, seed, str(file)).values())
    console, ledger = Console(), Ledger(out)
    if dry_run:
        for stage in stages:
            steps = stage.config.get("fit", {}).get("steps")
            told = f"{steps} steps" if steps else ""
            console.print(f"{stage.name:14} {stage.id} {ledger.state(stage)!s:8} {told}", highlight=False)
        console.print(f"{len(stages)} stages. Nothing was run.")
        return
    with Display(ledger, len(stages), console) as display:
        outcome = run_stages(ledger, stages, Local(jobs, threads), display)
    for made in (stage for stage in [*outcome.ran, *outcome.reused] if stage.kind == "pipeline"):
        copy_pipeline(ledger.folder(made).path / "pipeline", out / made.name)
        echo(f"{made.name}: {out / made.name}")
    exit_if_failed(console, outcome)


def run_training(config: dict[str, Any], out: Path, callbacks: tuple = ()) -> None:
    """Runs a training stage whose needs are resolved, in the folder `out`.

    Args:
        config: Of the kind train: with a `task`, that does the work; else module, data and trainer do.
        out: The stage's folder.
        callbacks: Lightning callbacks beside those of the training itself.

    Raises:
        UserError: A part is missing, or what the parts themselves raise.
    """
    import torch

    from mav_lightning.checkpoint import write_card
    from mav_lightning.common.errors import UserError
    from mav_lightning.config import instantiate

    torch.manual_seed(config.get("seed", 0))  # initial weights
    if "task" in config:
        task = instantiate(config["task"])
        task(out=out)
        if node := config["task"].get("net"):  # else the task has written it
            write_card(out, node, _trained_for(config))
        return
    if missing := [key for key in ("module", "data", "fit") if key not in config]:
        raise UserError(f"{config['name']}: a training needs `{missing[0]}`; add it to the config.")
    from mav_lightning.modules.base import NetworkModule
    from mav_lightning.training.card import CardWriter
    from mav_lightning.training.fit import fit

    module, data = instantiate(config["module"]), instantiate(config["data"])
    data.setup("fit")  # mistakes in the data show before anything is written
    if isinstance(module, NetworkModule):
        callbacks = (*callbacks, CardWriter(out, config["module"][module.network_name], _trained_for(config)))
    fit(
        module,
        data,
        out=out,
        seed=config.get("seed", 0),
        trainer=config.get("trainer"),
        callbacks=callbacks,
        **config["fit"],
    )


def _trained_for(config: dict[str, Any]) -> dict[str, Any]:
    """What a stage's network is meant for, as `write_card` takes it."""
    data = config.get("data", {})
    fps = data.get("clips", data).get("fps")
    kept = {key: config[key] for key in ("name", "seed", "size", "frames") if key in config}
    return kept | ({"fps": [fps["low"], fps["high"]]} if fps else {})
