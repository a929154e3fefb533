"""``mav pipeline``: makes a pipeline of trained stages."""

from pathlib import Path
from typing import Annotated

import typer

from mav_lightning.cli.options import output
from mav_lightning.cli.printing import echo

__all__ = ["pipeline"]


def pipeline(
    clip: Annotated[Path, typer.Option(help="Folder of the trained CLIP.")],
    prior: Annotated[Path, typer.Option(help="Folder of the trained prior.")],
    decoder: Annotated[
        Path, typer.Option(help="Folder of the trained decoder; an image decoder draws frame by frame.")
    ],
    out: Annotated[Path, typer.Option(callback=output("folder"), help="The pipeline's folder.")],
    interpolator: Annotated[
        Path | None, typer.Option(help="Folder of the trained interpolation network, for more frames and other uses.")
    ] = None,
    sr_low: Annotated[Path | None, typer.Option(help="Folder of the trained spatiotemporal super-resolution.")] = None,
    sr_high: Annotated[Path | None, typer.Option(help="Folder of the trained spatial super-resolution.")] = None,
    size: Annotated[int, typer.Option(help="Side of the decoder's frames, in pixels.")] = 16,
    frames: Annotated[int, typer.Option(help="Frames in a clip.")] = 9,
    skip: Annotated[int, typer.Option(help="Frame skip of interpolation; 1 leaves it out.")] = 1,
    factor: Annotated[int, typer.Option(help="How much each super-resolution network enlarges.")] = 2,
    sampler: Annotated[
        str, typer.Option(help="dpm++2m, heun, ddim, or ddpm, which uses a learnt variance.")
    ] = "dpm++2m",
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 16,
    guidance_scale: Annotated[float, typer.Option(help="Of the decoder; 1 for none.")] = 1.0,
) -> None:
    """Put trained networks together into one folder, which `mav generate` takes.

    The weights are copied: the folder needs nothing else.

    Example: mav pipeline --clip runs/clip --prior runs/prior --decoder runs/temporal --out runs/pipeline
    """
    from mav_lightning.cascade.pipeline_folder import write_pipeline
    from mav_lightning.cascade.sampling import Sampling

    given = {
        "clip": clip, "prior": prior, "decoder": decoder,
        "interpolator": interpolator, "sr_low": sr_low, "sr_high": sr_high,
    }  # fmt: skip
    folders = {role: folder for role, folder in given.items() if folder is not None}
    sampling = Sampling(
        size=size,
        frames=frames,
        skip=skip,
        low_factor=factor if sr_low else 1,
        high_factor=factor if sr_high else 1,
        sampler=sampler,
        steps=steps,
        guidance_scale=guidance_scale,
    )
    write_pipeline(out, sampling, folders)
    echo(f"pipeline: {out}")
