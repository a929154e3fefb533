"""The console of the command line: what it prints is shown as it is, whatever files it comes from.

Markup such as ``[red]`` and control characters in names, captions and metadata are shown, never interpreted, in lines,
tables and progress bars alike. A style is given by a `rich.text.Text`, for example from `styled`.
"""

from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from mav_lightning.common.terminal import visible

__all__ = ["SafeConsole", "styled"]

_UNLIMITED = 10_000  # columns


class SafeConsole(Console):
    """A Rich console that escapes control characters and markup in untrusted text.

    Args:
        stderr: Whether it writes to standard error.
        file: File to write to. None takes standard output.
        **options: Further options of `rich.console.Console`.
    """

    def __init__(self, *, stderr: bool = False, file: IO[str] | None = None, **options: Any) -> None:
        super().__init__(stderr=stderr, file=file, **{**options, "markup": False, "emoji": False})

    def print_table(self, table: Table) -> None:
        """Print a table of plain cells; if it does not fit, each row is a wrapped line, so that nothing is cut off.

        Args:
            table: The table; the first column names the rows.
        """
        unlimited = self.options.update(max_width=_UNLIMITED)
        if self.measure(table, options=unlimited).maximum <= self.width:
            self.print(table)
            return
        heads = [str(column.header) for column in table.columns[1:]]
        rows = zip(*(map(_as_text, column.cells) for column in table.columns), strict=True)
        for name, *cells in rows:
            shown = [
                Text.assemble(f"{head} " * bool(head), cell) for head, cell in zip(heads, cells, strict=True) if cell
            ]
            self.print(Text.assemble(name, ": ", Text(", ").join(shown)), highlight=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render anything, with the control characters of its text escaped; Rich calls this for all that it draws."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


def _as_text(cell: RenderableType) -> Text:
    return cell if isinstance(cell, Text) else Text(str(cell))


def styled(*parts: str | Text | tuple[str, str]) -> Text:
    """Return text of several parts; a pair is a text and its style, for example ``("failed:", "red")``."""
    return Text.assemble(*parts)
