"""Contact sheet: samples of a dataset in one image."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from datamodules.index import Index, load_index
from datamodules.media import find_media
from mav_lightning.common.arguments import checked
from mav_lightning.common.counting import counted
from mav_lightning.common.cropping import crop_to_square
from mav_lightning.common.errors import UserError
from mav_lightning.common.output import check_output
from mav_lightning.common.retries import MachineError
from mav_lightning.common.schema import PositiveFloat, PositiveInt, Seed
from mav_lightning.common.whole_file import whole_file
from mav_lightning.media.media_reader import read_frames_at
from mav_lightning.media.pictures import decode_picture
from mav_lightning.shards.sample_facts import read_caption, read_metadata
from mav_lightning.shards.samples import IMAGE_SUFFIXES
from mav_lightning.shards.shard_listing import shard_folders

__all__ = ["contact_sheet"]

_TILE, _GAP, _TEXT, _HEAD, _MARGIN = 112, 6, 30, 46, 20  # pixels
_PAPER, _INK, _FAINT = (250, 250, 248), (25, 25, 30), (120, 120, 128)

Tile = tuple[NDArray[np.uint8], str, int]  # image, text below it, width of the text in tiles


@checked
def contact_sheet(
    root: Path,
    out: Path,
    rows: PositiveInt = 4,
    columns: PositiveInt = 8,
    seed: Seed = 0,
    fps: PositiveFloat | None = None,
    size: PositiveInt | None = None,
) -> None:
    """Draw samples of every folder of shards at `root` and below.

    A video fills a row, with its file name where packing recorded it; images are placed side by side. With `fps` and
    `size`, tiles are what a network sees that is trained at that rate and resolution.

    Args:
        root: Dataset, or one folder of shards.
        out: PNG file to write.
        rows: Rows per folder.
        columns: Tiles per row.
        seed: Seed of the choice of samples and of where clips start.
        fps: Frames per second: a row is one training clip of `columns` frames, which starts at random; frames past
            the end repeat the last one. None for frames evenly spaced over the whole video.
        size: Side in pixels to which frames and images are reduced, as for training, before each pixel is drawn
            larger. None for the size of the tiles.

    Raises:
        UserError: There are no shards or no index, a value is below 1, or `out` cannot be written.
    """
    check_output(out, "file")
    view = _View(columns, fps, size)
    sections = [_section(load_index(folder), root, rows, view, seed) for folder in shard_folders(root)]
    width = 2 * _MARGIN + columns * (_TILE + _GAP) - _GAP
    sheet = Image.new("RGB", (width, 2 * _MARGIN + sum(section.height for section in sections)), _PAPER)
    top = _MARGIN
    for section in sections:
        sheet.paste(section, (_MARGIN, top))
        top += section.height
    with whole_file(out) as partial:
        sheet.save(partial, "PNG")


@dataclass(frozen=True)
class _View:
    """What a row shows of a sample; see `contact_sheet`."""

    columns: int
    fps: float | None
    size: int | None

    def times(self, span: float, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return the times of the frames of a video of `span` seconds."""
        if self.fps is None:
            return np.linspace(0.0, span, self.columns)
        length = (self.columns - 1) / self.fps
        return rng.uniform(0.0, max(0.0, span - length)) + np.arange(self.columns) / self.fps

    def tile(self, image: Image.Image | NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return an image as a square tile."""
        if self.size is None:
            return crop_to_square(image, _TILE)
        seen = Image.fromarray(crop_to_square(image, self.size))
        return np.asarray(seen.resize((_TILE, _TILE), Image.Resampling.NEAREST))


def _section(index: Index, root: Path, rows: int, view: _View, seed: int) -> Image.Image:
    """Draw one folder: a heading and rows of tiles."""
    strips, columns = _strips(index, rows, view, seed), view.columns
    step = _TILE + _TEXT + _GAP
    picture = Image.new("RGB", (columns * (_TILE + _GAP), _HEAD + len(strips) * step), _PAPER)
    draw = ImageDraw.Draw(picture)
    place = index.folder.relative_to(root)
    samples, bad = len(index), len(index.errors)
    draw.text((0, 4), str(index.folder.name if place == Path() else place), _INK, ImageFont.load_default(20))
    facts = f"{counted(samples, 'sample')} in {counted(len(index.shards), 'shard')}" + (f", {bad:,} bad" if bad else "")
    draw.text((columns * (_TILE + _GAP) - _GAP, 12), facts, _FAINT, ImageFont.load_default(13), anchor="ra")
    for row, strip in enumerate(strips):
        for column, (tile, text, width) in enumerate(strip):
            corner = (column * (_TILE + _GAP), _HEAD + row * step)
            picture.paste(Image.fromarray(tile), corner)
            _write(draw, (corner[0], corner[1] + _TILE + 3), text, width * (_TILE + _GAP) - _GAP)
    return picture


def _strips(index: Index, rows: int, view: _View, seed: int) -> list[list[Tile]]:
    """Return rows of tiles of random samples; bad samples are skipped."""
    strips: list[list[Tile]] = []
    images: list[Tile] = []
    rng = np.random.default_rng(seed)
    for number in rng.permutation(len(index)).tolist():
        if len(strips) == rows:
            break
        try:
            tiles = _tiles(index, number, view, rng)
        except MachineError:
            raise
        except UserError:
            continue
        if len(tiles) > 1:
            strips.append(tiles)
            continue
        images += tiles
        if len(images) == view.columns:
            strips.append(images)
            images = []
    if images and len(strips) < rows:
        strips.append(images)
    return strips


def _tiles(index: Index, number: int, view: _View, rng: np.random.Generator) -> list[Tile]:
    """Return the frames of a video with one line of text, or an image with its caption; nothing for bad samples."""
    shard, sample = index[number]
    suffix, media = find_media(sample.members), sample.media
    if sample.error is not None or suffix is None or media is None:
        return []
    members = index.read(shard, sample, (suffix, "txt", "json"))
    caption = read_caption(members) or ""
    if suffix in IMAGE_SUFFIXES:
        return [(view.tile(decode_picture(members[suffix])), caption, 1)]
    frames = read_frames_at(members[suffix], view.times(media.span, rng).tolist())
    name = read_metadata(members).get("file", sample.key)
    facts = f"{name}, {media.width} x {media.height}, {media.fps:.4g} fps, {media.span:.1f} s"
    texts = [f"{facts}: {caption or 'no caption'}", *[""] * (view.columns - 1)]
    return [(view.tile(frame), text, view.columns) for frame, text in zip(frames, texts, strict=True)]


def _write(draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, width: int) -> None:
    """Write up to two lines that fit into `width` pixels."""
    font = ImageFont.load_default(12)
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font) <= width or not lines[-1]:
            lines[-1] = longer
        elif len(lines) < 2:
            lines.append(word)
        else:
            lines[-1] += " ..."
            break
    draw.multiline_text(corner, "\n".join(lines), _FAINT, font, spacing=1)
