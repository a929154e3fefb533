"""Report files of a study."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mav_lightning.ablation.report import text
from mav_lightning.ablation.report.clip_gallery import gather_clips
from mav_lightning.ablation.report.facts import gather_facts
from mav_lightning.ablation.report.figures import COLORS, draw_figures
from mav_lightning.ablation.report.marks import marks
from mav_lightning.ablation.report.result_tables import csv_table, latex_table
from mav_lightning.ablation.results import read_results
from mav_lightning.ablation.study_plan import read_plan
from mav_lightning.common import units
from mav_lightning.common.json_files import write_json, write_text

__all__ = ["build_report"]


def build_report(study: Path, out: Path | None = None) -> Path:
    """Write ``report`` with suffix ``.html``, ``.md``, ``.tex``, ``.csv`` and ``.json``.

    Args:
        study: Folder of a study, finished or not.
        out: Output folder; None writes to `study`.

    Returns:
        The HTML file. It is self-contained: it loads nothing from the network.

    Raises:
        UserError: If the folder is missing or holds no valid study.
    """
    results = read_results(study, read_plan(study))
    facts = gather_facts(results)
    folder = out or study
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "report.json", facts)
    write_text(folder / "report.md", _environment(escape=False).get_template("report.md.j2").render(facts))
    write_text(folder / "report.csv", csv_table(results))
    write_text(
        folder / "report.tex",
        latex_table(results, {one.name: marks(results, one) for one in results.plan.study.metrics}),
    )
    page = _environment(escape=True).get_template("report.html.j2")
    figures = draw_figures(results)
    write_text(folder / "report.html", page.render(facts, figures=figures, clips=gather_clips(results)))
    return folder / "report.html"


def _environment(escape: bool) -> Environment:
    loader = PackageLoader("mav_lightning.ablation.report", "assets")
    environment = Environment(
        loader=loader, autoescape=escape, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    filters: dict[str, Any] = {
        "number": text.number,
        "signed": text.signed,
        "duration": units.duration,
        "memory": units.memory,
        "operations": units.operations,
        "count": units.count,
        "plain": text.plain,
    }
    environment.filters.update(filters)
    environment.globals["colors"] = COLORS
    environment.globals["asset"] = lambda name: Markup(loader.get_source(environment, name)[0])
    return environment
