"""``mav evaluate``: clips → numbers."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mav_lightning.cli.options import output
from mav_lightning.cli.printing import echo
from mav_lightning.cli.progress import tracker

__all__ = ["evaluate", "print_scores", "prompts_by_id"]


def evaluate(
    generated: Annotated[
        Path,
        typer.Option(help="Clips: with a manifest.json, or anybody's videos, folders of .png frames, .npy arrays."),
    ],
    real: Annotated[
        Path | None,
        typer.Option(help="Real clips, tar shards, or a data set with clips/val; not for protocols without any."),
    ] = None,
    protocol: Annotated[str, typer.Option(help="Name under conf/protocol, or one's own .yaml.")] = "shapes-tiny",
    out: Annotated[Path, typer.Option(callback=output("file"), help="Where to write the results, as JSON.")] = Path(
        "results.json"
    ),
    prompts: Annotated[
        Path | None, typer.Option(help="Table id<TAB>prompt of the generated clips; ids are their paths in the folder.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="Frames per second of generated .png frames or .npy arrays.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Folder of weights; as `mav weights` has it by default.", show_default=False)
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            help="Where features are kept and taken from; default: ~/.cache/mav-lightning/features.", show_default=False
        ),
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="Processes that share the clips, a device each.")] = 1,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads of a process that read clips; one a core by default.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Accept too few clips, and frame rates outside the protocol.")
    ] = False,
) -> None:
    """Scores clips of any system as a protocol says, against real ones where it compares.

    Each clip is decoded once for all metrics, and its features are kept: killed, the same command goes on where it was;
    another metric of the same extractor, or other clips against the same real ones, cost little more. Results carry the
    whole protocol and the hashes of all that went in; `mav compare` shows like ones side by side.

    Examples:
        mav evaluate --generated runs/clips --real runs/shapes --protocol shapes-tiny --out results.json

        mav evaluate --generated others/mp4 --prompts prompts.tsv --protocol clipsim-b32-msrvtt-2990
    """
    from rich.console import Console

    from evaluation import Evaluation, load_protocol
    from evaluation.feature_store import features_folder
    from mav_lightning.cli.devices import predict_on
    from mav_lightning.common.errors import UserError
    from mav_lightning.common.json_files import write_json
    from mav_lightning.common.machine import default_device

    if out.is_dir():
        raise UserError(f"--out: {out} is a folder; name the file to write, such as {out / 'results.json'}.")
    if features is not None and features.exists() and not features.is_dir():
        raise UserError(f"--features: {features} is a file; name a folder, which may be new.")
    evaluation = Evaluation(
        generated,
        real,
        load_protocol(protocol),
        features or features_folder(),
        force=force,
        prompts=None if prompts is None else prompts_by_id(prompts),
        fps=fps,
        weights=weights,
        workers=workers,
    )
    if devices > 1:
        from evaluation.distributed_extraction import Extracting

        if not predict_on(devices, Extracting(evaluation.extraction)):
            raise typer.Exit(0)
    evaluation.extraction.to(default_device())
    with tracker() as track:
        results = evaluation.results(track)
    write_json(out, results)
    console = Console()
    _print(results, console)
    echo(f"results: {out}")


def prompts_by_id(file: Path) -> dict[str, str]:
    """Reads a table of ids and prompts.

    Raises:
        UserError: Unreadable, a list without ids, or an id twice.
    """
    from mav_lightning.common.errors import UserError
    from mav_lightning.prompts import read_prompts

    found: dict[str, str] = {}
    for prompt in read_prompts(file):
        name = prompt.attributes.get("prompt_id")
        if name is None:
            raise UserError(
                f"--prompts: {file}: names no clips; begin it with the line `id<TAB>prompt`, then a row each."
            )
        if name in found:
            raise UserError(f"--prompts: {file}: has the id `{name}` twice; give every clip one prompt.")
        found[name] = prompt.text
    return found


def _print(results: dict[str, Any], console: Any) -> None:
    shown = results["protocol"]
    echo(f"protocol {shown['name']} ({shown['hash']})")
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
