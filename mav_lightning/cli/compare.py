"""``mav compare``: show results side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mav_lightning.cli.options import existing
from mav_lightning.cli.printing import echo

if TYPE_CHECKING:
    from rich.text import Text

    from evaluation.paired_difference import PairedDifference
    from mav_lightning.common.console import SafeConsole

__all__ = ["compare"]


def compare(
    results: Annotated[
        list[Path],
        typer.Argument(
            callback=existing("file", "`mav evaluate` writes them"),
            help="Two or more files that `mav evaluate` wrote.",
            show_default=False,
        ),
    ],
) -> None:
    """Show results side by side, if they were measured in the same way; else report what differs.

    The best value of each metric is bold. Below are the differences from the first result. They are paired: by clip for
    metrics that are means over clips, and by the shared real clips for distances. Intervals are at 95 %. Two systems
    trained once each can differ by their seeds alone: to compare methods, run a study with several seeds, `mav ablate`.

    Example: mav compare ours.json baseline.json
    """
    from rich.table import Table

    from evaluation.comparison import copy_warnings, count_warnings, read_results, require_comparable, version_warnings
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
    console.print_table(table)
    _show_differences(console, names, read)
    for describe in (copy_warnings, count_warnings, version_warnings):
        for warning in describe(names, read):
            echo(f"warning: {warning}")


def _show_differences(console: "SafeConsole", names: list[str], results: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from evaluation.paired_difference import paired_difference

    table = Table(f"minus {names[0]}", *names[1:], "interval", box=None, header_style="dim")
    for metric in results[0]["metrics"]:
        found = [paired_difference(metric, results[0], other) for other in results[1:]]
        if kinds := [one.kind for one in found if one]:
            table.add_row(metric, *(_difference_cell(one) for one in found), kinds[0])
    if table.row_count:
        console.print()
        console.print_table(table)


def _difference_cell(found: "PairedDifference | None") -> str:
    if found is None:
        return "–"
    return f"{found.value:+.4g}" + (f" ({found.interval[0]:+.4g} … {found.interval[1]:+.4g})" if found.interval else "")


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
