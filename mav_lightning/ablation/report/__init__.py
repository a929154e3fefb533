"""Report of a study: one self-contained HTML file, with the same content as Markdown, LaTeX, CSV and JSON."""

from mav_lightning.ablation.report.build import build_report

__all__ = ["build_report"]
