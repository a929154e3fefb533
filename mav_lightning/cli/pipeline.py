"""``mav pipeline``: makes a pipeline of trained stages."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["pipeline"]


def pipeline(
    clip: Annotated[Path, typer.Option(help="Folder of the trained CLIP.")],
    prior: Annotated[Path, typer.Option(help="Folder of the trained prior.")],
    decoder: Annotated[
        Path, typer.Option(help="Folder of the trained decoder; an image decoder draws frame by frame.")
    ],
    out: Annotated[Path, typer.Option(help="The pipeline's folder.")],
    size: Annotated[int, typer.Option(help="Side of the frames, in pixels.")] = 16,
    frames: Annotated[int, typer.Option(help="Frames in a clip.")] = 9,
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 16,
    guidance_scale: Annotated[float, typer.Option(help="1 for none.")] = 1.0,
) -> None:
    """Put trained networks together into one folder, which `mav generate` takes.

    The weights are copied: the folder needs nothing else.

    Example: mav pipeline --clip runs/clip --prior runs/prior --decoder runs/temporal --out runs/pipeline
    """
    from mav_lightning.checkpoint import load_network, network_id
    from mav_lightning.pipeline import Sampling, write_pipeline

    folders = {"clip": clip, "prior": prior, "decoder": decoder}
    for folder in folders.values():
        load_network(folder)  # a mistake shows before anything is written
    sampling = Sampling(size=size, frames=frames, steps=steps, guidance_scale=guidance_scale)
    write_pipeline(out, sampling, folders, {role: network_id(folder) for role, folder in folders.items()})
    typer.echo(f"pipeline: {out}")
