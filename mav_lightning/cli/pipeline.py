"""``mav pipeline``: a pipeline folder from trained networks."""

from pathlib import Path
from typing import Annotated

import typer

from mav_lightning.cascade.sampling import Count, Factor, GuidanceScale, SamplerName, Sampling, Steps
from mav_lightning.cli.options import Allow, Overwrite, network_folder, output, within
from mav_lightning.cli.printing import echo

__all__ = ["pipeline"]


def _sampler(parameter: typer.CallbackParam, name: str) -> str:
    """Check the name of a sampler; classes of the user's own, ``package.Class``, are checked when they are imported."""
    return name if "." in name else within(SamplerName)(parameter, name)


def pipeline(
    clip: Annotated[Path, typer.Option(callback=network_folder, help="Folder of the trained CLIP.")],
    prior: Annotated[Path, typer.Option(callback=network_folder, help="Folder of the trained prior.")],
    decoder: Annotated[
        Path,
        typer.Option(
            callback=network_folder,
            help="Folder of the trained decoder; an image decoder samples each frame independently.",
        ),
    ],
    out: Annotated[Path, typer.Option(callback=output("new folder"), help="New folder for the pipeline.")],
    interpolator: Annotated[
        Path | None,
        typer.Option(
            callback=network_folder, help="Folder of the trained interpolator, for interpolation and given frames."
        ),
    ] = None,
    sr_low: Annotated[
        Path | None, typer.Option(callback=network_folder, help="Folder of trained spatiotemporal super-resolution.")
    ] = None,
    sr_high: Annotated[
        Path | None, typer.Option(callback=network_folder, help="Folder of trained spatial super-resolution.")
    ] = None,
    size: Annotated[int, typer.Option(callback=within(Count), help="Side of the decoder's frames in pixels.")] = 16,
    frames: Annotated[int, typer.Option(callback=within(Count), help="Frames of the decoder's clips.")] = 9,
    skip: Annotated[int, typer.Option(callback=within(Count), help="Frame skip of interpolation; 1 disables it.")] = 1,
    factor: Annotated[
        int, typer.Option(callback=within(Factor), help="Upsampling factor of each super-resolution network.")
    ] = 2,
    sampler: Annotated[
        str,
        typer.Option(
            callback=_sampler,
            help="dpm++2m, heun, ddim, euler (for flow matching), or ddpm, which uses a learned variance if there is "
            "one; or a class of your own.",
        ),
    ] = "dpm++2m",
    steps: Annotated[int, typer.Option(callback=within(Steps), help="Sampler steps.")] = 16,
    guidance_scale: Annotated[
        float,
        typer.Option(callback=within(GuidanceScale), help="Guidance scale of the decoder; 1 disables guidance."),
    ] = 1.0,
    overwrite: Overwrite = False,
    allow: Allow = None,
) -> None:
    """Put trained networks together into one folder for `mav generate`.

    The weights are copied, so the folder does not depend on the trainings.

    Example: mav pipeline --clip runs/clip --prior runs/prior --decoder runs/temporal --out runs/pipeline
    """
    from mav_lightning.cascade.pipeline_file import PIPELINE
    from mav_lightning.cascade.pipeline_folder import NetworkFolders, write_pipeline
    from mav_lightning.common.schema import build
    from mav_lightning.common.whole_file import new_folder

    settings = {
        "size": size,
        "frames": frames,
        "skip": skip,
        "low_factor": factor if sr_low else 1,
        "high_factor": factor if sr_high else 1,
        "sampler": sampler,
        "steps": steps,
        "guidance_scale": guidance_scale,
    }
    networks = NetworkFolders(clip, prior, decoder, interpolator, sr_low, sr_high)
    sampling = build(Sampling, settings, "")
    with new_folder(out, PIPELINE if overwrite else None) as partial:
        write_pipeline(partial, sampling, networks)
    echo(f"pipeline: {out}")
