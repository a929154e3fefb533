"""The report of a study: one offline HTML file, and the same as Markdown and JSON."""

from mav_lightning.ablation.report.build import build_report

__all__ = ["build_report"]
