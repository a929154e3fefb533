"""Help pages as plain text: readable at any width of the terminal, and in a pipe."""

import shutil
from inspect import cleandoc
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

__all__ = ["RootGroup", "lay_out_help"]

_WIDEST = 110  # columns
_AS_IT_STANDS = "\b"  # first line of a paragraph whose lines are not wrapped


class RootGroup(TyperGroup):
    """The command ``mav``; removes the prefix "Value error" from messages about values of options."""

    def invoke(self, ctx: Any) -> Any:
        """Run a subcommand."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise


_Base: Any = typer.Context.formatter_class


class _Formatter(_Base):  # type: ignore[misc]
    """Leaves most of a narrow terminal to the texts next to the names of options."""

    def write_dl(self, rows: Any, col_max: int = 30, col_spacing: int = 2) -> None:
        super().write_dl(rows, max(min(col_max, self.width * 3 // 8), 4), col_spacing)


class _Context(typer.Context):
    formatter_class = _Formatter


def lay_out_help(command: TyperCommand | TyperGroup) -> None:
    """Let paragraphs of a command's help, and of its subcommands', flow at the width of the terminal.

    Lines of a paragraph, which are wrapped in the source, are joined; examples stay lines of their own. In the list of
    commands, every summary is shown in full.

    Args:
        command: The command; changed in place.
    """
    command.context_class = _Context
    command.context_settings["terminal_width"] = min(shutil.get_terminal_size().columns, _WIDEST)
    paragraphs = [_laid_out(paragraph) for paragraph in cleandoc(command.help or "").split("\n\n")]
    command.help = "\n\n".join(paragraphs)
    command.short_help = paragraphs[0]
    for subcommand in getattr(command, "commands", {}).values():
        lay_out_help(subcommand)


def _laid_out(paragraph: str) -> str:
    lines = [line.strip() for line in paragraph.strip().split("\n")]
    if any(line.startswith(("mav ", "Example: mav ")) for line in lines):
        return "\n".join([_AS_IT_STANDS, *lines])
    return " ".join(lines)
