"""``mav``: the command line, where configs are read and everything is wired."""

import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from mav_lightning import __version__
from mav_lightning.cli import (
    ablate,
    baseline,
    certify,
    checkpoint,
    compare,
    config,
    convert,
    cost,
    data,
    demo,
    doctor,
    evaluate,
    generate,
    inspect,
    layers,
    motion,
    pipeline,
    rate,
    report,
    stage,
    train,
    weights,
)
from mav_lightning.cli.help_pages import RootGroup, lay_out_help
from mav_lightning.cli.printing import echo
from mav_lightning.common.errors import UserError
from mav_lightning.common.machine import limit_busy_waiting
from mav_lightning.common.machine_faults import fault_message
from mav_lightning.common.shadowing import check_not_shadowed

__all__ = ["app", "command_line", "main"]

app = typer.Typer(
    name="mav",
    no_args_is_help=True,
    cls=RootGroup,
    rich_markup_mode=None,
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
app.command(cls=rate.RateCommand)(rate.rate)
app.command()(ablate.ablate)
app.command()(layers.layers)
app.add_typer(checkpoint.app, name="checkpoint")
app.command()(convert.convert)
app.command()(report.report)
app.command()(certify.certify)
app.command()(config.config)
app.command()(cost.cost)
app.command()(doctor.doctor)
app.command(hidden=True)(stage.stage)


@app.command()
def version() -> None:
    """Print the version."""
    echo(__version__)


def _print_version(requested: bool) -> None:
    if requested:
        version()
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options that come before a command."""


def command_line() -> TyperGroup:
    """Build the command with all its subcommands; paragraphs of their help flow at any terminal width."""
    command = typer.main.get_group(app)
    lay_out_help(command)
    return command


def main() -> None:
    """Run the command line. Errors that the user can fix end in one message and exit code 2."""
    limit_busy_waiting()
    command = None
    try:
        check_not_shadowed()
        command = command_line()
        command()
    except UserError as error:
        _fail(error.text(_option(command, error.argument, sys.argv[1:])))
    except Exception as error:
        message = fault_message(error)
        if message is None:
            raise
        _fail(message)


def _fail(message: str) -> NoReturn:
    from mav_lightning.common.console import SafeConsole, styled

    console = SafeConsole(stderr=True, soft_wrap=True, highlight=False)
    console.print(styled(("error:", "bold red"), f" {message}"))
    sys.exit(2)


def _option(command: TyperCommand | TyperGroup | None, argument: str | None, words: Sequence[str]) -> str | None:
    """Return the option of the invoked command that sets an argument, or the argument if there is none."""
    for word in words:
        command = getattr(command, "commands", {}).get(word, command)
    option = f"--{(argument or '').replace('_', '-')}"
    for parameter in command.params if command else ():
        if parameter.param_type_name == "option" and (parameter.name == argument or option in parameter.opts):
            return max(parameter.opts, key=len)
    return argument
