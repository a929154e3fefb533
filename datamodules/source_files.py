"""Files of a folder that are packed, with their annotations."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datamodules.annotations import Annotations, Annotator, Row, name_some
from datamodules.captions import read_captions
from mav_lightning.common.errors import UserError
from mav_lightning.common.text_files import composed
from mav_lightning.media.listing import LISTED_TWICE, Listing, describe_unused, list_folder
from mav_lightning.shards.samples import IMAGE_SUFFIXES, VIDEO_SUFFIXES

__all__ = ["SourceFile", "find_files"]


@dataclass(frozen=True)
class SourceFile:
    """One file to pack.

    Attributes:
        path: Path of the file.
        name: Path relative to the source folder, with forward slashes, in Unicode form NFC.
        row: Annotation of the file.
    """

    path: Path
    name: str
    row: Row

    @property
    def suffix(self) -> str:
        """Suffix without dot, in lower case."""
        return self.path.suffix[1:].lower()

    def sample(self, suffix: str, data: bytes, **facts: Any) -> dict[str, bytes]:
        """Return the members of a sample made from this file, with more facts about it."""
        content = {"file": self.name, **self.row.facts(), **facts}
        members = {suffix: data, "json": json.dumps(content).encode()}
        return members | ({"txt": self.row.caption.encode()} if self.row.caption else {})


def find_files(src: Path, captions: Path | Annotator) -> tuple[list[SourceFile], Annotations, dict[str, list[str]]]:
    """Find the files of a folder to pack; see `datamodules.packing.pack`.

    Args:
        src: The folder.
        captions: Caption table, or a function from file names to annotations.

    Returns:
        The files to pack, sorted by name; the annotations; and reason → names of what is not used.

    Raises:
        UserError: The folder is missing or holds nothing to pack, or annotations do not fit.
    """
    if not src.is_dir():
        raise UserError(f"{src}: no such folder; give the folder that holds the videos.")
    listing = list_folder(src)
    paths = _paths(src, listing)
    names = sorted(paths)
    unread = sorted(composed(listing.name(path)) for path in set(listing.files) - set(paths.values()))
    if callable(captions):
        known, table = captions(names), None
    else:
        known, table = read_captions(captions, [*names, *unread]), captions.resolve()
        if wrong := known.rows.keys() & set(unread):
            raise UserError(
                f"{captions}: {len(wrong)} row(s) name files of formats that are not read: {name_some(sorted(wrong))}; "
                "convert them to .mp4 or .png."
            )
    unused = {reason: list(left_out) for reason, left_out in listing.unused.items()}
    if others := [name for name in unread if (src / name).resolve() != table]:
        unused["neither a video nor an image of a format that is read"] = others
    known_as = {path: name for name, path in paths.items()}
    copies = {known_as[link]: known_as.get(file) for link, file in listing.copies.items() if link in known_as}
    twice = {name for name, original in copies.items() if original is not None and name not in known.rows}
    if twice:
        unused[LISTED_TWICE] = [*unused.get(LISTED_TWICE, []), *sorted(twice)]
    files = [
        SourceFile(paths[name], name, _row(known, name, copies.get(name)))
        for name in names
        if name not in twice and (known.splits is None or name in known.splits)
    ]
    return files, known, unused


def _paths(src: Path, listing: Listing) -> dict[str, Path]:
    """Return the videos and images of a folder by their names in Unicode form NFC."""
    found = listing.with_suffix(*VIDEO_SUFFIXES, *IMAGE_SUFFIXES)
    paths = {composed(listing.name(path)): path for path in found}
    if twice := sorted({composed(listing.name(path)) for path in set(found) - set(paths.values())}):
        raise UserError(
            f"{src}: {len(twice)} name(s) are used twice, with accents as characters of their own and without: "
            f"{name_some(twice)}; rename one file of each."
        )
    if not paths:
        suffixes, unused = ", ".join((*VIDEO_SUFFIXES, *IMAGE_SUFFIXES)), describe_unused(listing.unused)
        raise UserError(
            f"{src}: holds no video or image ({suffixes}); give the folder of the videos." + (unused and f" {unused}.")
        )
    return paths


def _row(known: Annotations, name: str, original: str | None) -> Row:
    """Return the annotation of a file; a link to another file is of its group, so that both are in one split."""
    row = known.rows.get(name, Row())
    if original is None or row.group:
        return row
    return replace(row, group=known.rows.get(original, Row()).group or original)
