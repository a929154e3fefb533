"""Prompts with what is known of their content, and the files that list them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import check, located
from mav_lightning.common.shapes_world.scene import GROUNDS, Scene, all_scenes, caption, render
from mav_lightning.common.tables import Line, is_quoted, is_table, tab_cell, table_rows
from mav_lightning.common.text_files import plain_text, read_lines
from mav_lightning.common.whole_file import whole_file

__all__ = ["Prompt", "read_prompts", "shapes_prompts", "shapes_stills", "write_prompts"]

_HEADER = "id\tprompt"
_COLUMNS = ("prompt", "id")
_MISSING = "no such file; give one with one prompt per line"
_MOST_PROMPTS, _LONGEST_LINE = 100_000, 40_000  # prompts of a file, bytes of a line


@dataclass(frozen=True)
class Prompt:
    """A text and the known attributes of its content.

    Attributes:
        text: The text, in NFC.
        attributes: For Shapes World: colour, shape, ground. For a prompt of a table: `prompt_id`. Empty otherwise.

    Raises:
        UserError: The text is none, or has a NUL or half of a character, as a command line that is not UTF-8 has.
    """

    text: str
    attributes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        text = check(self.text, str, "prompt")
        with located("prompt"):
            object.__setattr__(self, "text", plain_text(text) or "")


def read_prompts(file: Path) -> list[Prompt]:
    """Read prompts, one per line, or a table with the columns ``id`` and ``prompt`` (TSV, CSV or JSON Lines).

    Blank lines are skipped. A table is recognized by its first line, whatever the order and case of its columns.

    Args:
        file: UTF-8 text file with at most 100,000 prompts.

    Raises:
        UserError: If the file cannot be read as text, has no prompts or too many, or a table row has no id or prompt.
    """
    lines = ((number, line) for number, line in read_lines(file, _MISSING, _LONGEST_LINE) if line.strip())
    first = next(lines, None)
    if first is None:
        raise UserError(f"{file}: has no prompts; write one per line.")
    found = (_rows if is_table(first[1], _COLUMNS) else _plain)(file, chain([first], lines))
    prompts = list(islice(found, _MOST_PROMPTS + 1))
    if len(prompts) > _MOST_PROMPTS:
        raise UserError(f"{file}: has more than {_MOST_PROMPTS} prompts; split it into several files.")
    if not prompts:
        raise UserError(f"{file}: has no prompts; write one per line.")
    return prompts


def write_prompts(file: Path, prompts: Iterable[tuple[str, str]]) -> None:
    """Write a table of ids and prompts that `read_prompts` reads.

    Args:
        file: The new file.
        prompts: Pairs (id, prompt), without tabs and line breaks.
    """
    with whole_file(file) as partial:
        rows = ("\t".join(map(tab_cell, row)) for row in prompts)
        partial.write_text("\n".join([_HEADER, *rows, ""]), encoding="utf-8", newline="\n")


def shapes_prompts(per_pair: int = 1) -> list[Prompt]:
    """Return prompts for every color-shape pair of Shapes World, with varying grounds and phrasings.

    They include the pairs that training clips never show.

    Args:
        per_pair: Prompts per pair.
    """
    pairs = list(dict.fromkeys((scene.colour, scene.shape) for scene in all_scenes()))
    scenes = [
        Scene(colour, shape, GROUNDS[(number + turn) % len(GROUNDS)])
        for turn in range(per_pair)
        for number, (colour, shape) in enumerate(pairs)
    ]
    return [Prompt(caption(scene, number), scene.attributes()) for number, scene in enumerate(scenes)]


def shapes_stills(size: int, per_pair: int = 1) -> tuple[NDArray[np.uint8], list[str]]:
    """Render the scenes of `shapes_prompts` as centered stills.

    Args:
        size: Side of the stills in pixels.
        per_pair: Stills per color-shape pair.

    Returns:
        Stills, shape (N, size, size, 3), uint8, and the name of the shape in each.
    """
    scenes = [Scene(**prompt.attributes) for prompt in shapes_prompts(per_pair)]
    stills = [render(scene, np.full((1, 2), 0.5), size)[0] for scene in scenes]
    return np.stack(stills), [scene.shape for scene in scenes]


def _plain(file: Path, lines: Iterable[Line]) -> Iterator[Prompt]:
    for number, line in lines:
        if "\t" in line.strip():
            raise UserError(
                f"{file}: line {number} has a tab, but the first line names no columns; begin it with `id<TAB>prompt`, "
                "or write one prompt per line."
            )
        if is_quoted(line.strip()):
            raise UserError(
                f"{file}: line {number} is in quotation marks, as in CSV, but the first line names no columns; begin "
                "it with the line `prompt`, or remove the marks."
            )
        yield Prompt(line.strip())


def _rows(file: Path, lines: Iterable[Line]) -> Iterator[Prompt]:
    for number, cells in table_rows(file, lines, _COLUMNS, needed=1):
        if not all(cells[name] for name in _COLUMNS if name in cells):
            raise UserError(f"{file}: line {number} lacks its id or its prompt; write both.")
        yield Prompt(cells["prompt"], {"prompt_id": cells["id"]} if "id" in cells else {})
