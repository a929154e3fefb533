"""Parsing of options that several commands share."""

from collections.abc import Callable
from pathlib import Path

from mav_lightning.common.output import OutputKind, check_output

__all__ = ["output"]


def output(kind: OutputKind) -> Callable[[Path | None], Path | None]:
    """Return a Typer callback that checks an output path while the command line is parsed; see `check_output`."""

    def checked(out: Path | None) -> Path | None:
        return None if out is None else check_output(out, kind)

    return checked
