"""``mav generate``: clips from prompts."""

from pathlib import Path
from typing import Annotated

import typer

from mav_lightning.cli.progress import tracker

__all__ = ["generate"]


def generate(
    prompts: Annotated[list[str], typer.Argument(help="What to show.")],
    pipeline: Annotated[Path, typer.Option(help="Folder of a pipeline, as `mav pipeline` and `mav demo` write it.")],
    out: Annotated[Path, typer.Option(help="Folder for the clips, the manifest and sheet.png.")],
    fps: Annotated[float, typer.Option(help="Frames per second to animate for.")] = 8.0,
    per_prompt: Annotated[int, typer.Option(min=1, help="Clips of each prompt.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the first clip; the next ones count up.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Denoising steps; the pipeline's own by default.")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="1 for none; the pipeline's own by default.")] = None,
) -> None:
    """Generate clips from text, with one contact sheet to look at.

    Clips are lossless files; the same prompt, fps, seed and steps give the same pixels, alone or among others.

    Example: mav generate "a red circle on a dark background" --pipeline runs/demo/pipeline --out clips --fps 8
    """
    from mav_lightning.common.errors import UserError
    from mav_lightning.pipeline import Pipeline, sample_clips
    from mav_lightning.prompts import Prompt
    from mav_lightning.sheet import write_sheet

    if fps <= 0:
        raise UserError(f"--fps: must be above 0 frames per second, got {fps:g}; for example `--fps 8`.")
    given = {"steps": steps, "guidance_scale": guidance_scale}
    loaded = Pipeline.from_pretrained(pipeline, **{name: value for name, value in given.items() if value is not None})
    count = len(prompts) * per_prompt
    asked = [Prompt(text) for text in prompts for _ in range(per_prompt)]
    chunks = -(-count // loaded.sampling.batch_size)
    work = sample_clips(loaded, out, asked, [fps] * count, range(seed, seed + count))
    with tracker() as track:
        for _ in track(work, chunks, "sampling batches"):
            pass
    write_sheet(out, out / "sheet.png")
    typer.echo(f"{count} clips: {out}; look at {out / 'sheet.png'}")
