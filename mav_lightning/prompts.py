"""Prompts with what is known of their content, and the files that list them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mav_lightning.common.errors import UserError
from mav_lightning.common.shapes_world.scene import GROUNDS, Scene, all_scenes, caption, render
from mav_lightning.common.whole_file import whole_file

__all__ = ["Prompt", "read_prompts", "shapes_prompts", "shapes_stills", "write_prompts"]

_HEADER = "id\tprompt"
_MOST_PROMPTS, _MOST_LINE = 100_000, 10_000  # prompts of a file, characters of a line


@dataclass(frozen=True)
class Prompt:
    """A text and the known attributes of its content.

    Attributes:
        text: The text.
        attributes: For Shapes World: colour, shape, ground. For a prompt of a table: `prompt_id`. Empty otherwise.
    """

    text: str
    attributes: dict[str, str] = field(default_factory=dict)


def read_prompts(file: Path) -> list[Prompt]:
    """Read prompts, one per line, or a table with the header ``id<TAB>prompt``. Blank lines are skipped.

    Args:
        file: UTF-8 text file with at most 100,000 prompts.

    Raises:
        UserError: If the file cannot be read as text, has no prompts or too many, or a table row has no id or prompt.
    """
    try:
        with file.open(encoding="utf-8-sig") as text:
            lines = iter(lambda: text.readline(_MOST_LINE + 1), "")  # bounded, whatever the file is
            prompts = list(_prompts(file, lines))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read as text ({error}).") from error
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
        partial.write_text("\n".join([_HEADER, *map("\t".join, prompts), ""]), encoding="utf-8", newline="\n")


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


def _prompts(file: Path, lines: Iterable[str]) -> Iterator[Prompt]:
    """Yield the prompts of a file's lines, and stop with an error as soon as there are too many."""
    table, count = None, 0
    for line in lines:
        if len(line) > _MOST_LINE:
            raise UserError(f"{file}: a line has more than {_MOST_LINE} characters; write one prompt per line.")
        if not line.strip():
            continue
        if table is None:
            table = line.strip() == _HEADER
            if table:
                continue
        count += 1
        if count > _MOST_PROMPTS:
            raise UserError(f"{file}: has more than {_MOST_PROMPTS} prompts; split it into several files.")
        yield _row(file, line) if table else Prompt(line.strip())


def _row(file: Path, line: str) -> Prompt:
    cells = [cell.strip() for cell in line.split("\t")]
    if len(cells) != 2 or not all(cells):
        raise UserError(f"{file}: `{line.strip()[:80]}` must be an id, one tab and a prompt.")
    return Prompt(cells[1], {"prompt_id": cells[0]})
