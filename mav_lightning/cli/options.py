"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from mav_lightning.common.allowed import allow
from mav_lightning.common.output import OutputKind, check_output

__all__ = ["Allow", "output"]


def _allowed(packages: list[str] | None) -> list[str]:
    """Let this process name the classes of the packages; see `mav_lightning.common.allowed`."""
    allow(packages or ())
    return packages or []


Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        callback=_allowed,
        help="Package of your own whose public classes may be named; repeatable.",
        show_default=False,
    ),
]


def output(kind: OutputKind) -> Callable[[Path | None], Path | None]:
    """Return a Typer callback that checks an output path while the command line is parsed; see `check_output`."""

    def checked(out: Path | None) -> Path | None:
        return None if out is None else check_output(out, kind)

    return checked
