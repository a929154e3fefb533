"""Report files of a study."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mav_lightning.ablation.report import text
from mav_lightning.ablation.report.clip_gallery import gather_clips
from mav_lightning.ablation.report.facts import gather_facts
from mav_lightning.ablation.report.figures import draw_figures
from mav_lightning.ablation.report.marks import marks
from mav_lightning.ablation.report.rendering import COLORS, FOLDER, Plot, inline_svg, write_figures
from mav_lightning.ablation.report.result_tables import csv_table, latex_table
from mav_lightning.ablation.report.shown import cost_columns, shown
from mav_lightning.ablation.results import read_results
from mav_lightning.ablation.study_plan import read_plan
from mav_lightning.common import units
from mav_lightning.common.escaping import html, markdown, markdown_code, script_json
from mav_lightning.common.json_files import write_json, write_text

__all__ = ["build_report"]


def build_report(study: Path, out: Path | None = None) -> Path:
    """Write ``report`` with suffix ``.html``, ``.md``, ``.tex``, ``.csv`` and ``.json``, and its figures as files.

    Args:
        study: Folder of a study, finished or not.
        out: Output folder; None writes to `study`.

    Returns:
        The HTML file. It is self-contained: it loads nothing from the network. The folder ``figures`` next to it holds
        every figure as PDF and SVG.

    Raises:
        UserError: If the folder is missing or holds no valid study.
    """
    results = read_results(study, read_plan(study))
    facts, plots = gather_facts(results), draw_figures(results)
    folder = out or study
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "report.json", facts)
    write_text(folder / "report.md", _environment(markdown).get_template("report.md.j2").render(facts))
    write_text(folder / "report.csv", csv_table(results))
    marked = {one.name: marks(results, one) for one in results.plan.study.metrics}
    write_text(folder / "report.tex", latex_table(results, marked))
    files = write_figures([plot for group in plots.values() for plot in group], folder / FOLDER)
    page = (
        _environment(html)
        .get_template("report.html.j2")
        .render(
            facts,
            figures={name: _group(group) for name, group in plots.items()},
            clips=gather_clips(results),
            files=FOLDER if files else "",
        )
    )
    write_text(folder / "report.html", page)
    return folder / "report.html"


def _group(plots: Sequence[Plot]) -> dict[str, Any]:
    """Return the figures of a section and their common legend: variant → index of its color."""
    legend: dict[str, int] = {}
    for plot in plots:
        legend |= plot.legend
    return {"legend": legend, "figures": [{"svg": inline_svg(plot), "note": plot.note} for plot in plots]}


def _environment(escape: Callable[[object], str]) -> Environment:
    """Return an environment whose every expression passes through the escaping of the format."""
    loader = PackageLoader("mav_lightning.ablation.report", "assets")
    environment = Environment(
        loader=loader,
        autoescape=True,
        finalize=partial(_escaped, escape=escape),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: Mapping[str, Callable[..., Any]] = {
        "number": text.number,
        "signed": text.signed,
        "duration": units.duration,
        "plain": text.plain,
        "shown": shown,
        "cost_columns": cost_columns,
        "script_json": script_json,
        "code": lambda value: Markup(markdown_code(value)),
    }
    environment.filters.update(filters)
    environment.globals["colors"] = COLORS
    environment.globals["asset"] = lambda name: Markup(loader.get_source(environment, name)[0])
    return environment


def _escaped(value: object, escape: Callable[[object], str]) -> Markup:
    return value if isinstance(value, Markup) else Markup(escape(value))
