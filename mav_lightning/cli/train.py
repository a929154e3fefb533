"""``mav train``: trains one stage."""

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["run_training", "train"]


def train(
    config: Annotated[str, typer.Argument(help="The stage's config, for example stage/spatial_tiny.yaml.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="key=value; needs.<role>=DIR names the folder of a stage or of shards it needs."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/<name> by default.")] = None,
) -> None:
    """Train a stage, or continue its training: after a kill, the same command goes on bit for bit.

    Writes checkpoints, TensorBoard logs, and at the end weights.safetensors with the averaged weights.

    Examples:
        mav data shapes --out runs/shapes

        mav train stage/clip_tiny.yaml needs.data=runs/shapes --out runs/clip

        mav train stage/spatial_tiny.yaml needs.data=runs/shapes needs.clip=runs/clip fit.steps=500
    """
    from mav_lightning.common.errors import UserError
    from mav_lightning.config import load_config, resolve_needs

    resolved = resolve_needs(load_config(config, overrides or []), {})
    if resolved["kind"] != "train":
        raise UserError(f"{config}: is a stage of kind `{resolved['kind']}`; `mav train` takes the kind train.")
    folder = out or Path("runs") / resolved["name"]
    run_training(resolved, folder)
    typer.echo(f"trained: {folder}")


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
        write_card(out, config["task"]["net"])
        return
    if missing := [key for key in ("module", "data", "fit") if key not in config]:
        raise UserError(f"{config['name']}: a training needs `{missing[0]}`; add it to the config.")
    from mav_lightning.training.fit import fit

    module, data = instantiate(config["module"]), instantiate(config["data"])
    data.setup("fit")  # mistakes in the data show before anything is written
    fit(
        module,
        data,
        out=out,
        seed=config.get("seed", 0),
        trainer=config.get("trainer"),
        callbacks=callbacks,
        **config["fit"],
    )
    write_card(out, config["module"]["net"])
