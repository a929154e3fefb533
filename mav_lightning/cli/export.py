"""``mav export``: a trained network as a folder to share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mav_lightning.cli.options import Allow, Overwrite, network_folder, output
from mav_lightning.cli.printing import echo

__all__ = ["export"]


def export(
    run: Annotated[Path, typer.Argument(callback=network_folder, help="Folder of a training, finished or not.")],
    out: Annotated[Path, typer.Option(callback=output("new folder"), help="New folder for the network.")],
    form: Annotated[
        Literal["mav", "diffusers"],
        typer.Option("--format", help="diffusers: for networks that were extended from one of diffusers."),
    ] = "mav",
    overwrite: Overwrite = False,
    allow: Allow = None,
) -> None:
    """Write the network of a training as a folder: safetensors, a description of the network, and their sha256.

    For a training that is running or was stopped, the newest checkpoint is used, with its averaged weights. The folder
    can replace any trained stage: `mav pipeline --decoder`, `needs.parent=`.

    Example: mav export runs/temporal --out share/temporal
    """
    if form == "diffusers":
        from mav_lightning.pretrained.diffusers_export import export_diffusers

        export_diffusers(run, out, overwrite)
        echo(f"exported: {out}")
        return
    from mav_lightning.training.network_export import export_network

    step = export_network(run, out, overwrite)
    echo(f"exported{'' if step is None else f' step {step}'}: {out}")
