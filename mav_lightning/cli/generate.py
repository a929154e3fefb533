"""``mav generate``: clips from prompts, images and other clips."""

import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mav_lightning.cli.progress import tracker

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mav_lightning.cascade.pipeline import Pipeline

__all__ = ["generate"]


def generate(
    pipeline: Annotated[Path, typer.Option(help="Folder of a pipeline, as `mav pipeline` and `mav demo` write it.")],
    out: Annotated[Path, typer.Option(help="Folder for the clips, the manifest and sheet.png.")],
    prompts: Annotated[list[str] | None, typer.Argument(help="What to show.")] = None,
    animate: Annotated[Path | None, typer.Option(help="An image to begin with, in place of a prompt.")] = None,
    interpolate: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Two images: the first frame and the last one.")
    ] = None,
    extrapolate: Annotated[Path | None, typer.Option(help="A clip to continue.")] = None,
    variation: Annotated[Path | None, typer.Option(help="A clip to make others like.")] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Lead every clip back to its beginning.")] = False,
    fps: Annotated[float, typer.Option(help="Frames per second to animate for, and to read a clip at.")] = 8.0,
    form: Annotated[
        str, typer.Option("--format", help="mkv (lossless), mp4, gif, or frames: a folder of PNGs for each clip.")
    ] = "mkv",
    mark: Annotated[
        bool, typer.Option(help="Draw the visible mark. Leave it out for clips that are to be measured.")
    ] = True,
    per_prompt: Annotated[int, typer.Option(min=1, help="Clips of each prompt, image or clip.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the first clip; the next ones count up.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Denoising steps; the pipeline's own by default.")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="1 for none; the pipeline's own by default.")] = None,
) -> None:
    """Generate clips, with one contact sheet to look at.

    From text; and, where the pipeline has an interpolation network, from images and clips, which are scaled and cut to
    its square. The same input, fps, seed and steps give the same pixels, alone or among others. Every file says that it
    is synthetic, and bears a visible mark unless --no-mark is given; `mav inspect` reads both.

    Examples:
        mav generate "a red circle on a dark background" --pipeline runs/demo/pipeline --out clips --fps 8

        mav generate --animate photo.png --pipeline runs/pipeline --out clips --per-prompt 4
    """
    from mav_lightning.cascade.export import clip_records, write_clips
    from mav_lightning.cascade.files import FORMATS
    from mav_lightning.cascade.pipeline import Pipeline
    from mav_lightning.cascade.sheet import write_sheet
    from mav_lightning.common.errors import UserError
    from mav_lightning.prompts import Prompt

    if fps <= 0:
        raise UserError(f"--fps: must be above 0 frames per second, got {fps:g}; for example `--fps 8`.")
    if form not in FORMATS:
        raise UserError(f"--format: must be one of {', '.join(FORMATS)}, got `{form}`.")
    pictures = {
        "animate": [animate] if animate else [],
        "interpolate": list(interpolate or ()),
        "extrapolate": [extrapolate] if extrapolate else [],
        "variation": [variation] if variation else [],
    }
    use = _only_use(pictures, bool(prompts))
    given = {"steps": steps, "guidance_scale": guidance_scale}
    loaded = Pipeline.from_pretrained(pipeline, **{name: value for name, value in given.items() if value is not None})
    texts = [text for text in prompts or [] for _ in range(per_prompt)]
    count = len(texts) or per_prompt
    seeds, rate = range(seed, seed + count), fps * (loaded.rate if use in ("prompts", "variation") else 1)
    asked = [Prompt(text) for text in texts] or None
    source = " ".join(map(str, pictures.get(use, []))) or None
    records = clip_records(loaded, [rate] * count, seeds, asked, FORMATS[form][0], source)
    batches: Iterable[NDArray[np.uint8]]
    if use == "prompts":
        batches = loaded.batches(texts, [fps] * count, seeds, until="interpolator")
    else:
        batches = _from_pictures(loaded, use, _read(use, pictures[use], fps, loaded.sampling.size), fps, seeds)
    batches = _finished(loaded, batches, rate, seeds, loop)
    work, chunks = write_clips(out, batches, records, mark), -(-count // loaded.sampling.batch_size)
    with tracker() as track:
        for _ in track(work, chunks, "sampling batches"):
            pass
    write_sheet(out, out / "sheet.png")
    typer.echo(f"{count} clips: {out}; look at {out / 'sheet.png'}")


def _only_use(pictures: dict[str, list[Path]], prompts: bool) -> str:
    from mav_lightning.common.errors import UserError

    asked = [*(["prompts"] if prompts else []), *(use for use, files in pictures.items() if files)]
    if len(asked) != 1:
        options = ", ".join(f"--{use}" for use in pictures)
        raise UserError(f"give prompts or one of {options}, and one of them only; got {', '.join(asked) or 'none'}.")
    return asked[0]


def _read(use: str, files: list[Path], fps: float, size: int) -> "NDArray[np.uint8]":
    """The given images, or the given clip's frames at `fps`, each (size, size, 3), in one array."""
    import numpy as np
    from PIL import Image

    from datamodules.media import crop_to_square, decode_image
    from mav_lightning.common.errors import UserError
    from mav_lightning.common.video import probe, read_frames_at

    for file in files:
        if not file.is_file():
            raise UserError(f"--{use}: {file}: no such file.")
    if use in ("animate", "interpolate"):
        return np.stack([crop_to_square(decode_image(file.read_bytes()), size) for file in files])
    (file,) = files
    info = probe(file)
    count = 1 + int((info.frames - 1) / info.fps * fps + 1e-6)
    if count < 2:
        raise UserError(
            f"--{use}: {file}: only one frame at {fps:g} fps (it has {info.frames} at {info.fps:g}); raise --fps, or "
            "use --animate with an image."
        )
    return np.stack(
        [
            crop_to_square(Image.fromarray(frame), size)
            for frame in read_frames_at(file, [number / fps for number in range(count)])
        ]
    )


def _from_pictures(
    loaded: "Pipeline", use: str, frames: "NDArray[np.uint8]", fps: float, seeds: range
) -> "Iterator[NDArray[np.uint8]]":
    """Clips of the same frames, one for each seed, batch by batch."""
    import numpy as np

    uses: dict[str, Callable[..., NDArray[np.uint8]]] = {
        "animate": loaded.animate,
        "interpolate": loaded.morph,
        "extrapolate": loaded.extrapolate,
        "variation": functools.partial(loaded.variation, until="interpolator"),
    }
    for start in range(0, len(seeds), loaded.sampling.batch_size):
        part = seeds[start : start + loaded.sampling.batch_size]
        yield uses[use](np.stack([frames] * len(part)), [fps] * len(part), part)


def _finished(
    loaded: "Pipeline", batches: "Iterable[NDArray[np.uint8]]", rate: float, seeds: range, loop: bool
) -> "Iterator[NDArray[np.uint8]]":
    """Closes the loops, if wanted, and enlarges, if the pipeline does."""
    done = 0
    for clips in batches:
        part, rates = seeds[done : done + len(clips)], [rate] * len(clips)
        done += len(clips)
        yield loaded.sharpen(loaded.loop(clips, rates, part) if loop else clips, rates, part)
