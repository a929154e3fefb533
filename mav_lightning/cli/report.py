"""``mav report``: writes a study's report again."""

from pathlib import Path
from typing import Annotated

import typer

from mav_lightning.cli.options import output
from mav_lightning.cli.printing import echo

__all__ = ["report"]


def report(
    study: Annotated[Path, typer.Argument(help="The folder of a study, finished or not.")],
    out: Annotated[
        Path | None,
        typer.Option(callback=output("folder"), help="Where report.html, .md and .json go; the study's folder."),
    ] = None,
) -> None:
    """Write the report of a study: one offline HTML file, and the same as Markdown and JSON.

    Example:
        mav report runs/quick --out paper/supplement
    """
    from mav_lightning.ablation.report import build_report

    echo(f"report: {build_report(study, out)}")
