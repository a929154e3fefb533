"""``mav stage``: run one stage of a study in its folder, as the study's executor calls it."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["stage"]


def stage(folder: Annotated[Path, typer.Argument(help="Folder of a stage, holding stage.json.")]) -> None:
    """Run the stage in FOLDER, resuming from its own checkpoints.

    Example: mav stage runs/quick/stages/temporal-0123456789abcdef
    """
    from mav_lightning.runs.execute import run_stage

    run_stage(folder)
