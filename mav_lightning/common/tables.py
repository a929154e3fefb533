"""Tables of users: TSV, CSV or JSON Lines, recognized by their content; the first line names the columns."""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from mav_lightning.common.errors import UserError, nearest
from mav_lightning.common.several_texts import first_text, listed_texts, plural, several_texts
from mav_lightning.common.terminal import shorten
from mav_lightning.common.text_files import read_lines

__all__ = ["Cells", "Line", "is_quoted", "is_table", "read_table", "tab_cell", "table_rows"]

Line = tuple[int, str]  # number from 1, text
_DELIMITERS = {"\t": "tabs", ",": "commas", ";": "semicolons"}
_SEPARATOR = re.compile(r'"?sep=.?"?[,;\s]*', re.IGNORECASE)  # line before the header, by which Excel splits columns
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_ARRAY = re.compile(r"\[\s*(?:[\[{\"]|$)")
# Words of which one is in the header of tables of texts, if the table has one.
_TEXTS = frozenset("caption captions text texts prompt prompts description descriptions sentence sentences".split())


class Cells(dict[str, str]):
    """Cells of a row by column, without surrounding white space; for a cell with a list, its first non-blank text.

    Args:
        values: Column → text or list of texts.
        columns: Columns that may hold lists, after the one that names the row. One that is missing is read from its
            plural, if that is one of them.

    Attributes:
        several: Column → the texts of its list; see `several_texts`.

    Raises:
        UserError: A value is neither text nor a list of texts, or is a list of several where one text is needed.
    """

    def __init__(self, values: Mapping[str, Any], columns: Sequence[str]) -> None:
        super().__init__((name, value.strip()) for name, value in values.items() if name not in columns)
        self.several = dict[str, list[str]]()
        for name in columns:
            own = {field: values[field] for field in (name, plural(name)) if field in columns and field in values}
            if name == columns[0] and len(texts := several_texts(own, name)) > 1:
                raise UserError(f"`{name}` must be one text, got {len(texts)}; write a row for each")
            if own:
                self[name] = first_text(own, name) or ""
                self.several.update({name: texts} if (texts := several_texts(own, name)) else {})


def is_table(first: str, columns: Sequence[str]) -> bool:
    """Return whether the first line of a file is the header of a table; columns may have any order and case.

    Args:
        first: First line that is not blank.
        columns: Known columns; the first alone is a header, too.
    """
    if first.lstrip().startswith("{") or _ARRAY.match(first.lstrip()) or _SEPARATOR.fullmatch(first.strip()):
        return True
    cells = _header(first, columns)[1]
    if cells == [columns[0]] or (len(cells) > 1 and not {*cells}.isdisjoint(columns)):
        return True
    names = [
        name.strip().strip('"').casefold() for name in re.split(r"[\t,;|]", first)
    ]  # of other columns, for an error
    return any(name in _TEXTS or ("_" in name and not _TEXTS.isdisjoint(re.split(r"\W|_", name))) for name in names)


def is_quoted(text: str) -> bool:
    """Return whether a text is in quotation marks as a whole, as spreadsheets write cells: ``"a ""big"" cat"``."""
    return _QUOTED.fullmatch(text) is not None


def tab_cell(text: str) -> str:
    """Return a text without tabs and line breaks as a cell that is read as this text; see `read_table`."""
    return '"' + text.replace('"', '""') + '"' if text.lstrip().startswith('"') else text


def read_table(
    path: Path, what: str, columns: Sequence[str], needed: int, comment: str | None = None
) -> Iterator[tuple[int, Cells]]:
    """Yield the number of each row's line, from 1, and its cells.

    Columns are found by name, whatever their order and case; other columns are yielded, too. A cell may hold a list of
    texts, also as JSON, Python or NumPy writes it within a cell. A cell that is quoted as a whole loses its quotation
    marks; in a table with tabs, a caption may hold others, but no tab and no line break.

    Args:
        path: The table.
        what: Name of such tables, for messages.
        columns: Known columns, required ones first.
        needed: Number of required columns.
        comment: Prefix of lines to skip; the header may then begin with ``#``. None skips no line.

    Raises:
        UserError: The table is missing, is not UTF-8, has no rows or lacks a required column, or a row has another
            length.
    """
    shown = " ".join(columns)
    lines = read_lines(path, f"no such {what}; give one with the columns {shown}, tab separated")
    kept = ((number, line) for number, line in lines if comment is None or not line.startswith(comment))
    rows = table_rows(path, kept, columns, needed)
    if (first := next(rows, None)) is None:
        raise UserError(f"{path}: holds no rows; write one for each {columns[0]} under the header {shown}.")
    yield first
    yield from rows


