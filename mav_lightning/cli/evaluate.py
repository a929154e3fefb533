"""``mav evaluate``: clips → numbers."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["evaluate"]


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
    import json
    import os

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from evaluation import evaluate as run
    from evaluation import load_protocol

    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        results = run(generated, real, load_protocol(protocol), force, _tracker(progress))
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial")
    partial.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n")
    os.replace(partial, out)
    _print(results, console)
    console.print(f"results: {out}", soft_wrap=True, highlight=False)


def _tracker(progress: "Progress") -> Any:
    """Moves a bar, with rate, as items are taken."""

    def track(items: Iterable[Any], total: int, description: str) -> Iterator[Any]:
        task = progress.add_task(description, total=total, rate="")
        for item in items:
            yield item
            speed = progress.tasks[task].speed
            progress.update(task, advance=1, rate=f"{speed:.1f}/s" if speed else "")

    return track


def _print(results: dict[str, Any], console: Any) -> None:
    from rich.table import Table

    table = Table("metric", "value", "95 % interval", "n", "better", "unit", box=None, header_style="dim")
    for name, score in results["metrics"].items():
        low_high = " … ".join(f"{bound:.4g}" for bound in score["interval"] or ())
        value = "–" if score["value"] is None else f"{score['value']:.4g}"
        table.add_row(name, value, low_high, str(score["n"]), score["better"], score["unit"])
    shown = results["protocol"]
    console.print(f"protocol {shown['name']} ({shown['hash']})", highlight=False)
    console.print(table)
