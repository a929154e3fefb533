"""``mav export``: a network to share."""

from pathlib import Path
from typing import Annotated

import typer

from mav_lightning.cli.options import output
from mav_lightning.cli.printing import echo

__all__ = ["export"]


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a training, finished or not.")],
    out: Annotated[Path, typer.Option(callback=output("new folder"), help="A new folder for the network.")],
) -> None:
    """Write a training's network as others take it: safetensors, how to build it, and their sha256.

    Of a training that still runs, or was stopped, the newest checkpoint is taken, with its averaged weights. The result
    goes wherever a trained stage does: `mav pipeline --decoder`, `needs.parent=`.

    Example: mav export runs/temporal --out share/temporal
    """
    from mav_lightning.training.export import export_network

    step = export_network(run, out)
    echo(f"exported{'' if step is None else f' step {step}'}: {out}")
