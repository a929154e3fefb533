"""An image network of diffusers, read from a folder and extended by time: weights loaded, then certified."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mav_lightning.certificate import TOLERANCE, Certificate, certify_frames
from mav_lightning.common.errors import UserError
from mav_lightning.diffusion.denoiser import EpsDenoiser, HybridDenoiser, NetDenoiser, VDenoiser, X0Denoiser
from mav_lightning.networks.catalogue import node_of
from mav_lightning.pretrained.diffusers_folder import (
    Part,
    demand_same_weights,
    find_scheduler,
    pipeline_of,
    read_part,
    read_scheduler,
    read_weights,
    sibling,
)
from mav_lightning.pretrained.empty_caption import caption_files, caption_length, fill_empty_caption
from mav_lightning.pretrained.grown_conditioning import UnclipConditioning
from mav_lightning.pretrained.grown_unet import GrownUNet
from mav_lightning.pretrained.timesteps import NoiseSchedule
from mav_lightning.pretrained.unet_config import check_unet_config

__all__ = ["PREDICTIONS", "GrownSource", "noise_schedule", "read_grown_source"]

# What a network predicts, under diffusers' name → the denoiser that reads it so.
PREDICTIONS: dict[str, type[NetDenoiser]] = {"epsilon": EpsDenoiser, "v_prediction": VDenoiser, "sample": X0Denoiser}


class _Noising(NamedTuple):
    """How a source's training added noise to image embeddings."""

    schedule: NoiseSchedule
    normalizer: Part
    files: list[Path]


@dataclass(frozen=True)
class GrownSource:
    """An image network of diffusers with added temporal layers.

    Attributes:
        folder: The source's folder.
        denoiser: Denoiser of `net`.
        net: The extended network, with the source's weights.
        node: Config node that builds it.
        size: Height and width of the images it was trained on. None if unknown.
        captions: Files of the text encoder that the empty caption is encoded with; empty if there is none.
        files: All files that the source was read from.
    """

    folder: Path
    denoiser: NetDenoiser
    net: GrownUNet
    node: dict[str, Any]
    size: int | None
    captions: list[Path]
    files: list[Path]

    def complete(self, temporal: Path | None = None) -> Certificate | None:
        """Encode the empty caption, and check that the output for a clip equals the outputs for its frames.

        Args:
            temporal: Weights of trained temporal layers, which cannot be certified. None for new layers.

        Returns:
            The certificate; None if the temporal layers do not start as the identity.

        Raises:
            UserError: If the text encoder or the temporal weights do not fit, or the certificate does not hold.
        """
        if self.captions:
            _fill_empty_caption(self.net, self.folder)
        if temporal is not None:
            _load_temporal(self.net, temporal)
            return None
        return _certify(self.denoiser, self.folder) if self.net.identity_init else None


def read_grown_source(source: Path, grown: Callable[..., GrownUNet], scheduler: Path | None = None) -> GrownSource:
    """Read an image network of diffusers and add temporal layers to it.

    Args:
        source: Folder of a ``UNet2DModel`` or ``UNet2DConditionModel``. The other parts of its pipeline that it needs
            are read from the folders next to it.
        grown: Builds the network; its arguments that describe the source are filled in.
        scheduler: ``scheduler_config.json`` of the source's training. None reads the one of its pipeline.

    Raises:
        UserError: If a file is missing or not what it should be, or the network cannot be extended.
    """
    part = read_part(source, ("UNet2DModel", "UNet2DConditionModel"))
    scheduler = find_scheduler(source) if scheduler is None else scheduler
    levels = read_scheduler(scheduler)
    text_proj = None
    if part.config.get("class_embed_type") == "identity":
        text_proj = read_part(sibling(source, "text_proj"), ("UnCLIPTextProjModel",))
    noising = _noising(source) if part.config.get("class_embed_type") == "projection" else None
    captions = caption_files(source) if part.config.get("cross_attention_dim") else []
    arguments = _arguments(part, noise_schedule(levels, scheduler), text_proj)
    if captions:
        arguments["text_tokens"] = caption_length(source)
    if noising is not None:
        arguments["image_noising"] = noising.schedule
    kind, options = _prediction(levels, arguments["schedule"])
    net = grown(**arguments)
    described = {**(grown.keywords if isinstance(grown, partial) else {}), **arguments}
    node = node_of(
        kind, net=node_of(GrownUNet, **{name: _described(value) for name, value in described.items()}), **options
    )
    _load(net, source, part, text_proj)
    if noising is not None:
        _load_normalizer(net, noising.normalizer)
    files = [*part.files, scheduler, *captions, *(text_proj.files if text_proj else ())]
    files += noising.files if noising else []
    return GrownSource(source, kind(net, **options), net, node, part.size, captions, files)


def _arguments(part: Part, schedule: NoiseSchedule, text_proj: Part | None) -> dict[str, Any]:
    """Return the arguments of `GrownUNet` that describe the source."""
    try:
        check_unet_config(part.kind, part.config)
    except UserError as error:
        raise UserError(f"{part.files[0]}: {error.message}", argument="source") from error
    found: dict[str, Any] = {"kind": part.kind, "config": part.arguments, "schedule": schedule}
    if text_proj is not None:
        found["text_proj"] = text_proj.arguments
    return found


