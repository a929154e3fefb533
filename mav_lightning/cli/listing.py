"""How files that something is wrong with are told of: on the error stream, counted and named."""

from collections.abc import Sequence

import typer

__all__ = ["list_files"]


def list_files(what: str, lines: Sequence[str], most: int | None = None) -> None:
    """Prints how many lines there are and of what, then the first `most` of them, or all; nothing for no lines."""
    if not lines:
        return
    typer.echo(f"{len(lines)} {what}:", err=True)
    for line in lines[:most]:
        typer.echo(f"  {line}", err=True)
    if most is not None and len(lines) > most:
        typer.echo(f"  … and {len(lines) - most} more", err=True)
