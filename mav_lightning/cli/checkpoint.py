"""``mav checkpoint``: trainings and their checkpoints, looked at, verified and exported."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mav_lightning.cli.options import Allow, Overwrite, network_folder, output
from mav_lightning.cli.printing import echo

__all__ = ["app", "export"]

app = typer.Typer(no_args_is_help=True, help="Inspect, verify and export trainings and their checkpoints.")

Place = Annotated[Path, typer.Argument(help="Folder of a training, or a .ckpt file.", show_default=False)]


@app.command()
def inspect(path: Place) -> None:
    """Print the config, progress and checkpoints of a training, or the content of one checkpoint.

    Example: mav checkpoint inspect runs/temporal
    """
    import json

    from mav_lightning.training.run_report import describe_checkpoint, describe_run

    if path.is_file():
        facts = describe_checkpoint(path)
        run = facts.pop("run")
        for name, value in facts.items():
            echo(f"{name + ':':18}{value}")
        echo(f"run: {json.dumps(run, indent=1)}")
        return
    record, found = describe_run(path)
    if record is not None:
        extended = f" (extended from {', '.join(map(str, record.extended_from))})" if record.extended_from else ""
        to = "" if record.state == "finished" else "to reach "  # no step may have been kept yet
        echo(f"{path}: {record.state}, {to}{record.steps} steps{extended}, run {record.id[:16]}; see {path}/run.json")
    if not found and (record is None or record.state != "finished"):
        echo("no checkpoint: the same command trains from the start")
    for facts in found:
        echo("  ".join(str(value) for value in facts.values()))


@app.command()
def verify(path: Place) -> None:
    """Verify checksums, that checkpoints can be read safely, and that weights are finite.

    Exits with 1 if a file is damaged. Nothing is changed.

    Example: mav checkpoint verify runs/temporal
    """
    from mav_lightning.training.run_report import verify as check_files

    damaged = 0
    for check in check_files(path):
        damaged += check.problem is not None
        echo(f"{check.file}: {check.problem or 'intact'}")
    if damaged:
        raise typer.Exit(1)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(callback=network_folder, help="Folder of a training, finished or not.")],
    out: Annotated[Path, typer.Option(callback=output("new folder"), help="New folder for the network.")],
    step: Annotated[
        int | None, typer.Option(min=0, help="Step of a checkpoint; default: the result, or the newest checkpoint.")
    ] = None,
    form: Annotated[
        Literal["mav", "diffusers"],
        typer.Option("--format", help="diffusers is possible for extended diffusers networks only."),
    ] = "mav",
    overwrite: Overwrite = False,
    allow: Allow = None,
) -> None:
    """Write the network of a training as a folder: safetensors, a description of the network, and their sha256.

    For a training that is running or was stopped, the newest checkpoint is used, with its averaged weights. The folder
    can replace any trained stage: `mav pipeline --decoder`, `needs.parent=`.

    Example: mav checkpoint export runs/temporal --out share/temporal
    """
    if form == "diffusers":
        _export_diffusers(run, out, step, overwrite)
        return
    from mav_lightning.training.network_export import export_network

    exported = export_network(run, out, step, overwrite)
    echo(f"exported{'' if exported is None else f' step {exported}'}: {out}")


def _export_diffusers(run: Path, out: Path, step: int | None, overwrite: bool) -> None:
    from mav_lightning.common.errors import UserError
    from mav_lightning.pretrained.diffusers_export import export_diffusers

    if step is not None:
        raise UserError("cannot be combined with --format; first export the step, then that folder.", argument="step")
    export_diffusers(run, out, overwrite)
    echo(f"exported: {out}")
