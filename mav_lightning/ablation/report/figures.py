"""Figures of a report: paired values, response to the frame rate, learning curves, and quality against cost."""

import functools
import itertools
import re
from typing import TYPE_CHECKING, Any

from mav_lightning.ablation.report.answer import BETTER
from mav_lightning.ablation.report.cost_tables import total_seconds
from mav_lightning.ablation.report.curves import Curve, learning_curves
from mav_lightning.ablation.report.rendering import Draw, Palette, Plot
from mav_lightning.ablation.report.text import join
from mav_lightning.ablation.results import StudyResults
from mav_lightning.ablation.study import StudyMetric
from mav_lightning.common.escaping import plot_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_figures"]

_ARROWS = {"lower": "↓", "higher": "↑", "one": "→ 1"}
_FITTING, _LONGEST = 42, 28  # letters that fit side by side under an axis, and of one name


def draw_figures(results: StudyResults) -> dict[str, list[Plot]]:
    """Return the figures of a report.

    Args:
        results: Results of the study.

    Returns:
        ``pairs`` and ``cost`` (one figure per metric), ``fps`` (one per metric that is measured by frame rate) and
        ``curves`` (one per training stage in which variants differ, including unfinished trials). The others leave
        out trials without results, and metrics without a value.
    """
    study = results.plan.study
    order = {name: index for index, name in enumerate(study.order)}
    metrics = [one for one in study.metrics if any(result.value(one.name) is not None for result in results.trials)]
    return {
        "curves": [_of_curves(results, stage, found) for stage, found in learning_curves(results).items()],
        "pairs": [_of_metric("pairs", one, functools.partial(_pairs, results=results, metric=one)) for one in metrics],
        "fps": [_of_rates(results, family, order) for family in _fps_families(results)],
        "cost": [
            _of_metric("cost", one, functools.partial(_cost, results=results, metric=one), order) for one in metrics
        ],
    }


def _of_metric(kind: str, metric: StudyMetric, draw: Draw, legend: dict[str, int] | None = None) -> Plot:
    label = f"{metric.name} {_ARROWS[metric.better]}"
    return Plot(f"{kind}-{metric.name}", metric.name, label, BETTER[metric.better], draw, legend or {})


def _of_rates(results: StudyResults, family: str, order: dict[str, int]) -> Plot:
    words = "ground truth: 1" if family.startswith("speed-ratio") else ""
    draw = functools.partial(_by_fps, results=results, family=family)
    return Plot(f"fps-{family}", family, family, words, draw, order)


def _of_curves(results: StudyResults, stage: str, curves: dict[tuple[str, ...], dict[int, Curve]]) -> Plot:
    order = results.plan.study.order
    first = {names: min(names, key=order.index) for names in curves}
    shared = [join([name for name in names if name != first[names]]) for names in curves if len(names) > 1]
    users = [f"{first[names]} has the same training as" for names in curves if len(names) > 1]
    return Plot(
        f"curve-{stage}",
        f"training loss of {stage}",
        f"training loss of {stage}",
        f"means over stretches of steps{', log scale' if _positive(curves) else ''}",
        functools.partial(_curves, order=order, curves=curves),
        {name: order.index(name) for name in first.values()},
        ". ".join(f"{one} {others}" for one, others in zip(users, shared, strict=True)),
    )


def _pairs(axes: "Axes", palette: Palette, results: StudyResults, metric: StudyMetric) -> None:
    """Draw one line per seed across the variants; bars are the confidence intervals within single runs."""
    names = results.plan.study.order
    for seed in results.plan.study.seeds:
        points = [(x, results.values(metric.name, name).get(seed)) for x, name in enumerate(names)]
        known = [(x, y) for x, y in points if y is not None]
        if known:
            axes.plot(*zip(*known, strict=True), color=palette.muted, linewidth=0.8, zorder=1)
    pale = 0.32 / len(results.plan.study.seeds)  # as the bars of all seeds overlap
    for x, name in enumerate(names):
        color = palette.variant(x)
        for result in results.of(name).values():
            value, interval = result.value(metric.name), result.interval(metric.name)
            if value is not None:
                axes.plot(x, value, "o", color=color, markersize=5, zorder=3)
            if interval:
                axes.plot([x, x], interval, color=color, linewidth=6, alpha=pale, solid_capstyle="butt", zorder=2)
    shown = [_shortened(name) for name in names]
    crowded = max(len(a + b) / 2 for a, b in itertools.pairwise(shown)) > _FITTING / len(shown)
    tilted: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
    axes.set_xticks(range(len(names)), shown, **tilted)
    axes.set_xlim(-0.4, len(names) - 0.6)
    axes.margins(y=0.15)


def _by_fps(axes: "Axes", palette: Palette, results: StudyResults, family: str) -> None:
    rates = _fps_families(results)[family]
    for index, name in enumerate(results.plan.study.order):
        lines = [[result.value(f"{family}@{rate}") for rate in rates] for result in results.of(name).values()]
        for line in lines:
            known = [(float(rate), value) for rate, value in zip(rates, line, strict=True) if value is not None]
            if known:
                axes.plot(
                    *zip(*known, strict=True),
                    "o-",
                    color=palette.variant(index),
                    linewidth=1.2,
                    markersize=4,
                    alpha=0.85,
                )
    if family.startswith("speed-ratio"):
        axes.axhline(1.0, color=palette.muted, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.set_xscale("log", base=2)
    axes.set_xticks([float(rate) for rate in rates], rates)
    axes.set_xlabel("requested frames per second")
    axes.margins(x=0.1, y=0.2)


def _cost(axes: "Axes", palette: Palette, results: StudyResults, metric: StudyMetric) -> None:
    for index, name in enumerate(results.plan.study.order):
        found = [(total_seconds(result) / 60, result.value(metric.name)) for result in results.of(name).values()]
        known = [(x, y) for x, y in found if y is not None]
        if known:
            axes.plot(*zip(*known, strict=True), "o", color=palette.variant(index), markersize=5)
    axes.set_xlabel("minutes, all stages")
    axes.set_xlim(left=0)
    axes.margins(x=0.15, y=0.2)


def _curves(axes: "Axes", palette: Palette, order: list[str], curves: dict[tuple[str, ...], dict[int, Curve]]) -> None:
    """Draw one line per training, in the color of the first variant that uses it."""
    from matplotlib.ticker import LogLocator, NullLocator

    for names, lines in curves.items():
        color = palette.variant(min(map(order.index, names)))
        for steps, losses in lines.values():
            axes.plot(steps, losses, color=color, linewidth=1.0, alpha=0.85)
    if _positive(curves):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("steps")


def _positive(curves: dict[tuple[str, ...], dict[int, Curve]]) -> bool:
    return all(loss > 0 for seeds in curves.values() for _, losses in seeds.values() for loss in losses)


def _shortened(name: str) -> str:
    line = plot_text(name)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 11]}…{line[-10:]}"


def _fps_families(results: StudyResults) -> dict[str, list[str]]:
    """Return metric → frame rates at which any trial has a value (``speed-ratio@4`` …), if there are at least two."""
    families: dict[str, set[str]] = {}
    for result in results.trials:
        for name in result.scores.get("metrics", {}):
            found = re.fullmatch(r"(.+)@(\d+(?:\.\d+)?)", name)
            if found and result.value(name) is not None:
                families.setdefault(found[1], set()).add(found[2])
    return {name: sorted(rates, key=float) for name, rates in families.items() if len(rates) > 1}
