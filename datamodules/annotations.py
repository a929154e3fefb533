"""Annotations of the files in a folder: captions, labels and the official split, whatever their format."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Annotations", "Annotator", "Row", "name_some"]

_NAMED = 5  # files listed in a message


@dataclass(frozen=True)
class Row:
    """Annotation of one file.

    Attributes:
        caption: Text; empty if it has none.
        label: Class; empty if it has none.
        group: Source video it was cut from. Files of one group are not independent and stay in one split. Empty if the
            file is independent.
        captions: All of its texts, `caption` included; empty unless it has several.
    """

    caption: str = ""
    label: str = ""
    group: str = ""
    captions: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """Return the attributes as plain data; `caption` and `captions` only if there are any."""
        optional = ("caption", "captions")
        return {name: value for name, value in asdict(self).items() if name not in optional or value}


@dataclass(frozen=True)
class Annotations:
    """Annotations of a folder; files are named relative to it, with forward slashes.

    Attributes:
        rows: File → annotation. A file without a row has no text.
        splits: File → ``train`` or ``val``; files without an entry are not packed. None if there is no official split.
        left_out: Reason → existing files that are not in `splits`.
        absent: Files that the split lists but the folder lacks.
    """

    rows: Mapping[str, Row]
    splits: Mapping[str, str] | None = None
    left_out: dict[str, list[str]] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)


Annotator = Callable[[Sequence[str]], Annotations]  # takes the names of the existing files


def name_some(names: Collection[str]) -> str:
    """Return the first few names, for a message."""
    return ", ".join(list(names)[:_NAMED]) + (", …" if len(names) > _NAMED else "")
