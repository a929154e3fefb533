"""The caption table that comes with somebody's videos: ``file caption label group``, tab separated."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from mav_lightning.common.errors import UserError, did_you_mean

__all__ = ["Row", "read_captions"]

_COLUMNS = ("file", "caption", "label", "group")
_NAMED = 5  # offenders listed in a message


@dataclass(frozen=True)
class Row:
    """What the table says of one file.

    Attributes:
        caption: Its text; empty where there is none.
        label: Its class; empty where there is none.
        group: What it was cut from: files of one group are not independent and stay in one split. Empty: on its own.
    """

    caption: str = ""
    label: str = ""
    group: str = ""


def read_captions(path: Path, files: Collection[str]) -> dict[str, Row]:
    """Reads the table for the given files, named relative to their folder with forward slashes.

    The first line names the columns; ``file`` and ``caption`` are needed, ``label`` and ``group`` are not, and columns
    of other names are passed over. There is no quoting: a caption may hold quotes, but no tab.

    Raises:
        UserError: No such table, no such columns, a row of another length, a file twice, or a file that is not there.
    """
    lines = _lines(path)
    header = lines[0].split("\t")
    for column in _COLUMNS[:2]:
        if column not in header:
            raise UserError(
                f"{path}: has no column `{column}`{did_you_mean(column, header)}; the first line must name columns, "
                f"tab separated: {' '.join(_COLUMNS)}."
            )
    rows: dict[str, Row] = {}
    twice: list[str] = []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) != len(header):
            raise UserError(
                f"{path}: line {number} has {len(cells)} columns, its header {len(header)}; separate by tabs."
            )
        named = dict(zip(header, (cell.strip() for cell in cells), strict=True))
        if named["file"] in rows:
            twice.append(f"{named['file']} (line {number})")
        rows[named["file"]] = Row(**{column: named.get(column, "") for column in _COLUMNS[1:]})
    if twice:
        raise UserError(f"{path}: {len(twice)} file(s) have more than one row: {_some(twice)}; keep one row for each.")
    if unknown := [file for file in rows if file not in files]:
        hint = did_you_mean(unknown[0], files)
        raise UserError(
            f"{path}: {len(unknown)} row(s) name files that are not there: {_some(unknown)}{hint}; "
            "correct or remove them; paths are relative to the folder that is packed."
        )
    return rows


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise UserError(
            f"{path}: no such caption table; give one with the columns {' '.join(_COLUMNS)}, tab separated."
        )
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error}); save the table as UTF-8.") from error
    if len(lines) < 2:
        raise UserError(f"{path}: holds no rows; write one for each file under the header {' '.join(_COLUMNS)}.")
    return lines


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
