"""``mav pipeline``: a pipeline folder from trained networks."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mav_lightning.cascade.sampling import Count, Factor, GuidanceScale, SamplerName, Sampling, Steps
from mav_lightning.cli.options import Allow, Overwrite, network_folder, output, within
from mav_lightning.cli.printing import echo
from mav_lightning.common.errors import UserError

__all__ = ["pipeline"]

_DEFAULTS = {"size": 16, "sampler": "dpm++2m", "steps": 16, "guidance_scale": 1.0}


def _sampler(parameter: typer.CallbackParam, name: str | None) -> str | None:
    """Check the name of a sampler; classes of the user's own, ``package.Class``, are checked when they are imported."""
    return name if name is None or "." in name else within(SamplerName)(parameter, name)


def _source(parameter: typer.CallbackParam, given: tuple[str, Path] | None) -> tuple[str, Path] | None:
    """Check the values of --from."""
    if given is not None:
        within(Literal["karlo"])(parameter, given[0])
        if not given[1].is_dir():
            raise UserError(f"{given[1]}: no such folder; give one in the format of diffusers.", argument="source")
    return given


def pipeline(
    out: Annotated[Path, typer.Option(callback=output("new folder"), help="New folder for the pipeline.")],
    clip: Annotated[
        Path | None, typer.Option(callback=network_folder, help="Folder of the trained CLIP. Required without --from.")
    ] = None,
    prior: Annotated[
        Path | None,
        typer.Option(callback=network_folder, help="Folder of the trained prior. Required without --from."),
    ] = None,
    decoder: Annotated[
        Path | None,
        typer.Option(
            callback=network_folder,
            help="Folder of the trained decoder; an image decoder samples each frame independently. Required without "
            "--from.",
        ),
    ] = None,
    source: Annotated[
        tuple[str, Path] | None,
        typer.Option(
            "--from",
            metavar="karlo FOLDER",
            callback=_source,
            help="Take every network that is not given, and the settings of sampling, from the folder of an "
            "UnCLIPPipeline of diffusers.",
        ),
    ] = None,
    vae: Annotated[
        Path | None,
        typer.Option(
            callback=network_folder, help="Folder of the adopted autoencoder whose latents the decoder was trained on."
        ),
    ] = None,
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
    size: Annotated[
        int | None,
        typer.Option(callback=within(Count), help="Side of the decoder's frames in pixels. Default: 16."),
    ] = None,
    frames: Annotated[int, typer.Option(callback=within(Count), help="Frames of the decoder's clips.")] = 9,
    skip: Annotated[int, typer.Option(callback=within(Count), help="Frame skip of interpolation; 1 disables it.")] = 1,
    factor: Annotated[
        int | None,
        typer.Option(callback=within(Factor), help="Upsampling factor of each super-resolution network. Default: 2."),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            callback=_sampler,
            help="Sampler of the decoder: dpm++2m, heun, ddim, euler (for flow matching), or ddpm, which uses a "
            "learned variance if there is one; or a class of your own. Default: dpm++2m.",
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(callback=within(Steps), help="Sampler steps of the decoder. Default: 16.")
    ] = None,
    interpolator_sampler: Annotated[
        str | None, typer.Option(callback=_sampler, help="Sampler of interpolation. Default: the decoder's.")
    ] = None,
    interpolator_steps: Annotated[
        int | None, typer.Option(callback=within(Steps), help="Sampler steps of interpolation. Default: the decoder's.")
    ] = None,
    sr_sampler: Annotated[
        str | None, typer.Option(callback=_sampler, help="Sampler of super-resolution. Default: the decoder's.")
    ] = None,
    sr_steps: Annotated[
        int | None,
        typer.Option(callback=within(Steps), help="Sampler steps of super-resolution. Default: the decoder's."),
    ] = None,
    guidance_scale: Annotated[
        float | None,
        typer.Option(
            callback=within(GuidanceScale),
            help="Guidance scale of the decoder; 1 disables guidance. Default: 1.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    allow: Allow = None,
) -> None:
    """Put trained networks together into one folder for `mav generate`.

    The weights are copied, so the folder does not depend on the trainings. With --from, networks of Karlo's format
    (text encoder, prior, decoder, super-resolution) become those of the cascade, decoder and super-resolution extended
    by time; the defaults are then those of its own pipeline.

    Examples:
        mav pipeline --clip runs/clip --prior runs/prior --decoder runs/temporal --out runs/pipeline

        mav pipeline --from karlo karlo-v1-alpha --decoder runs/temporal --frames 16 --out runs/pipeline
    """
    every: dict[str, Path | None] = {
        "clip": clip, "prior": prior, "decoder": decoder, "vae": vae, "interpolator": interpolator,
        "sr_low": sr_low, "sr_high": sr_high,
    }  # fmt: skip
    given = {role: folder for role, folder in every.items() if folder is not None}
    if source is None and (missing := [role for role in ("clip", "prior", "decoder") if role not in given]):
        raise UserError(f"--{', --'.join(missing)} missing; give folders of trained networks, or --from karlo FOLDER.")
    from mav_lightning.cascade.pipeline_file import PIPELINE
    from mav_lightning.cascade.pipeline_folder import NetworkFolders, write_pipeline
    from mav_lightning.common.schema import build
    from mav_lightning.common.whole_file import new_folder

    defaults: dict[str, Any] = {} if source is None else _of_source(source[1], sr_low)
    chosen = {
        "size": size, "sampler": sampler, "steps": steps, "interpolator_sampler": interpolator_sampler,
        "interpolator_steps": interpolator_steps, "sr_sampler": sr_sampler, "sr_steps": sr_steps,
        "guidance_scale": guidance_scale,
    }  # fmt: skip
    settings = {
        **_DEFAULTS,
        "low_factor": 2 if sr_low else 1,
        **defaults,
        "high_factor": (factor or 2) if sr_high else 1,
        **({"low_factor": factor} if factor and sr_low else {}),
        **{name: value for name, value in chosen.items() if value is not None},
        "frames": frames,
        "skip": skip,
    }
    sampling = build(Sampling, settings, "")
    with new_folder(out, PIPELINE if overwrite else None) as partial:
        if source is not None:
            from mav_lightning.pretrained.unclip_folder import UNCLIP_ROLES, write_unclip_networks

            given |= write_unclip_networks(source[1], partial, [role for role in UNCLIP_ROLES if role not in given])
        write_pipeline(partial, sampling, NetworkFolders(**given))
    echo(f"pipeline: {out}")


def _of_source(folder: Path, sr_low: Path | None) -> dict[str, Any]:
    """Return the settings of sampling of an unCLIP pipeline; those of super-resolution only for its own."""
    from mav_lightning.pretrained.unclip_folder import unclip_sampling

    found = unclip_sampling(folder)
    if sr_low is not None:
        for name in ("low_factor", "upsampling", "augmentation"):
            del found[name]
    return found
