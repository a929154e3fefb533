"""``mav generate``: clips from prompts, images and other clips."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mav_lightning.cli.options import output
from mav_lightning.cli.printing import echo
from mav_lightning.cli.progress import tracker

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mav_lightning.cascade.generation import Generation, Wish
    from mav_lightning.prompts import Prompt

__all__ = ["generate"]


def generate(
    out: Annotated[
        Path, typer.Option(callback=output("folder"), help="Folder for the clips, the manifest and sheet.png.")
    ],
    prompts: Annotated[list[str] | None, typer.Argument(help="What to show.")] = None,
    pipeline: Annotated[
        Path | None, typer.Option(help="Folder of a pipeline; by default the ready-made one, which knows Shapes World.")
    ] = None,
    prompts_file: Annotated[
        Path | None, typer.Option(help="Prompts, one a line, or the table that `mav data prompts` writes.")
    ] = None,
    animate: Annotated[Path | None, typer.Option(help="An image to begin with, in place of a prompt.")] = None,
    interpolate: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Two images: the first frame and the last one.")
    ] = None,
    extrapolate: Annotated[Path | None, typer.Option(help="A clip to continue.")] = None,
    variation: Annotated[Path | None, typer.Option(help="A clip to make others like.")] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Lead every clip back to its beginning.")] = False,
    fps: Annotated[
        list[float] | None, typer.Option(help="Frames per second to animate for, 8 by default; several: a clip each.")
    ] = None,
    per_prompt: Annotated[int, typer.Option(min=1, help="Clips of each prompt, image or clip, at each rate.")] = 1,
    seed: Annotated[
        int,
        typer.Option(min=0, help="Of the first clip of each prompt; the next ones count up, even if it comes again."),
    ] = 0,
    form: Annotated[
        str, typer.Option("--format", help="mkv (lossless), mp4, gif, or frames: a folder of PNGs for each clip.")
    ] = "mkv",
    mark: Annotated[
        bool, typer.Option(help="Draw the visible mark. Leave it out for clips that are to be measured.")
    ] = True,
    sign: Annotated[
        tuple[Path, Path] | None,
        typer.Option(help="Certificate and private key, PEM: sign every file (C2PA; mp4, gif or frames)."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps; the pipeline's own by default.")] = None,
    guidance_scale: Annotated[
        float | None, typer.Option(help="Of the decoder, 1 for none; the pipeline's own by default.")
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="Processes that share the clips, a device each.")] = 1,
) -> None:
    """Generate clips, with one contact sheet to look at: every prompt at every rate with every seed.

    From text; and, where the pipeline has an interpolation network, from images and clips, which are scaled and cut to
    its square; a clip is read at the first rate. The same input, fps, seed and steps give the same pixels, alone or
    among others. Killed, the same command draws only what is missing. Every file says that it is synthetic, and bears a
    visible mark unless --no-mark is given; `mav inspect` reads both.

    Examples:
        mav generate "a red circle on a dark background" --out clips --fps 8

        mav generate --prompts-file prompts.txt --out clips --fps 4 --fps 16 --per-prompt 4

        mav generate --animate photo.png --pipeline runs/pipeline --out clips --per-prompt 4
    """
    from mav_lightning.cascade.generation import Generation, Given
    from mav_lightning.cascade.pipeline import Pipeline
    from mav_lightning.cascade.sheet import write_sheet
    from mav_lightning.cascade.sign import Signing
    from mav_lightning.common.errors import UserError
    from mav_lightning.prompts import Prompt, read_prompts

    rates = fps or [8.0]
    asked = [*map(Prompt, prompts or []), *(read_prompts(prompts_file) if prompts_file else [])]
    pictures = {
        "animate": [animate] if animate else [],
        "interpolate": list(interpolate or ()),
        "extrapolate": [extrapolate] if extrapolate else [],
        "variation": [variation] if variation else [],
    }
    use = _only_use(pictures, bool(asked))
    settings = {"steps": steps, "guidance_scale": guidance_scale}
    changed = {name: value for name, value in settings.items() if value is not None}
    loaded = Pipeline.from_pretrained(pipeline, **changed)
    given = None
    if use != "prompts":
        files = pictures[use]
        if use == "extrapolate" and len(rates) > 1:
            raise UserError(f"--fps: a clip is continued at the rate it is read at; give one, got {len(rates)}.")
        given = Given(use, _read(use, files, rates[0], loaded.sampling.size), " ".join(map(str, files)))
    wishes = _wishes(asked if given is None else [None], rates, seed, per_prompt)
    signing = Signing(*sign) if sign else None
    generation = Generation(loaded, wishes, out, given=given, loop=loop, form=form, mark=mark, signing=signing)
    _draw(generation, devices)
    write_sheet(out, out / "sheet.png")
    echo(f"{len(wishes)} clips: {out}; look at {out / 'sheet.png'}")


def _draw(generation: "Generation", devices: int) -> None:
    from mav_lightning.common.machine import default_device

    if devices > 1:
        from mav_lightning.cascade.distributed import Drawing
        from mav_lightning.cli.devices import predict_on

        if not predict_on(devices, Drawing(generation)):
            raise typer.Exit(0)
        return
    generation.pipeline.to(default_device())
    missing = generation.batches()
    with tracker() as track:
        for numbers in track(missing, len(missing), "sampling batches"):
            generation.write(numbers)
    generation.finish()


def _wishes(prompts: "Sequence[Prompt | None]", rates: "Sequence[float]", seed: int, per_prompt: int) -> "list[Wish]":
    """Every prompt at every rate with every seed. A text that comes again goes on counting: no clip is drawn twice."""
    from mav_lightning.cascade.generation import Wish

    wishes, drawn = [], Counter[str]()
    for prompt in prompts:
        text = prompt.text if prompt else ""
        seeds = range(seed + drawn[text], seed + drawn[text] + per_prompt)
        drawn[text] += per_prompt
        wishes += [Wish(rate, number, prompt) for rate in rates for number in seeds]
    return wishes


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

    from datamodules.media import decode_image
    from mav_lightning.common.cropping import crop_to_square
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
        [crop_to_square(frame, size) for frame in read_frames_at(file, [number / fps for number in range(count)])]
    )
