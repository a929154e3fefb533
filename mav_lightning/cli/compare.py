"""``mav compare``: show results side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mav_lightning.cli.printing import echo

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["compare"]


def compare(
    results: Annotated[
        list[Path], typer.Argument(help="Two or more files that `mav evaluate` wrote.", show_default=False)
    ],
) -> None:
    """Show results side by side, if they were measured in the same way; else report the differences.

    The best value of each metric is bold. Intervals are at 95 %. Two systems trained once each can differ by their
    seeds alone: comparing methods takes a study with several seeds (`mav ablate`).

    Example: mav compare ours.json baseline.json
    """
    from rich.table import Table

    from evaluation.comparison import read_results, require_comparable
    from mav_lightning.common.console import SafeConsole
    from mav_lightning.common.errors import UserError

    if len(results) < 2:
        raise UserError(f"at least 2 files are needed, got {len(results)}; name another.", argument="results")
    read, names = [read_results(path) for path in results], [str(path) for path in results]
    require_comparable(names, read)
    console, protocol = SafeConsole(), read[0]["protocol"]
    table = Table("metric", *names, "better", box=None, header_style="dim")
    for metric in dict.fromkeys(name for one in read for name in one["metrics"]):
        scores = [one["metrics"].get(metric) for one in read]
        better = next(score["better"] for score in scores if score)
        best = _best([score and score["value"] for score in scores], better)
        table.add_row(metric, *(_cell(score, number == best) for number, score in enumerate(scores)), better)
    echo(f"protocol {protocol['name']} ({protocol['hash']})")
    console.print(table)


def _best(values: list[float | None], better: str) -> int | None:
    """Return the index of the best value, or None if all are equal or missing, or there is no better direction."""
    if better == "neither":
        return None
    costs = {number: _cost(value, better) for number, value in enumerate(values) if value is not None}
    return min(costs, key=costs.__getitem__) if len(set(costs.values())) > 1 else None


def _cost(value: float, better: str) -> float:
    return {"lower": value, "higher": -value, "one": abs(value - 1)}[better]


def _cell(score: dict[str, Any] | None, best: bool) -> "str | Text":
    from mav_lightning.common.console import styled

    if score is None or score["value"] is None:
        return "–"
    value, bounds = f"{score['value']:.4g}", score["interval"]
    interval = f" ({bounds[0]:.4g} … {bounds[1]:.4g})" if bounds else ""
    return styled((value, "bold" if best else ""), f"{interval}, n {score['n']}")
