"""``mav report``: write the report of a study again."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["report"]


def report(
    study: Annotated[Path, typer.Argument(help="Folder of a study, finished or not.")],
    out: Annotated[Path | None, typer.Option(help="Output folder; the study's folder by default.")] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(help="Package of your own whose networks the study trains, to count their FLOPs."),
    ] = None,
) -> None:
    """Write the report of a study: one self-contained HTML file, and the same as Markdown, LaTeX, CSV and JSON.

    Example:
        mav report runs/quick --out paper/supplement
    """
    from rich.console import Console

    from mav_lightning.ablation.report import build_report
    from mav_lightning.common.allowed import allow as allow_packages

    allow_packages(allow or [])
    Console().print(f"report: {build_report(study, out)}", soft_wrap=True, highlight=False)
