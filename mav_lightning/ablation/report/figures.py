"""Inline SVG figures that use the page's colors and fonts, so one file serves the light and the dark theme."""

import functools
import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from mav_lightning.ablation.report.cost_tables import total_seconds
from mav_lightning.ablation.report.curves import Curve, learning_curves
from mav_lightning.ablation.results import StudyResults
from mav_lightning.ablation.study import StudyMetric

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COLORS", "draw_figures"]

# Placeholder colors, replaced in the SVG by variables of the page.
_INK, _MUTED, _RULE = "#010101", "#020202", "#030303"
COLORS = 10  # reused cyclically by further variants
_VARIANT = [f"#0404{index:02x}" for index in range(COLORS)]
_WORDS = {"lower": "lower is better", "higher": "higher is better", "one": "closer to 1 is better"}


def draw_figures(results: StudyResults) -> dict[str, list[Markup]]:
    """Draw the figures of a report.

    Args:
        results: Results of the study.

    Returns:
        ``pairs`` and ``cost`` (one figure per metric), ``fps`` (one per metric that is measured by frame rate) and
        ``curves`` (one per training stage in which variants differ, including unfinished trials). The others leave
        out trials without results.
    """
    curves = [
        _draw(f"curve {stage}", 5.4, functools.partial(_curves, results=results, stage=stage, curves=found))
        for stage, found in learning_curves(results).items()
    ]
    if not any(result.complete for result in results.trials):
        return {"pairs": [], "fps": [], "cost": [], "curves": curves}
    return {
        "curves": curves,
        "pairs": [
            _draw(
                f"pairs {metric.name}",
                _width(results.plan.study.order),
                functools.partial(_pairs, results=results, metric=metric),
            )
            for metric in results.plan.study.metrics
        ],
        "fps": [
            _draw(f"fps {family}", 4.4, functools.partial(_by_fps, results=results, family=family))
            for family in _fps_families(results)
        ],
        "cost": [
            _draw(f"cost {metric.name}", 3.9, functools.partial(_cost, results=results, metric=metric))
            for metric in results.plan.study.metrics
        ],
    }


def _pairs(axes: "Axes", results: StudyResults, metric: StudyMetric) -> None:
    """Draw one line per seed across the variants; bars are the confidence intervals within single runs."""
    names = results.plan.study.order
    for seed in results.plan.study.seeds:
        points = [(x, results.values(metric.name, name).get(seed)) for x, name in enumerate(names)]
        known = [(x, y) for x, y in points if y is not None]
        if known:
            axes.plot(*zip(*known, strict=True), color=_MUTED, linewidth=0.8, zorder=1)
    pale = 0.32 / len(results.plan.study.seeds)  # as the bars of all seeds overlap
    for x, name in enumerate(names):
        for result in results.of(name).values():
            value, interval = result.value(metric.name), result.interval(metric.name)
            if value is not None:
                axes.plot(x, value, "o", color=_color(x), markersize=5, zorder=3)
            if interval:
                axes.plot([x, x], interval, color=_color(x), linewidth=6, alpha=pale, solid_capstyle="butt", zorder=2)
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.4, len(names) - 0.6)
    axes.margins(y=0.15)
    _title(axes, metric.name, _WORDS[metric.better])


