"""``mav pipeline``: a pipeline folder from trained networks."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer

from mav_lightning.cascade.sampling import Count, Factor, GuidanceScale, SamplerName, Sampling, Steps
from mav_lightning.cli.options import Allow, Overwrite, network_folder, output, within
from mav_lightning.cli.printing import echo
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import NonNegativeFloat

__all__ = ["pipeline"]

_DEFAULTS = {"size": 16, "sampler": "dpm++2m", "steps": 16, "guidance_scale": 1.0}


def _sampler(parameter: typer.CallbackParam, name: str | None) -> str | None:
    """Check the name of a sampler; classes of the user's own, ``package.Class``, are checked when they are imported."""
    return name if name is None or "." in name else within(SamplerName)(parameter, name)


def _source(parameter: typer.CallbackParam, given: tuple[str, Path] | None) -> tuple[str, Path] | None:
    """Check the values of --from."""
    if given is not None:
        within(Literal["karlo", "stable-unclip"])(parameter, given[0])
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
            metavar="karlo|stable-unclip FOLDER",
            callback=_source,
            help="Take every network that is not given, and the settings of sampling, from the folder of an "
            "UnCLIPPipeline (karlo) or StableUnCLIPImg2ImgPipeline (stable-unclip) of diffusers.",
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
        typer.Option(
            callback=within(Factor),
            help="Upsampling factor of --sr-low and --sr-high, each. Default: 2.",
        ),
    ] = None,
    augmentation: Annotated[
        float | None,
        typer.Option(
            callback=within(NonNegativeFloat),
            help="Standard deviation of noise added to the input of super-resolution (noise conditioning "
            "augmentation). 0 if no network reads its level. Default: 0.1, or 0 for the super-resolution of --from.",
        ),
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
        int | None,
        typer.Option(callback=within(Steps), help="Sampler steps of the decoder. Default: 16."),
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
        typer.Option(
            callback=within(Steps),
            help="Sampler steps of super-resolution. Default: the decoder's, or with --from the source's.",
        ),
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

    The weights are copied, so the folder does not depend on the trainings. With --from karlo, text encoder, prior,
    decoder and super-resolution of a Karlo folder become the networks of the cascade. Decoder and super-resolution get
    temporal layers, and the defaults of the options are those of Karlo's own pipeline. With --from stable-unclip, image
    encoder, decoder and autoencoder become a pipeline without text input, for `mav generate --variation`.

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
    family = None if source is None else _family(source[0])
    if factor is not None and sr_low is None and sr_high is None:
        raise UserError(f"{factor} has no effect without --sr-low or --sr-high; omit it.", argument="factor")
    from mav_lightning.cascade.pipeline_file import PIPELINE
    from mav_lightning.cascade.pipeline_folder import NetworkFolders, write_pipeline
    from mav_lightning.common.schema import build
    from mav_lightning.common.whole_file import new_folder

    defaults = {} if source is None or family is None else _defaults(family, source[1], sr_low)
    chosen = {
        "size": size, "sampler": sampler, "steps": steps, "interpolator_sampler": interpolator_sampler,
        "interpolator_steps": interpolator_steps, "sr_sampler": sr_sampler, "sr_steps": sr_steps,
        "guidance_scale": guidance_scale, "augmentation": augmentation,
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
        if source is not None and family is not None:
            given |= family.write(source[1], partial, [role for role in family.roles if role not in given])
        write_pipeline(partial, sampling, NetworkFolders(**given))
    echo(f"pipeline: {out}")


class _Family(NamedTuple):
    """How folders of one kind of pipeline become networks.

    Attributes:
        roles: Roles of the networks that such a folder has.
        sampling: Returns the fields of `Sampling` of a folder.
        write: Writes the networks of some roles of a folder into another one.
    """

    roles: Collection[str]
    sampling: Callable[[Path], dict[str, Any]]
    write: Callable[[Path, Path, Collection[str]], dict[str, Path]]


def _family(name: str) -> _Family:
    if name == "karlo":
        from mav_lightning.pretrained import unclip_folder as karlo

        return _Family(karlo.UNCLIP_ROLES, karlo.unclip_sampling, karlo.write_unclip_networks)
    from mav_lightning.pretrained import stable_unclip_folder as stable

    return _Family(stable.STABLE_UNCLIP_ROLES, stable.stable_unclip_sampling, stable.write_stable_unclip_networks)


def _defaults(family: _Family, folder: Path, sr_low: Path | None) -> dict[str, Any]:
    """Return the settings of sampling of a pipeline's folder; those of super-resolution only for its own."""
    found = family.sampling(folder)
    if sr_low is not None:
        for name in ("low_factor", "upsampling", "augmentation", "sr_steps"):
            found.pop(name, None)
    return found
