"""Contact sheet of a folder of clips."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mav_lightning.cascade.clip_files import read_clip
from mav_lightning.common.manifest import ClipRecord, read_manifest
from mav_lightning.common.whole_file import whole_file

__all__ = ["SHEET", "write_sheet"]

SHEET = "sheet.png"
_CELL, _GAP, _TEXT, _MARGIN, _LINE = 128, 4, 24, 20, 3  # pixels
_PAPER, _INK, _FAINT = (250, 250, 248), (25, 25, 30), (120, 120, 128)


def write_sheet(folder: Path, out: Path, most: int = 24, columns: int = 10) -> int:
    """Draw the first clips of a folder as one PNG, one clip per row below its prompt, frames from left to right.

    Frames are upsampled by a whole factor to about 128 pixels, or downsampled to 128. Given frames, which were not
    sampled, are underlined.

    Args:
        folder: Folder of clips with its manifest.
        out: The PNG.
        most: Largest number of clips drawn.
        columns: Largest number of frames drawn per clip, evenly spaced from the first to the last.

    Returns:
        Number of clips drawn.
    """
    records = read_manifest(folder)[:most]
    rows = [_row(record, read_clip(folder / record.file), columns) for record in records]
    width = max(row.width for row in rows)
    sheet = Image.new("RGB", (width + 2 * _MARGIN, sum(row.height for row in rows) + 2 * _MARGIN), _PAPER)
    top = _MARGIN
    for row in rows:
        sheet.paste(row, (_MARGIN, top))
        top += row.height
    with whole_file(out) as partial:
        sheet.save(partial, "PNG")
    return len(rows)


def _row(record: ClipRecord, frames: NDArray[np.uint8], columns: int) -> Image.Image:
    """Draw one clip: a line of text, and frames below it."""
    numbers = np.linspace(0, len(frames) - 1, min(columns, len(frames))).round().astype(int)
    cells = [_cell(frames[number]) for number in numbers]
    step = cells[0].width + _GAP
    row = Image.new("RGB", (max(step * len(cells) - _GAP, 5 * _CELL), _TEXT + cells[0].height + 2 * _GAP), _PAPER)
    draw, font = ImageDraw.Draw(row), ImageFont.load_default(14)
    seed = "" if record.seed is None else f", seed {record.seed}"
    given = ", given frames underlined" if record.given else ""
    facts = f"{record.id}: {record.fps:g} fps{seed}{given}"
    room = row.width - draw.textlength(facts, font) - 4 * _GAP
    draw.text((0, 2), _fitting(record.prompt or record.source or "", room, draw, font), _INK, font)
    draw.text((row.width, 2), facts, _FAINT, font, anchor="ra")
    for place, (number, cell) in enumerate(zip(numbers, cells, strict=True)):
        left, bottom = place * step, _TEXT + cell.height
        row.paste(cell, (left, _TEXT))
        if number in record.given:
            draw.rectangle((left, bottom + 1, left + cell.width - 1, bottom + _LINE), fill=_INK)
    return row


def _cell(frame: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(frame)
    if factor := _CELL // max(image.size):
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    image.thumbnail((_CELL, _CELL))
    return image


def _fitting(
    text: str, width: float, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> str:
    """Cut text to `width` pixels, on one line."""
    line = " ".join(text.split())
    if draw.textlength(line, font) <= width:
        return line
    while line and draw.textlength(f"{line}…", font) > width:
        line = line[:-1]
    return f"{line}…"
