"""Caption tables of a user's own videos: ``file caption label group``, as TSV, CSV or JSON Lines."""

from collections.abc import Collection
from pathlib import Path

from datamodules.annotations import Annotations, Row, name_some
from mav_lightning.common.errors import UserError, nearest
from mav_lightning.common.tables import read_table

__all__ = ["read_captions"]

_COLUMNS = ("file", "caption", "label", "group", "captions")


def read_captions(path: Path, files: Collection[str]) -> Annotations:
    """Read a caption table.

    The first line names the columns; ``file`` and ``caption`` or ``captions`` are required, ``label`` and ``group`` are
    optional, and other columns are ignored; see `read_table`. Of a list of captions, all are kept. Names match whether
    accents are composed or separate characters.

    Args:
        path: The table.
        files: Existing files, named relative to their folder with forward slashes, in Unicode form NFC.

    Raises:
        UserError: The table or a column is missing, a row has another length, or a file is listed twice or is missing.
    """
    known = set(files)
    rows: dict[str, Row] = {}
    twice: list[str] = []
    for number, cells in read_table(path, "caption table", _COLUMNS, needed=2):
        file = cells["file"]
        if file in rows:
            twice.append(f"{file} (line {number})")
        several = tuple(cells.several.get("caption", ()))
        rows[file] = Row(
            cells["caption"], cells.get("label", ""), cells.get("group", ""), several if len(several) > 1 else ()
        )
    if twice:
        raise UserError(
            f"{path}: {len(twice)} file(s) have more than one row: {name_some(twice)}; keep one row for each, with a "
            'list where a file has several captions, such as ["a cat", "a pet"].'
        )
    if unknown := [file for file in rows if file not in known]:
        raise UserError(
            f"{path}: {len(unknown)} row(s) name missing files: {name_some(unknown)}; fix or remove them; paths are "
            "relative to the packed folder.",
            suggestion=nearest(unknown[0], files),
        )
    return Annotations(rows)
