"""The folder of a Stable unCLIP pipeline of diffusers as the networks of a cascade that makes clips of given ones."""

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import PositiveFloat, check, read_json
from mav_lightning.common.transformers_library import transformers_library
from mav_lightning.networks.card import Card, network_id
from mav_lightning.networks.catalogue import node_of
from mav_lightning.networks.huggingface_encoder import read_model, write_encoder
from mav_lightning.networks.stored import write_network
from mav_lightning.pretrained.diffusers_folder import CONFIG, check_pipeline, read_part, weights_file
from mav_lightning.pretrained.grown_source import read_grown_source
from mav_lightning.pretrained.grown_unet import GrownUNet
from mav_lightning.pretrained.latent_vae import write_autoencoder
from mav_lightning.pretrained.stable_unclip import AbsentPrior, StableUnclipImageEncoder

__all__ = ["STABLE_UNCLIP_ROLES", "stable_unclip_sampling", "write_stable_unclip_networks"]

_KIND = "StableUnCLIPImg2ImgPipeline"
_PARTS = {
    "feature_extractor": "CLIPImageProcessor",
    "image_encoder": "CLIPVisionModelWithProjection",
    "image_normalizer": "StableUnCLIPImageNormalizer",
    "image_noising_scheduler": None,
    "tokenizer": "CLIPTokenizer",
    "text_encoder": "CLIPTextModel",
    "unet": "UNet2DConditionModel",
    "scheduler": None,
    "vae": "AutoencoderKL",
}
STABLE_UNCLIP_ROLES = ("clip", "prior", "vae", "decoder")
_STEPS, _GUIDANCE = 20, 10.0  # defaults of diffusers' pipeline


def stable_unclip_sampling(source: Path) -> dict[str, Any]:
    """Return the fields of `Sampling` that sample with the defaults of diffusers' pipeline, as far as they exist here.

    Args:
        source: Folder that ``save_pretrained`` of a ``StableUnCLIPImg2ImgPipeline`` wrote.

    Raises:
        UserError: If the folder is not such a pipeline, or lacks a part.
    """
    check_pipeline(source, _KIND, _PARTS)
    return {
        "size": _size(source), "sampler": "ddim", "steps": _STEPS, "noise_levels": "trained",
        "guidance_scale": _GUIDANCE,
    }  # fmt: skip


def write_stable_unclip_networks(source: Path, out: Path, roles: Collection[str]) -> dict[str, Path]:
    """Write the networks of a Stable unCLIP pipeline; the latent decoder gets temporal layers and is certified.

    Args:
        source: Folder that ``save_pretrained`` of a ``StableUnCLIPImg2ImgPipeline`` wrote.
        out: Folder in which each network gets a folder with the name of its role.
        roles: Roles to write, of `STABLE_UNCLIP_ROLES`.

    Returns:
        Role → the network's folder.

    Raises:
        UserError: If the folder is not such a pipeline, or a part cannot be read or is not what it should be.
    """
    check_pipeline(source, _KIND, _PARTS)
    writers: dict[str, Callable[[Path, Path], None]] = {
        "clip": _write_image_encoder,
        "prior": _write_no_prior,
        "vae": _write_vae,
        "decoder": partial(_write_decoder, vae=out / "vae" if "vae" in roles else None),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # what is new starts from the same weights, so the same folder gives the same networks
        for role in STABLE_UNCLIP_ROLES:  # in this order, as the decoder's card names the autoencoder
            if role in roles:
                writers[role](source, out / role)
    return {role: out / role for role in roles}


def _write_image_encoder(source: Path, place: Path) -> None:
    folder = source / "image_encoder"
    weights_file(folder, "model.safetensors")
    model = read_model(transformers_library().CLIPVisionModelWithProjection, folder, "image encoder")
    file = source / "feature_extractor" / "preprocessor_config.json"
    stored = read_json(file, dict[str, Any], missing="give a complete copy of the pipeline")
    mean = check(stored.get("image_mean"), list[float], f"{file}.image_mean")
    std = check(stored.get("image_std"), list[PositiveFloat], f"{file}.image_std")
    write_encoder(place, StableUnclipImageEncoder, model, source.name, mean=mean, std=std)


def _write_no_prior(source: Path, place: Path) -> None:
    write_network(place, {}, Card.of(node_of(AbsentPrior), {"name": source.name}))


def _write_vae(source: Path, place: Path) -> None:
    write_autoencoder(read_part(source / "vae", ("AutoencoderKL",)), place)


def _write_decoder(source: Path, place: Path, vae: Path | None) -> None:
    # The encoder's embeddings are unit vectors here; their average norm follows from the statistics of the training.
    statistics = read_part(source / "image_normalizer", ("StableUnCLIPImageNormalizer",)).weights
    norm = float(sum(statistics[name].double().square().sum() for name in ("mean", "std")) ** 0.5)
    grown = read_grown_source(source / "unet", partial(GrownUNet, cond_norm=norm))
    grown.complete()
    trained = {"name": source.name, "size": _size(source), "vae": None if vae is None else network_id(vae)}
    write_network(place, grown.denoiser.state_dict(), Card.of(grown.node, trained))


def _size(source: Path) -> int:
    """Return the side of the images, in pixels."""
    side = read_json(source / "unet" / CONFIG, dict[str, Any]).get("sample_size")
    levels = read_json(source / "vae" / CONFIG, dict[str, Any]).get("block_out_channels")
    if not isinstance(side, int) or not isinstance(levels, list):
        raise UserError(
            f"{source}: `sample_size` of the network and `block_out_channels` of the autoencoder must be known, got "
            f"{side!r} and {levels!r}.",
            argument="source",
        )
    return side << (len(levels) - 1)
