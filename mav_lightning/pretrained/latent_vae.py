"""The autoencoder of a latent diffusion model, as diffusers stores it: frozen, frame by frame."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mav_lightning.common.diffusers_library import diffusers_class, known_arguments
from mav_lightning.common.errors import UserError
from mav_lightning.common.task import Task
from mav_lightning.common.tracking import Track
from mav_lightning.networks.card import Card
from mav_lightning.networks.catalogue import node_of
from mav_lightning.networks.stored import write_network
from mav_lightning.nn.base import ImageAutoencoder
from mav_lightning.pretrained.diffusers_folder import Part, check_sha256, demand_same_weights, read_part

__all__ = ["AdoptAutoencoder", "LatentVAE", "write_autoencoder"]


class LatentVAE(ImageAutoencoder):
    """An ``AutoencoderKL`` of diffusers, the autoencoder of Stable Diffusion.

    Latents are the means of the posterior, without noise, shifted and scaled as the source's pipelines do, so that a
    frame always has the same latents.

    References:
        Latent diffusion (Rombach et al., 2022), §3.1. https://arxiv.org/abs/2112.10752

    Args:
        config: Arguments of the class, as in the source's ``config.json``.

    Raises:
        UserError: If diffusers is not installed, or an argument is unknown.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        kind = diffusers_class("diffusers.models.autoencoders.autoencoder_kl", "AutoencoderKL")
        self.model = kind(**known_arguments(kind, config))
        found = self.model.config
        self.channels, self.factor = found.latent_channels, 2 ** (len(found.block_out_channels) - 1)
        self.shift, self.scale = found.shift_factor or 0.0, found.scaling_factor

    def encode(self, pixels: Tensor) -> Tensor:
        """Encode images (B, 3, H, W) in [-1, 1] as latents (B, C, H / factor, W / factor)."""
        latents: Tensor = (self.model.encode(pixels).latent_dist.mode() - self.shift) * self.scale
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents (B, C, H, W) to images (B, 3, H · factor, W · factor), in [-1, 1] up to overshoot."""
        images: Tensor = self.model.decode(latents / self.scale + self.shift).sample
        return images


@dataclass(frozen=True)
class AdoptAutoencoder(Task):
    """Turn an ``AutoencoderKL`` of a local folder in diffusers' format into a stage that does not need the folder.

    Attributes:
        source: Folder of the autoencoder, for example ``stable-diffusion-v1-5/vae``.
        source_sha256: Hash of the files that are read, which identifies them wherever they are stored.
    """

    source: Path
    source_sha256: str

    def run(self, place: Path, *, seed: int | None, track: Track) -> None:
        """Read and write the autoencoder.

        Args:
            place: Folder for the result.
            seed: Ignored; the task is deterministic.
            track: Ignored; the task reports no progress.

        Raises:
            UserError: If a file is missing or not what it should be, or the hash differs.
        """
        part = read_part(self.source, ("AutoencoderKL",))
        check_sha256(part.files, self.source_sha256, self.source)
        write_autoencoder(part, place)


def write_autoencoder(part: Part, place: Path) -> None:
    """Write an autoencoder of diffusers as a network.

    Args:
        part: The ``AutoencoderKL``, as it was read.
        place: Folder for the network.

    Raises:
        UserError: If its description or its weights are not what they should be.
    """
    try:
        with torch.device("meta"):
            needed = LatentVAE(part.config).model.state_dict()
    except UserError as error:
        raise UserError(f"{part.files[0]}: {error.message}", argument="source") from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{part.files[0]}: does not describe an AutoencoderKL ({error}).", argument="source") from error
    source = part.files[0].parent
    demand_same_weights(source, part.weights, needed)
    card = Card.of(node_of(LatentVAE, config=part.arguments), {"name": source.name, "size": part.size})
    write_network(place, {f"model.{name}": value for name, value in part.weights.items()}, card)
