"""The caption table that comes with somebody's videos: ``file caption label group``, tab separated."""

from collections.abc import Collection
from pathlib import Path

from datamodules.annotations import Annotations, Row, name_some
from datamodules.caption_tables import read_table
from mav_lightning.common.errors import UserError, did_you_mean

__all__ = ["read_captions"]

_COLUMNS = ("file", "caption", "label", "group")


def read_captions(path: Path, files: Collection[str]) -> Annotations:
    """Reads the table for the given files, named relative to their folder with forward slashes.

    The first line names the columns; ``file`` and ``caption`` are needed, ``label`` and ``group`` are not, and columns
    of other names are passed over. There is no quoting: a caption may hold quotes, but no tab.

    Raises:
        UserError: No such table, no such columns, a row of another length, a file twice, or a file that is not there.
    """
    rows: dict[str, Row] = {}
    twice: list[str] = []
    for number, cells in read_table(path, "caption table", _COLUMNS, needed=2):
        if cells["file"] in rows:
            twice.append(f"{cells['file']} (line {number})")
        rows[cells["file"]] = Row(cells["caption"], cells.get("label", ""), cells.get("group", ""))
    if twice:
        raise UserError(
            f"{path}: {len(twice)} file(s) have more than one row: {name_some(twice)}; keep one row for each."
        )
    if unknown := [file for file in rows if file not in files]:
        hint = did_you_mean(unknown[0], files)
        raise UserError(
            f"{path}: {len(unknown)} row(s) name files that are not there: {name_some(unknown)}{hint}; "
            "correct or remove them; paths are relative to the folder that is packed."
        )
    return Annotations(rows)
