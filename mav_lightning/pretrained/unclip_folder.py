"""The folder of an unCLIP pipeline of diffusers, such as Karlo's, as the networks of a cascade."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open

from mav_lightning.common.diffusers_library import diffusers_class, known_arguments
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import PositiveFloat, PositiveInt, check, read_json
from mav_lightning.networks.card import Card
from mav_lightning.networks.catalogue import build_network, node_of
from mav_lightning.networks.huggingface_encoder import write_encoder
from mav_lightning.networks.stored import write_network
from mav_lightning.pretrained.diffusers_folder import (
    CONFIG,
    check_pipeline,
    demand_same_weights,
    read_part,
    read_scheduler,
    weights_file,
)
from mav_lightning.pretrained.empty_caption import fill_empty_caption, read_text_encoder
from mav_lightning.pretrained.grown_source import PREDICTIONS, GrownSource, read_grown_source
from mav_lightning.pretrained.grown_unet import GrownUNet
from mav_lightning.pretrained.last_step_expert import LastStepExpert
from mav_lightning.pretrained.unclip_prior import UnclipPrior, UnclipPriorNetwork
from mav_lightning.pretrained.unclip_text import UnclipTextEncoder

__all__ = ["UNCLIP_ROLES", "unclip_sampling", "write_unclip_networks"]

_MODELS = {
    "text_encoder": "CLIPTextModelWithProjection",
    "prior": "PriorTransformer",
    "text_proj": "UnCLIPTextProjModel",
    "decoder": "UNet2DConditionModel",
    "super_res_first": "UNet2DModel",
    "super_res_last": "UNet2DModel",
}
_SCHEDULERS = ("prior_scheduler", "decoder_scheduler", "super_res_scheduler")
# Defaults of diffusers' UnCLIPPipeline.
_STEPS, _SR_STEPS, _PRIOR_STEPS, _GUIDANCE, _PRIOR_GUIDANCE = 25, 7, 25, 8.0, 4.0


@dataclass(frozen=True)
class _Levels:
    """Arguments of an UnCLIPScheduler."""

    num_train_timesteps: PositiveInt = 1000
    variance_type: Literal["fixed_small_log", "learned_range"] = "fixed_small_log"
    clip_sample: bool = True
    clip_sample_range: PositiveFloat = 1.0
    prediction_type: Literal["epsilon", "sample"] = "epsilon"
    beta_schedule: Literal["squaredcos_cap_v2"] = "squaredcos_cap_v2"

    @property
    def clip_range(self) -> float | None:
        """Largest absolute value of an estimate. None for no limit."""
        return self.clip_sample_range if self.clip_sample else None


def unclip_sampling(source: Path) -> dict[str, Any]:
    """Return the fields of `Sampling` that sample as diffusers' pipeline does by default.

    Args:
        source: Folder that ``save_pretrained`` of a ``UnCLIPPipeline`` wrote.

    Raises:
        UserError: If the folder is not such a pipeline, or lacks a part.
    """
    schedulers = _check_folder(source)
    sizes = {name: _config(source, name).get("sample_size") for name in ("decoder", "super_res_first")}
    small, large = sizes.values()
    if not (isinstance(small, int) and isinstance(large, int) and 0 < small < large and large % small == 0):
        raise UserError(
            f"{source}: super-resolution must upsample by a whole factor, got a `sample_size` of {small} for the "
            f"decoder and of {large} after it.",
            argument="source",
        )
    clips = {name: schedulers[name].clip_range for name in ("decoder_scheduler", "super_res_scheduler")}
    if len(set(clips.values())) > 1:
        raise UserError(f"{source}: schedulers that clip differently are not supported: {clips}.", argument="source")
    return {
        "size": small, "low_factor": large // small, "upsampling": "bicubic", "augmentation": 0.0, "sampler": "ddpm",
        "steps": _STEPS, "sr_steps": _SR_STEPS, "noise_levels": "trained", "clip_range": clips["decoder_scheduler"],
        "guidance_scale": _GUIDANCE,
    }  # fmt: skip


def write_unclip_networks(source: Path, out: Path, roles: Collection[str]) -> dict[str, Path]:
    """Write the networks of an unCLIP pipeline; decoder and super-resolution get temporal layers and are certified.

    Args:
        source: Folder that ``save_pretrained`` of a ``UnCLIPPipeline`` wrote.
        out: Folder in which each network gets a folder with the name of its role.
        roles: Roles to write, of `UNCLIP_ROLES`.

    Returns:
        Role → the network's folder.

    Raises:
        UserError: If the folder is not such a pipeline, or a part cannot be read or is not what it should be.
    """
    _check_folder(source)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # what is new starts from the same weights, so the same folder gives the same networks
        for role in roles:
            UNCLIP_ROLES[role](source, out / role)
    return {role: out / role for role in roles}


def _write_text_encoder(source: Path, place: Path) -> None:
    encoder, tokenizer = read_text_encoder(source, projected=True)
    if tokenizer.model_max_length != encoder.config.max_position_embeddings:
        raise UserError(
            f"{source}: the tokenizer cuts captions after {tokenizer.model_max_length} tokens, and the text encoder "
            f"reads {encoder.config.max_position_embeddings}; give a complete copy of one pipeline.",
            argument="source",
        )
    write_encoder(place, UnclipTextEncoder, encoder, source.name, tokenizer)


def _write_prior(source: Path, place: Path) -> None:
    part, levels = read_part(source / "prior", ("PriorTransformer",)), _levels(source, "prior_scheduler")
    if levels.variance_type != "fixed_small_log":
        raise UserError(f"{source}: a prior that learns its variance is not supported.", argument="source")
    kind = diffusers_class("diffusers.models.transformers.prior_transformer", "PriorTransformer")
    net = node_of(
        UnclipPriorNetwork,
        config=_known(kind, part.config, part.files[0]),
        schedule={"num_train_timesteps": levels.num_train_timesteps, "beta_schedule": levels.beta_schedule},
    )
    node = node_of(
        UnclipPrior,
        denoiser=node_of(PREDICTIONS[levels.prediction_type], net=net, sigma_data=1.0),
        steps=_PRIOR_STEPS,
        guidance_scale=_PRIOR_GUIDANCE,
        clip_range=levels.clip_range,
    )
    card = Card.of(node, {"name": source.name})
    with torch.device("meta"):
        needed = build_network(card.network, str(part.files[0])).state_dict()
    null, prefix = "denoiser.net.null_text", "denoiser.net.model."
    demand_same_weights(
        source / "prior", part.weights, {one.removeprefix(prefix): needed[one] for one in needed if one != null}
    )
    empty = torch.zeros(needed[null].shape)
    fill_empty_caption(empty, source / "prior", projected=True)
    write_network(place, {f"{prefix}{name}": value for name, value in part.weights.items()} | {null: empty}, card)


def _write_decoder(source: Path, place: Path) -> None:
    # Conditions that are image embeddings alone are unit vectors; with a caption they have their own norm.
    grown = _grown(source / "decoder", partial(GrownUNet, cond_norm=_embedding_norm(source)))
    write_network(place, grown.denoiser.state_dict(), Card.of(grown.node, {"name": source.name, "size": grown.size}))


def _write_super_resolution(source: Path, place: Path) -> None:
    first, last = (_grown(source / name, GrownUNet) for name in ("super_res_first", "super_res_last"))
    node = {**first.node, "net": node_of(LastStepExpert, first=first.node["net"], last=last.node["net"])}
    both = LastStepExpert(first.net, last.net)
    weights = {f"net.{name}": value for name, value in both.state_dict().items()}
    write_network(place, weights, Card.of(node, {"name": source.name, "size": first.size}))


def _grown(source: Path, grown: Callable[..., GrownUNet]) -> GrownSource:
    found = read_grown_source(source, grown)
    found.complete()
    return found


def _embedding_norm(source: Path) -> float:
    """Return the root mean square norm of the image embeddings that the prior was trained to predict."""
    file = weights_file(source / "prior")
    try:
        with safe_open(file, "pt") as stored:
            mean, std = (stored.get_tensor(f"clip_{name}").double() for name in ("mean", "std"))
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file}: cannot be read ({error}); copy the file again.", argument="source") from error
    return float((mean.square() + std.square()).sum().sqrt())


def _check_folder(source: Path) -> dict[str, _Levels]:
    """Check that a folder is a complete unCLIP pipeline, and return the arguments of its schedulers."""
    kinds = {**_MODELS, "tokenizer": "CLIPTokenizer", **dict.fromkeys(_SCHEDULERS, "UnCLIPScheduler")}
    check_pipeline(source, "UnCLIPPipeline", kinds)
    return {name: _levels(source, name) for name in _SCHEDULERS}


def _levels(source: Path, name: str) -> _Levels:
    """Return the arguments of a scheduler."""
    file = source / name / "scheduler_config.json"
    kind = diffusers_class("diffusers.schedulers.scheduling_unclip", "UnCLIPScheduler")
    stored = read_scheduler(file)
    if stored.get("_class_name") != kind.__name__:
        raise UserError(f"{file}: is of a {stored.get('_class_name')}; expected {kind.__name__}.", argument="source")
    found: _Levels = check(_known(kind, stored, file), _Levels, str(file))
    return found


def _known(kind: Any, config: dict[str, Any], file: Path) -> dict[str, Any]:
    """Return the arguments of a class in a config file."""
    try:
        return known_arguments(kind, config)
    except UserError as error:
        raise UserError(f"{file}: {error.message}", argument="source") from error


def _config(source: Path, part: str) -> dict[str, Any]:
    found: dict[str, Any] = read_json(source / part / CONFIG, dict[str, Any])
    return found


UNCLIP_ROLES: dict[str, Callable[[Path, Path], None]] = {
    "clip": _write_text_encoder,
    "prior": _write_prior,
    "decoder": _write_decoder,
    "sr_low": _write_super_resolution,
}
