"""``mav evaluate``: clips → numbers."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mav_lightning.cli.progress import tracker

__all__ = ["evaluate", "print_scores"]


def evaluate(
    generated: Annotated[Path, typer.Option(help="Folder of clips: with a manifest.json, or plain videos.")],
    real: Annotated[Path, typer.Option(help="Folder of real clips, of tar shards, or a data set with clips/val.")],
    protocol: Annotated[str, typer.Option(help="Name under conf/protocol, or one's own .yaml.")] = "shapes-tiny",
    out: Annotated[Path, typer.Option(help="Where to write the results, as JSON.")] = Path("results.json"),
    force: Annotated[
        bool, typer.Option("--force", help="Accept too few clips, and frame rates outside the protocol.")
    ] = False,
) -> None:
    """Scores a folder of generated clips against real ones.

    Example: mav evaluate --generated runs/clips --real runs/shapes --protocol shapes-tiny --out results.json
    """
    from rich.console import Console

    from evaluation import evaluate as run
    from evaluation import load_protocol
    from mav_lightning.runs.files import write_json

    console = Console()
    with tracker() as track:
        results = run(generated, real, load_protocol(protocol), force, track)
    write_json(out, results)
    _print(results, console)
    console.print(f"results: {out}", soft_wrap=True, highlight=False)


def _print(results: dict[str, Any], console: Any) -> None:
    shown = results["protocol"]
    console.print(f"protocol {shown['name']} ({shown['hash']})", highlight=False)
    print_scores(results["metrics"], console)


def print_scores(metrics: dict[str, Any], console: Any) -> None:
    """Draws a table of scores: value, interval, n, which way is better, unit."""
    from rich.table import Column, Table

    names = Column("metric", min_width=max(map(len, metrics)))  # a name that is cut off names nothing
    table = Table(names, "value", "95 % interval", "n", "better", "unit", box=None, header_style="dim")
    for name, score in metrics.items():
        low_high = " … ".join(f"{bound:.4g}" for bound in score["interval"] or ())
        value = "–" if score["value"] is None else f"{score['value']:.4g}"
        table.add_row(name, value, low_high, str(score["n"]), score["better"], score["unit"])
    console.print(table)