def noise_schedule(levels: Mapping[str, Any], file: Path) -> NoiseSchedule:
    """Return the noise schedule that a scheduler's config describes.

    Args:
        levels: Content of the config.
        file: The config, for messages.

    Raises:
        UserError: If the config describes no noise schedule, or one that is not supported.
    """
    if "Flow" in str(levels.get("_class_name")) or levels.get("trained_betas") or levels.get("rescale_betas_zero_snr"):
        raise UserError(
            f"{file}: the noise schedule is not supported: it must be given by beta_schedule, beta_start and beta_end.",
            argument="scheduler",
        )
    try:
        return NoiseSchedule(**{one.name: levels[one.name] for one in fields(NoiseSchedule) if one.name in levels})
    except UserError as error:
        raise UserError(f"{file}: {error}", argument="scheduler") from error


def _noising(source: Path) -> _Noising | None:
    """Read how Stable unCLIP adds noise to image embeddings; None if the source is not inside of its pipeline."""
    pipeline = pipeline_of(source)
    if pipeline is None or not (pipeline / "image_normalizer").is_dir():
        return None
    normalizer = read_part(pipeline / "image_normalizer", ("StableUnCLIPImageNormalizer",))
    scheduler = sibling(source, "image_noising_scheduler") / "scheduler_config.json"
    return _Noising(noise_schedule(read_scheduler(scheduler), scheduler), normalizer, [*normalizer.files, scheduler])


def _load_normalizer(net: GrownUNet, normalizer: Part) -> None:
    """Set the mean and the standard deviation by which image embeddings are scaled before they get noise."""
    conditioning = net.get_submodule("conditioning")
    needed = {name: conditioning.get_buffer(f"embedding_{name}")[None] for name in ("mean", "std")}
    demand_same_weights(normalizer.files[0].parent, normalizer.weights, needed)
    for name, place in needed.items():
        place.copy_(normalizer.weights[name])


def _prediction(levels: Mapping[str, Any], schedule: NoiseSchedule) -> tuple[type[NetDenoiser], dict[str, Any]]:
    """Return the denoiser that reads the network's output as its training meant it, and the denoiser's arguments."""
    prediction, variance = str(levels.get("prediction_type", "epsilon")), str(levels.get("variance_type"))
    if prediction not in PREDICTIONS or variance == "learned":
        raise UserError(
            f"prediction_type={prediction!r} with variance_type={variance!r} is not supported.", argument="scheduler"
        )
    options: dict[str, Any] = {"sigma_data": 1.0}  # a variance-preserving process
    if variance != "learned_range":
        return PREDICTIONS[prediction], options
    if prediction != "epsilon":
        raise UserError(f"learns a variance but predicts {prediction!r}, not the noise.", argument="scheduler")
    sigmas = schedule.sigmas()
    lowest, highest = float(sigmas[0]), float(sigmas[-1])
    return HybridDenoiser, {
        **options, "steps": schedule.num_train_timesteps, "sigma_min": lowest, "sigma_max": highest,
    }  # fmt: skip


def _described(value: Any) -> Any:
    """Return an argument of a network as its config node has it."""
    if isinstance(value, partial):  # a class that the network completes, such as a temporal layer
        return node_of(value.func, _partial_=True, **value.keywords)
    return asdict(value) if isinstance(value, NoiseSchedule) else value


def _load(net: GrownUNet, source: Path, part: Part, text_proj: Part | None) -> None:
    """Replace the weights of the image network by the source's."""
    state = net.state_dict()
    names = {theirs: ours for ours, theirs in net.source_names().items()}
    demand_same_weights(source, part.weights, {theirs: state[ours] for theirs, ours in names.items()})
    with torch.no_grad():
        for theirs, ours in names.items():
            state[ours].copy_(part.weights[theirs])
    if text_proj is not None:
        model = net.get_submodule("conditioning.text_proj")
        demand_same_weights(text_proj.files[0].parent, text_proj.weights, model.state_dict())
        model.load_state_dict(text_proj.weights)


def _load_temporal(net: GrownUNet, file: Path) -> None:
    """Replace the weights that the source does not have by those of an exported network."""
    kept = set(net.source_names()) | net.adapter_parameters().keys()
    own = {
        name: value
        for name, value in net.state_dict().items()
        if name not in kept and not name.startswith(("conditioning.text_proj.", "conditioning.embedding_"))
    }
    weights = read_weights(file)
    demand_same_weights(file, weights, own)
    net.load_state_dict(weights, strict=False)


def _fill_empty_caption(net: GrownUNet, source: Path) -> None:
    projected = isinstance(net.conditioning, UnclipConditioning)
    place: Tensor = net.conditioning.null_text if projected else net.conditioning.null_context  # type: ignore[assignment]
    fill_empty_caption(place, source, projected)


def _certify(denoiser: NetDenoiser, source: Path) -> Certificate:
    """Check that a clip equals its frames."""
    found = certify_frames(copy.deepcopy(denoiser))
    if not found.holds:
        raise UserError(
            f"{source}: the extended network does not process every frame as the source does, first in layer "
            f"`{found.layer}` (difference {found.error:.1e}, allowed {TOLERANCE:.0e}); it was not written."
        )
    return found
