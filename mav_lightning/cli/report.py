"""``mav report``: write the report of a study again."""

from pathlib import Path
from typing import Annotated

import typer

from mav_lightning.cli.options import Allow, existing, output
from mav_lightning.cli.printing import echo

__all__ = ["report"]


def report(
    study: Annotated[Path, typer.Argument(callback=existing("folder"), help="Folder of a study, finished or not.")],
    out: Annotated[
        Path | None, typer.Option(callback=output("folder"), help="Output folder; the study's folder by default.")
    ] = None,
    added: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            callback=existing("file"),
            help="File of results from elsewhere to show in this and all later reports of the study: `mav rate "
            "--collect` and `mav evaluate --import` write them; repeatable.",
            show_default=False,
        ),
    ] = None,
    allow: Allow = None,
) -> None:
    """Write the report of a study: one self-contained HTML file, and the same as Markdown, LaTeX, CSV and JSON.

    The folder figures next to it holds every figure as PDF and SVG, as wide as a column of a paper.

    Example:
        mav report runs/quick --out paper/supplement
    """
    from mav_lightning.ablation.report import build_report
    from mav_lightning.ablation.report.added_results import add_results
    from mav_lightning.ablation.study_plan import read_plan

    if added:
        read_plan(study)  # nothing is added to a folder that is no study
    for file in added or ():
        add_results(study, file)
    echo(f"report: {build_report(study, out)}")