def table_rows(path: Path, lines: Iterable[Line], columns: Sequence[str], needed: int) -> Iterator[tuple[int, Cells]]:
    """Yield the rows of a table that is given by its lines; see `read_table`.

    Args:
        path: File that the lines come from, for messages.
        lines: Number and text of each line.
        columns: Known columns, required ones first.
        needed: Number of required columns.
    """
    lines = iter(lines)
    filled = (one for one in lines if one[1].strip())
    first = next(filled, None)
    if first is not None and _SEPARATOR.fullmatch(first[1].strip()):
        first = next(filled, None)
    if first is not None and first[1].lstrip().startswith("["):
        raise UserError(f"{path}: is a JSON array; write one object on each line, for example with `jq -c '.[]'`.")
    if first is not None:
        reader = _json_rows if first[1].lstrip().startswith("{") else _cell_rows
        yield from reader(path, first, lines, columns, needed)


def _cell_rows(
    path: Path, first: Line, lines: Iterable[Line], columns: Sequence[str], needed: int
) -> Iterator[tuple[int, Cells]]:
    delimiter, header = _header(first[1], columns)
    _check_header(path, header, columns, needed)
    split = _tab_rows(path, lines) if delimiter == "\t" else _csv_rows(path, lines, delimiter)
    for number, cells in split:
        if len(cells) != len(header):
            raise UserError(
                f"{path}: line {number} has {len(cells)} columns, its header {len(header)}; separate by "
                f"{_DELIMITERS[delimiter]}" + ("." if delimiter == "\t" else ", and quote texts that hold one.")
            )
        named = zip(header, map(str.strip, cells), strict=True)
        try:
            row = Cells({name: listed_texts(cell) if name in columns else cell for name, cell in named}, columns)
        except UserError as error:
            raise UserError(f"{path}: line {number}: {error}") from error
        yield number, row


def _tab_rows(path: Path, lines: Iterable[Line]) -> Iterator[tuple[int, list[str]]]:
    for number, line in lines:
        if any(cell.lstrip().startswith('"') and cell.count('"') % 2 for cell in line.split("\t")):
            raise UserError(
                f'{path}: line {number} has a text that begins with " and does not end on this line; write each '
                'text on one line, and if it begins with " as CSV does: in quotation marks, those within doubled.'
            )
        if line.strip():
            yield number, _tab_cells(line)


def _tab_cells(line: str) -> list[str]:
    cells = map(str.strip, line.split("\t"))
    return [cell[1:-1].replace('""', '"') if is_quoted(cell) else cell for cell in cells]


def _csv_rows(path: Path, lines: Iterable[Line], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    read = [0]

    def texts() -> Iterator[str]:
        for number, line in lines:
            read[0] = number
            yield line + "\n"

    try:
        for cells in csv.reader(texts(), delimiter=delimiter, strict=True, skipinitialspace=True):
            if any(cell.strip() for cell in cells):
                yield read[0], cells
    except csv.Error as error:
        raise UserError(f'{path}: line {read[0]} is not CSV ({error}); quote texts with ", doubled inside.') from error


def _json_rows(
    path: Path, first: Line, lines: Iterable[Line], columns: Sequence[str], needed: int
) -> Iterator[tuple[int, Cells]]:
    for number, line in chain([first], lines):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise UserError("is not an object")
            values = {_canonical(name, columns): value for name, value in row.items()}
            if len(values) < len(row):
                raise UserError(f"names a column twice, in capitals and without: {', '.join(row)}")
            cells = Cells({name: value for name, value in values.items() if name in columns}, columns)
        except (ValueError, RecursionError, UserError) as error:
            raise UserError(
                f"{path}: line {number} is not JSON Lines ({shorten(str(error))}); write one object on each line, such "
                f'as {{"{columns[0]}": "…"}}.'
            ) from error
        if missing := [name for name in columns[:needed] if name not in cells]:
            raise UserError(f"{path}: line {number} has no `{missing[0]}`.", suggestion=nearest(missing[0], values))
        yield number, cells


def _header(line: str, columns: Sequence[str]) -> tuple[str, list[str]]:
    """Return the delimiter that gives most of the known columns, and the columns."""
    found = {}
    for delimiter in _DELIMITERS:
        try:
            reader = csv.reader([line], delimiter=delimiter, skipinitialspace=True)
            cells = _tab_cells(line) if delimiter == "\t" else next(reader, [""])
        except csv.Error:
            continue
        found[delimiter] = [_canonical(cell.strip(), columns) for cell in cells]
    best = max(found, key=lambda delimiter: len({*found[delimiter]} & {*columns}))
    return best, found[best]


def _canonical(name: str, columns: Sequence[str]) -> str:
    plain = name.removeprefix("#").strip().casefold()
    return plain if plain in columns else name


def _check_header(path: Path, header: Sequence[str], columns: Sequence[str], needed: int) -> None:
    shown = " ".join(columns)
    for column in columns[:needed]:
        if not {column, plural(column) if plural(column) in columns else column} & {*header}:
            raise UserError(
                f"{path}: has no column `{column}`; the first line must name columns, tab separated: {shown}.",
                suggestion=nearest(column, header),
            )
    if twice := [name for name in columns if header.count(name) > 1]:
        raise UserError(f"{path}: has the column `{twice[0]}` twice; remove one.")
