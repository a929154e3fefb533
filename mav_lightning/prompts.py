"""What to ask a system for: prompts with what is known of their content, and the files that list them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mav_lightning.common.errors import UserError
from mav_lightning.common.shapes_world.scene import GROUNDS, Scene, all_scenes, caption, render
from mav_lightning.common.whole_file import whole_file

__all__ = ["Prompt", "read_prompts", "shapes_prompts", "shapes_stills", "write_prompts"]

_HEADER = "id\tprompt"


@dataclass(frozen=True)
class Prompt:
    """A text, and what is known of what it asks for.

    Attributes:
        text: The prompt.
        attributes: For Shapes World: colour, shape, ground. For a prompt of a table: `prompt_id`. Else empty.
    """

    text: str
    attributes: dict[str, str] = field(default_factory=dict)


def read_prompts(file: Path) -> list[Prompt]:
    """Reads prompts: one a line, or a table with the header ``id<TAB>prompt``. Blank lines are passed over.

    Raises:
        UserError: Not a text file, no prompt in it, or a row of the table without an id and a prompt.
    """
    try:
        lines = [line for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read as text ({error}).") from error
    table = bool(lines) and lines[0].strip() == _HEADER
    prompts = [_row(file, line) for line in lines[1:]] if table else [Prompt(line.strip()) for line in lines]
    if not prompts:
        raise UserError(f"{file}: holds no prompt; write one a line.")
    return prompts


def write_prompts(file: Path, prompts: Iterable[tuple[str, str]]) -> None:
    """Writes a table of ids and prompts that `read_prompts` reads; neither may hold tabs or line breaks."""
    with whole_file(file) as partial:
        partial.write_text("\n".join([_HEADER, *map("\t".join, prompts), ""]), encoding="utf-8", newline="\n")


def shapes_prompts(per_pair: int = 1) -> list[Prompt]:
    """Asks for every pair of colour and shape `per_pair` times, over the grounds and phrasings in turn.

    The pairs that training clips never show are among them.
    """
    pairs = list(dict.fromkeys((scene.colour, scene.shape) for scene in all_scenes()))
    scenes = [
        Scene(colour, shape, GROUNDS[(number + turn) % len(GROUNDS)])
        for turn in range(per_pair)
        for number, (colour, shape) in enumerate(pairs)
    ]
    return [Prompt(caption(scene, number), scene.attributes()) for number, scene in enumerate(scenes)]


def shapes_stills(size: int, per_pair: int = 1) -> tuple[np.ndarray, list[str]]:
    """Renders the scenes of `shapes_prompts` as centred stills: (N, size, size, 3) uint8, and their N shapes."""
    scenes = [Scene(**prompt.attributes) for prompt in shapes_prompts(per_pair)]
    stills = [render(scene, np.full((1, 2), 0.5), size)[0] for scene in scenes]
    return np.stack(stills), [scene.shape for scene in scenes]


def _row(file: Path, line: str) -> Prompt:
    cells = [cell.strip() for cell in line.split("\t")]
    if len(cells) != 2 or not all(cells):
        raise UserError(f"{file}: `{line.strip()}` must be an id, one tab and a prompt.")
    return Prompt(cells[1], {"prompt_id": cells[0]})
