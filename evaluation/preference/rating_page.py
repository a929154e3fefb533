"""The page on which raters compare clips, and the key that records which clip is whose."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.clip_sources import VideoSource
from evaluation.preference.rating_plan import Question, RatedPair
from mav_lightning.common.errors import UserError
from mav_lightning.common.escaping import script_json
from mav_lightning.common.json_files import write_json, write_text
from mav_lightning.common.tracking import Track, untracked
from mav_lightning.common.whole_file import new_folder
from mav_lightning.media.media_reader import read_clip

__all__ = ["KEY", "PAGE", "write_rating"]

KEY, PAGE = "key.json", "page/rate.html"
_LONGEST_SIDE = 16383  # pixels of a WebP


def write_rating(
    pairs: Sequence[RatedPair],
    asked: Sequence[Question],
    systems: tuple[str, str],
    out: Path,
    seed: int = 0,
    track: Track = untracked,
) -> Path:
    """Write the folder ``page``, which raters open in a browser offline, and ``key.json``, which they must not see.

    The page and the names of its files do not tell the systems apart: of each question, the seed draws which clip is
    `x`. The page randomizes order and sides for each rater, so that a habit of choosing one side cancels out. Clips are
    stored losslessly, as images of all frames.

    Args:
        pairs: The clips to compare.
        asked: The questions, asked one after the other about all pairs.
        systems: Name of each system, for the key.
        out: Folder to write; must be new or empty.
        seed: Seed of all random choices.
        track: Wraps the pairs, to show progress.

    Returns:
        The page.

    Raises:
        UserError: If a clip cannot be read or is too large for one image, or `out` cannot be written.
    """
    rng = np.random.default_rng(seed)
    with new_folder(out) as folder:
        clips = folder / "page" / "clips"
        clips.mkdir(parents=True)
        shown = [
            tuple(_write_clip(clip, clips, rng) for clip in pair.clips) for pair in track(pairs, len(pairs), "pairs")
        ]
        key, items = _items(pairs, asked, shown, rng)
        content = {"version": 1, "systems": list(systems), "questions": [one.name for one in asked], "items": key}
        form = hashlib.sha256(json.dumps([content, items], sort_keys=True).encode()).hexdigest()[:16]
        write_json(folder / KEY, {"form": form, "seed": seed} | content)
        data = {"form": form, "questions": {one.name: one.text for one in asked}, "items": items}
        write_text(folder / PAGE, _page(data))
    return out / PAGE


def _items(
    pairs: Sequence[RatedPair],
    asked: Sequence[Question],
    shown: Sequence[tuple[dict[str, Any], ...]],
    rng: np.random.Generator,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the key, item → what it is, and the items of the page in an order that shows nothing."""
    key, items = {}, []
    for question in asked:
        own = []
        for pair, clips in zip(pairs, shown, strict=True):
            name, first = rng.bytes(6).hex(), int(rng.integers(2))
            key[name] = {
                "question": question.name,
                "prompt": pair.prompt,
                "clips": [clip.id for clip in pair.clips],
                "x": first,
            }
            prompt = pair.prompt if question.prompt else None
            own.append({
                "id": name, "question": question.name, "prompt": prompt, "x": clips[first], "y": clips[1 - first],
            })  # fmt: skip
        items += [own[place] for place in rng.permutation(len(own)).tolist()]
    return key, items


def _write_clip(source: VideoSource, folder: Path, rng: np.random.Generator) -> dict[str, Any]:
    """Write all frames of a clip as a grid, under a name that means nothing."""
    with source.open() as media:
        frames, fps = read_clip(media, range(len(media.timeline))), source.fps or media.timeline.fps
    count, height, width, _ = frames.shape
    columns = min(count, max(1, round((count * height / width) ** 0.5)))
    rows = -(-count // columns)
    if max(rows * height, columns * width) > _LONGEST_SIDE:
        raise UserError(
            f"clip `{source.id}`: {count} frames of {width}x{height} pixels do not fit an image of {_LONGEST_SIDE} "
            "pixels a side; provide shorter or smaller clips."
        )
    name = f"{rng.bytes(8).hex()}.webp"
    Image.fromarray(_grid(frames, rows, columns)).save(folder / name, "WEBP", lossless=True, exact=True)
    return {"src": f"clips/{name}", "frames": count, "columns": columns, "width": width, "height": height, "fps": fps}


def _grid(frames: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    count, height, width, _ = frames.shape
    cells = np.zeros((rows * columns, height, width, 3), np.uint8)
    cells[:count] = frames
    return cells.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, columns * width, 3)


def _page(data: dict[str, Any]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    loader = PackageLoader("evaluation.preference", "assets")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    environment.globals["asset"] = lambda name: Markup(loader.get_source(environment, name)[0])
    return environment.get_template("rating.html.j2").render(data=script_json(data))
