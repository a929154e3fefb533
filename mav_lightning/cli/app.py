"""``mav``: the command line, where configs are read and everything is wired."""

import sys

import typer

from mav_lightning import __version__
from mav_lightning.cli import (
    ablate,
    baseline,
    certify,
    compare,
    config,
    cost,
    data,
    demo,
    doctor,
    evaluate,
    export,
    generate,
    inspect,
    layers,
    motion,
    pipeline,
    report,
    stage,
    train,
    weights,
)
from mav_lightning.common.errors import UserError

__all__ = ["app", "main"]

app = typer.Typer(
    name="mav",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Make-A-Video in PyTorch Lightning: train, sample, evaluate and ablate.",
)
app.command()(demo.demo)
app.add_typer(data.app, name="data")
app.add_typer(weights.app, name="weights")
app.command()(train.train)
app.command()(pipeline.pipeline)
app.command()(generate.generate)
app.command()(inspect.inspect)
app.command()(evaluate.evaluate)
app.command()(baseline.baseline)
app.command()(compare.compare)
app.command()(motion.motion)
app.command()(ablate.ablate)
app.command()(layers.layers)
app.command()(export.export)
app.command()(report.report)
app.command()(certify.certify)
app.command()(config.config)
app.command()(cost.cost)
app.command()(doctor.doctor)
app.command(hidden=True)(stage.stage)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    """Runs the command line; what the user can fix ends in one message and exit code 2."""
    try:
        app()
    except UserError as error:
        from rich.console import Console

        Console(stderr=True, soft_wrap=True, highlight=False).print(f"[bold red]error:[/] {_escaped(str(error))}")
        sys.exit(2)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
