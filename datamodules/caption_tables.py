"""Tab-separated tables as people bring them: the first line names the columns, and there is no quoting."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mav_lightning.common.errors import UserError, did_you_mean

__all__ = ["read_table", "read_text"]


def read_table(
    path: Path, what: str, columns: Sequence[str], needed: int, comment: str | None = None
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields the number of each line that is not blank, from 1, and its cells by column.

    Args:
        path: The table.
        what: Name of such tables, for messages.
        columns: Those that a user is told of.
        needed: How many of them, from the first, must be there. Columns of other names are yielded too.
        comment: Lines that begin so are passed over, and the header may begin with ``#``; None where any line counts.

    Raises:
        UserError: No such table, not UTF-8, no rows, a needed column missing, or a row of another length.
    """
    shown = " ".join(columns)
    text = read_text(path, f"no such {what}; give one with the columns {shown}, tab separated")
    numbered = list(enumerate(text.splitlines(), start=1))
    if comment is not None:
        numbered = [(number, line) for number, line in numbered if not line.startswith(comment)]
    if len(numbered) < 2:
        raise UserError(f"{path}: holds no rows; write one for each {columns[0]} under the header {shown}.")
    first = numbered[0][1] if comment is None else numbered[0][1].removeprefix("#")
    header = first.split("\t")
    for column in columns[:needed]:
        if column not in header:
            raise UserError(
                f"{path}: has no column `{column}`{did_you_mean(column, header)}; the first line must name columns, "
                f"tab separated: {shown}."
            )
    for number, line in numbered[1:]:
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) != len(header):
            raise UserError(
                f"{path}: line {number} has {len(cells)} columns, its header {len(header)}; separate by tabs."
            )
        yield number, dict(zip(header, (cell.strip() for cell in cells), strict=True))


def read_text(path: Path, missing: str) -> str:
    """The contents of a text file; `missing` says what to do where there is no such file.

    Raises:
        UserError: No such file, or not UTF-8.
    """
    if not path.is_file():
        raise UserError(f"{path}: {missing}.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error}); save it as UTF-8.") from error