def _by_fps(axes: "Axes", results: StudyResults, family: str) -> None:
    rates = _fps_families(results)[family]
    for index, name in enumerate(results.plan.study.order):
        lines = [[result.value(f"{family}@{rate}") for rate in rates] for result in results.of(name).values()]
        for line in lines:
            known = [(float(rate), value) for rate, value in zip(rates, line, strict=True) if value is not None]
            if known:
                axes.plot(*zip(*known, strict=True), "o-", color=_color(index), linewidth=1.2, markersize=4, alpha=0.85)
        axes.plot([], [], "o-", color=_color(index), label=name, linewidth=1.2, markersize=4)
    if family.startswith("speed-ratio"):
        axes.axhline(1.0, color=_MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.set_xscale("log", base=2)
    axes.set_xticks([float(rate) for rate in rates], rates)
    axes.set_xlabel("requested fps", color=_MUTED)
    axes.margins(x=0.1, y=0.2)
    _legend(axes)
    _title(axes, family, "ground truth: 1" if family.startswith("speed-ratio") else "")


def _cost(axes: "Axes", results: StudyResults, metric: StudyMetric) -> None:
    for index, name in enumerate(results.plan.study.order):
        found = [(total_seconds(result) / 60, result.value(metric.name)) for result in results.of(name).values()]
        known = [(x, y) for x, y in found if y is not None]
        if known:
            axes.plot(*zip(*known, strict=True), "o", color=_color(index), label=name, markersize=5)
    axes.set_xlabel("minutes, all stages", color=_MUTED)
    axes.set_xlim(left=0)
    axes.margins(x=0.15, y=0.2)
    _legend(axes)
    _title(axes, metric.name, _WORDS[metric.better])


def _curves(axes: "Axes", results: StudyResults, stage: str, curves: dict[tuple[str, ...], dict[int, Curve]]) -> None:
    """Draw one line per training, in the color of the first variant that uses it."""
    order = results.plan.study.order
    for names, lines in curves.items():
        first, more = min(names, key=order.index), len(names) - 1
        for number, (steps, losses) in enumerate(lines.values()):
            label = (
                "_" if number else f"{first} and {more} more" if more else first
            )  # the legend skips labels that start with `_`
            axes.plot(steps, losses, color=_color(order.index(first)), linewidth=1.0, alpha=0.85, label=label)
    positive = all(loss > 0 for seeds in curves.values() for _, losses in seeds.values() for loss in losses)
    axes.set_yscale("log" if positive else "linear")
    axes.set_xlabel("steps", color=_MUTED)
    _legend(axes)
    _title(axes, f"{stage}: training loss", f"means over stretches of steps{', log scale' if positive else ''}")


def _draw(name: str, width: float, draw: Callable[["Axes"], Any]) -> Markup:
    """Render `draw` on one pair of axes, `width` inches wide; `name` makes the SVG ids unique."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.size": 8.5,
        "text.color": _INK,
        "axes.edgecolor": _RULE,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": _RULE,
        "ytick.color": _RULE,
        "xtick.labelcolor": _INK,
        "ytick.labelcolor": _MUTED,
    }
    with rc_context(style):
        figure = Figure(figsize=(width, 2.3), layout="constrained")
        draw(figure.subplots())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return Markup(_themed(buffer.getvalue()))


def _themed(svg: str) -> str:
    names = {_INK: "--ink", _MUTED: "--muted", _RULE: "--rule"} | {c: f"--v{i}" for i, c in enumerate(_VARIANT)}
    svg = re.sub("|".join(names), lambda found: f"var({names[found.group()]})", svg[svg.index("<svg") :])
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px var(--sans)", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return re.sub(r'<g id="[^"]*"', "<g", svg)  # they are not referenced, and ids must be unique within a page


def _width(names: list[str]) -> float:
    """Return the inches that names need side by side under an axis; four figures of two short names fill a line."""
    return max(1.95, 0.5 + sum(0.1 + 0.075 * len(name) for name in names))


def _title(axes: "Axes", name: str, words: str) -> None:
    axes.set_title(name, loc="left", fontsize=9.5, pad=18 if words else 6)
    axes.annotate(words, (0, 1), (0, 6), xycoords="axes fraction", textcoords="offset points", color=_MUTED, fontsize=8)


def _legend(axes: "Axes") -> None:
    axes.legend(frameon=False, fontsize=8, handlelength=1.2, loc="upper left", bbox_to_anchor=(1.02, 1.05))


def _color(index: int) -> str:
    return _VARIANT[index % COLORS]


def _fps_families(results: StudyResults) -> dict[str, list[str]]:
    """Return metric → frame rates at which any trial has a value (``speed-ratio@4`` …), if there are at least two."""
    families: dict[str, set[str]] = {}
    for result in results.trials:
        for name in result.scores.get("metrics", {}):
            found = re.fullmatch(r"(.+)@(\d+(?:\.\d+)?)", name)
            if found and result.value(name) is not None:
                families.setdefault(found[1], set()).add(found[2])
    return {name: sorted(rates, key=float) for name, rates in families.items() if len(rates) > 1}
