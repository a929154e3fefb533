"""``mav evaluate``: score a folder of clips."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mav_lightning.cli.options import Allow, Overwrite, existing, output, protocol_name, within
from mav_lightning.cli.printing import echo
from mav_lightning.cli.progress import tracker
from mav_lightning.common.schema import PositiveFloat

__all__ = ["evaluate", "print_scores", "prompts_by_id"]


def evaluate(
    generated: Annotated[
        Path | None,
        typer.Option(
            callback=existing("folder"),
            help="Generated clips: a folder with a manifest.json, videos, folders of .png frames, or .npy arrays.",
            show_default=False,
        ),
    ] = None,
    real: Annotated[
        Path | None,
        typer.Option(
            callback=existing("folder"),
            help="Real clips: a folder, tar shards, or a dataset with clips/val; none for some protocols.",
        ),
    ] = None,
    protocol: Annotated[
        str, typer.Option(callback=protocol_name, help="Name of a shipped protocol, or path of a .yaml file.")
    ] = "shapes-tiny",
    out: Annotated[Path, typer.Option(callback=output("new file"), help="JSON file to write.")] = Path("results.json"),
    prompts: Annotated[
        Path | None,
        typer.Option(
            callback=existing("file"),
            help="Table id<TAB>prompt of the generated clips; ids are their paths in the folder.",
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(callback=within(PositiveFloat), help="Frames per second of generated .png frames or .npy arrays."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Folder of extractor weights; default: see `mav weights list`.", show_default=False),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            callback=output("folder"),
            help="Folder in which features are kept; default: ~/.cache/mav-lightning/features.",
            show_default=False,
        ),
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="Number of processes that share the clips, one device each.")] = 1,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads per process that read clips; default: one per core.")
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Accept fewer clips and other frame rates than the protocol requires."),
    ] = False,
    marked: Annotated[
        bool, typer.Option("--marked", help="Accept clips with the visible mark, or upsampled for display.")
    ] = False,
    export: Annotated[
        tuple[str, Path] | None,
        typer.Option(
            metavar="vbench DIR",
            help="Score nothing; write the generated clips in VBench's layout into a new folder.",
            show_default=False,
        ),
    ] = None,
    imported: Annotated[
        Path | None,
        typer.Option(
            "--import",
            callback=existing("file"),
            help="Score nothing; write VBench's results NAME_eval_results.json to --out, for `mav report --with`.",
            show_default=False,
        ),
    ] = None,
    overwrite: Overwrite = False,
    allow: Allow = None,
) -> None:
    """Score a folder of clips under a protocol, optionally against real clips.

    Each clip is decoded once for all metrics, and its features are kept: after an interruption the same command
    resumes, and another metric of the same extractor, or other clips against the same real ones, cost little more.
    Results record the whole protocol and the hashes of all inputs; `mav compare` shows comparable ones side by side.

    Examples:
        mav evaluate --generated runs/clips --real runs/shapes --protocol shapes-tiny --out results.json

        mav evaluate --generated others/mp4 --prompts prompts.tsv --protocol clipsim-b32-msrvtt-2990

        mav evaluate --generated runs/clips --export vbench runs/vbench
    """
    if imported is not None:
        _import(imported, out)
        return
    generated = _needed(generated)
    if export is not None:
        _export(generated, export, prompts, fps)
        return
    echo(f"checking the clips under protocol {protocol}", err=True)  # what is imported next takes seconds
    from evaluation import Evaluation, load_protocol
    from evaluation.feature_store import features_folder
    from mav_lightning.cli.devices import predict_on
    from mav_lightning.common.console import SafeConsole
    from mav_lightning.common.json_files import write_json
    from mav_lightning.common.machine import default_device

    with tracker() as track:
        evaluation = Evaluation(
            generated,
            real,
            load_protocol(protocol),
            features=features or features_folder(),
            force=force,
            marked=marked,
            prompts=None if prompts is None else prompts_by_id(prompts),
            fps=fps,
            weights=weights,
            workers=workers,
            track=track,
        )
    if devices > 1:
        from evaluation.distributed_extraction import Extracting

        if not predict_on(devices, Extracting(evaluation.extraction)):
            raise typer.Exit(0)
    evaluation.extraction.to(default_device())
    with tracker() as track:
        results = evaluation.results(track)
    write_json(out, results)
    _print(results, SafeConsole())
    echo(f"results: {out}")


def _needed(generated: Path | None) -> Path:
    from mav_lightning.common.errors import UserError

    if generated is None:
        raise UserError("is needed; name the folder of clips.", argument="generated")
    return generated


def _export(generated: Path, export: tuple[str, Path], prompts: Path | None, fps: float | None) -> None:
    from evaluation.vbench import CUSTOM_DIMENSIONS, export_vbench
    from mav_lightning.common.counting import counted
    from mav_lightning.common.errors import UserError
    from mav_lightning.common.output import check_output

    kind, folder = export
    if kind != "vbench":
        raise UserError(f"unknown layout `{kind}`; only vbench is known.", argument="export")
    check_output(folder, "new folder", "export", replacing="another folder")
    with tracker() as track:
        count = export_vbench(generated, folder, None if prompts is None else prompts_by_id(prompts), fps, track)
    videos, texts = folder / "videos", folder / "prompts.json"
    echo(f"{counted(count, 'clip')}: {videos}; where VBench is installed, run")
    echo(
        f"vbench evaluate --videos_path {videos} --mode custom_input --prompt_file {texts} "
        f'--dimension "{" ".join(CUSTOM_DIMENSIONS)}"'
    )


def _import(file: Path, out: Path) -> None:
    from evaluation.vbench import import_vbench
    from mav_lightning.common.console import SafeConsole
    from mav_lightning.common.json_files import write_json

    results = import_vbench(file)
    write_json(out, results)
    echo(results["title"])
    print_scores(results["metrics"], SafeConsole())
    echo(f"results: {out}")


def prompts_by_id(file: Path) -> dict[str, str]:
    """Read a table of ids and prompts.

    Raises:
        UserError: If the file cannot be read, has no ids, or lists an id twice.
    """
    from mav_lightning.common.errors import UserError
    from mav_lightning.prompts import read_prompts

    found: dict[str, str] = {}
    for prompt in read_prompts(file):
        name = prompt.attributes.get("prompt_id")
        if name is None:
            message = f"{file} names no clips; begin it with the line `id<TAB>prompt`, then one row per clip."
            raise UserError(message, argument="prompts")
        if name in found:
            raise UserError(f"{file} has the id `{name}` twice; give every clip one prompt.", argument="prompts")
        found[name] = prompt.text
    return found


def _print(results: dict[str, Any], console: Any) -> None:
    shown = results["protocol"]
    echo(f"protocol {shown['name']} ({shown['hash']})")
    print_scores(results["metrics"], console, results["reference"])
    for note in results["notes"]:
        echo(f"note: {note}")


def _cells(score: dict[str, Any], real: float | None) -> list[str]:
    low_high = " … ".join(f"{bound:.4g}" for bound in score["interval"] or ())
    reference = "" if real is None else f"{real:.4g}"
    return [f"{score['value']:.4g}", low_high, str(score["n"]), score["better"], score["unit"], reference]


def print_scores(metrics: dict[str, Any], console: Any, reference: dict[str, Any] | None = None) -> None:
    """Print a table of scores; those without a value are only named.

    Args:
        metrics: Name → score: value, interval, n, direction, unit.
        console: Console to print on; see `SafeConsole.print_table`.
        reference: Name → value of the real clips, shown beside. None if there are none.
    """
    from rich.table import Table

    real = {name: value for name, value in (reference or {}).items() if value is not None}
    heads = ["value", "95 % interval", "n", "better", "unit", *(["real clips"] if real else [])]
    table = Table("metric", *heads, box=None, header_style="dim")
    missing = [name for name, score in metrics.items() if score["value"] is None]
    for name, score in metrics.items():
        if score["value"] is not None:
            table.add_row(name, *_cells(score, real.get(name))[: len(heads)])
    console.print_table(table)
    if missing:
        echo(f"without a value on these clips: {', '.join(missing)}")
