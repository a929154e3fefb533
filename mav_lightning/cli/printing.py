"""Plain lines and lists of files on the terminal."""

from collections.abc import Sequence

import typer

from mav_lightning.common.counting import counted
from mav_lightning.common.terminal import one_line, visible

__all__ = ["echo", "list_files"]


def echo(message: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print plain text with control characters escaped.

    Args:
        message: The text.
        err: Whether it goes to standard error.
        nl: Whether a line feed is added.
    """
    typer.echo(visible(message), err=err, nl=nl)


def list_files(what: str, lines: Sequence[str], most: int | None = None, noun: str | None = None) -> None:
    """Print a counted list to standard error; print nothing if it is empty.

    Args:
        what: What the lines are, after their number, for example ``bad``.
        lines: One for each file.
        most: Lines to print at most. None prints all.
        noun: Noun between the number and `what`, in the singular. None for none.
    """
    if not lines:
        return
    number = counted(len(lines), noun) if noun else str(len(lines))
    echo(f"{number} {what}".rstrip() + ":", err=True)
    for line in lines[:most]:
        echo(f"  {one_line(line)}", err=True)
    if most is not None and len(lines) > most:
        echo(f"  … and {len(lines) - most} more", err=True)
