"""Tab-separated tables of users: the first line names the columns, and there is no quoting."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mav_lightning.common.errors import UserError, nearest

__all__ = ["read_table", "read_text"]


def read_table(
    path: Path, what: str, columns: Sequence[str], needed: int, comment: str | None = None
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number of each line that is not blank, from 1, and its cells by column.

    Args:
        path: The table.
        what: Name of such tables, for messages.
        columns: Known columns, required ones first; other columns are yielded, too.
        needed: Number of required columns.
        comment: Prefix of lines to skip; the header may then begin with ``#``. None skips no line.

    Raises:
        UserError: The table is missing, is not UTF-8, has no rows or lacks a required column, or a row has another
            length.
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
                f"{path}: has no column `{column}`; the first line must name columns, tab separated: {shown}.",
                suggestion=nearest(column, header),
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
    """Read a UTF-8 text file.

    Args:
        path: The file.
        missing: Message for a missing file, after its path.

    Raises:
        UserError: The file is missing or not UTF-8.
    """
    if not path.is_file():
        raise UserError(f"{path}: {missing}.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error}); save it as UTF-8.") from error
