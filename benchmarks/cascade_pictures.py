"""The pictures of the ready-made cascade in README and docs/results/tiny.md.

    python benchmarks/cascade_pictures.py mav_lightning/weights/tiny

Seeds are the first ones; nothing is chosen. Frames have the visible mark of files, as `mav generate` writes them.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mav_lightning.cascade.clip_check import ClipWarning
from mav_lightning.cascade.mark import draw_mark
from mav_lightning.cascade.video_pipeline import Pipeline
from mav_lightning.common.shapes_world.laws import LAW_OF_SHAPE, sample_motion
from mav_lightning.common.shapes_world.scene import Scene, render_motion

Clips = NDArray[np.uint8]
DOCS = Path(__file__).parents[1] / "docs"
SHOWN, CELL, FPS = 12, 64, 8.0  # frames of a row; pixels; frames per second before interpolation
TEXTS = (
    "a red circle on a dark background",
    "a blue square on a light background",
    "a yellow triangle on a dark background",
    "a green cross on a checkered background",
    "a green circle on a light background",  # a pair that no training clip has, as the next
    "a red cross on a dark background",
    "purple square, dark ground",
)
MOVING = (
    "red circle, dark", "blue square, light", "yellow triangle, dark", "purple cross, checkered",
    "cyan circle, light", "green square, dark", "red triangle, light", "yellow cross, dark",
)  # fmt: skip


def rows(clips: Sequence[Clips], titles: Sequence[str]) -> Image.Image:
    """Draw evenly spaced frames of each clip below its title."""
    font, height = ImageFont.load_default(12), CELL + 16
    sheet = Image.new("RGB", (SHOWN * CELL, height * len(clips)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (clip, title) in enumerate(zip(clips, titles, strict=True)):
        draw.text((1, number * height), title, "black", font)
        chosen = np.linspace(0, len(clip) - 1, SHOWN).round().astype(int)
        strip = np.concatenate(list(draw_mark(clip)[chosen]), axis=1)
        sheet.paste(Image.fromarray(strip), (0, number * height + 16))
    return sheet


def moving(clips: Sequence[Clips], titles: Sequence[str], out: Path, factor: int = 2) -> None:
    """Write clips side by side, four in a row, as a GIF at half speed."""
    side, font, gap, text = CELL * factor, ImageFont.load_default(12), 8, 22
    width, height = 4 * (side + gap) + gap, 2 * (side + text) + gap
    frames = []
    for number in range(len(clips[0])):
        frame = Image.new("RGB", (width, height), "white")
        draw = ImageDraw.Draw(frame)
        for place, (clip, title) in enumerate(zip(clips, titles, strict=True)):
            left, top = gap + place % 4 * (side + gap), gap + place // 4 * (side + text)
            image = Image.fromarray(clip[number]).resize((side, side), Image.Resampling.BICUBIC)
            frame.paste(image, (left, top))
            draw.text((left + side / 2, top + side + 2), title, "black", font, anchor="ma")
        frames.append(frame)
    palette = Image.fromarray(np.concatenate([np.asarray(frame) for frame in frames[::4]])).quantize(192)
    frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    frames[0].save(out, save_all=True, append_images=frames[1:], duration=60, loop=0, optimize=True)


def uses(pipeline: Pipeline) -> dict[str, Clips]:
    """Return one clip of every other use."""
    circle, size = Scene("yellow", "circle", "dark"), pipeline.sampling.size
    motion = sample_motion(LAW_OF_SHAPE["circle"], np.random.default_rng(0))
    real = render_motion(circle, motion, np.arange(9) / FPS, size)
    text = pipeline([TEXTS[4]], FPS, [0], until="decoder")
    return {
        "animate: the first frame is given": pipeline.animate(real[None, :1], FPS, [0])[0],
        "interpolate between two frames": pipeline.morph(real[None, [0, 3]], FPS, [0])[0],
        "extrapolate: the first nine frames are given": pipeline.extrapolate(text, FPS, [0])[0],
        "variation of the clip above": pipeline.variation(text, FPS, [0])[0],
        "loop": pipeline([TEXTS[0]], FPS, [0], loop=True)[0],
    }


def main(
    pipeline: Annotated[Path, typer.Argument(help="Folder of a whole cascade.")],
    docs: Annotated[Path, typer.Option(help="Folder that holds `images` and `results`.")] = DOCS,
) -> None:
    """Draw all pictures."""
    warnings.simplefilter("ignore", ClipWarning)
    loaded = Pipeline.from_pretrained(pipeline)
    texts = [f"a {words[0]} on a {words[1]} background" for words in (title.split(", ") for title in MOVING)]
    moving(loaded(texts, FPS, [0] * len(texts)), MOVING, docs / "images" / "cascade.gif")
    rows(loaded(TEXTS, FPS, [0] * len(TEXTS)), TEXTS).save(docs / "results" / "tiny-text.png")
    others = uses(loaded)
    rows(list(others.values()), list(others)).save(docs / "results" / "tiny-uses.png")


if __name__ == "__main__":
    typer.run(main)
