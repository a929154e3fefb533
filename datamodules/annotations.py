"""What is known of the files of a folder, whoever wrote it down: their texts, and the split where one is official."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Annotations", "Annotator", "Row", "name_some"]

_NAMED = 5  # files listed in a message


@dataclass(frozen=True)
class Row:
    """What is known of one file.

    Attributes:
        caption: Its text; empty where there is none.
        label: Its class; empty where there is none.
        group: What it was cut from: files of one group are not independent and stay in one split. Empty: on its own.
        captions: All of its texts, `caption` among them, where it has several.
    """

    caption: str = ""
    label: str = ""
    group: str = ""
    captions: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """The attributes as plain data; `captions` only where there are any."""
        return {name: value for name, value in asdict(self).items() if name != "captions" or value}


@dataclass(frozen=True)
class Annotations:
    """What is known of the files of a folder; files are named relative to it, with forward slashes.

    Attributes:
        rows: File → what is known of it. A file without a row has no text.
        splits: File → ``train`` or ``val``; files without an entry are not to be packed. None: no split is official.
        left_out: Reason → files that are there but not in `splits`.
        absent: What the split lists, but the folder lacks.
    """

    rows: Mapping[str, Row]
    splits: Mapping[str, str] | None = None
    left_out: dict[str, list[str]] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)


Annotator = Callable[[Sequence[str]], Annotations]  # given the files that are there


def name_some(names: Collection[str]) -> str:
    """The first few names, for a message."""
    return ", ".join(list(names)[:_NAMED]) + (", …" if len(names) > _NAMED else "")
