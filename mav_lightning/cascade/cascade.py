"""The networks of the text-to-video cascade as one typed object."""

from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import nn

from mav_lightning.cascade.roles import ROLES, Role
from mav_lightning.common.errors import UserError
from mav_lightning.diffusion.denoiser import NetDenoiser, space_time_network
from mav_lightning.nn.base import ImageAutoencoder, ImagePrior, TextImageEncoder

__all__ = ["KINDS", "Cascade", "TrainedNetwork", "of_kind"]

N = TypeVar("N", bound=nn.Module, covariant=True)
M = TypeVar("M", bound=nn.Module)

# Role → class that the network in it must have.
KINDS: dict[Role, type[nn.Module]] = {
    "clip": TextImageEncoder,
    "prior": ImagePrior,
    "decoder": NetDenoiser,
    "vae": ImageAutoencoder,
    "interpolator": NetDenoiser,
    "sr_low": NetDenoiser,
    "sr_high": NetDenoiser,
}


@dataclass(frozen=True)
class TrainedNetwork(Generic[N]):
    """A network and what is known of its training.

    Attributes:
        network: The network.
        id: Content id of its weights and architecture, 16 hexadecimal digits. None if it was not read from a folder.
        fps: Lowest and highest frame rate of its training clips, frames per second. None if unknown: any rate is
            accepted.
        words: Words of its training captions. None if unknown.
        conditioned: Whether image embeddings conditioned it; decides for networks of super-resolution only.
        vae: Id of the autoencoder whose latents it was trained on. None for pixels.
    """

    network: N
    id: str | None = None
    fps: tuple[float, float] | None = None
    words: frozenset[str] | None = None
    conditioned: bool = False
    vae: str | None = None


@dataclass(frozen=True)
class Cascade:
    """The networks of the text-to-video cascade, in the order in which they run.

    Attributes:
        clip: Encodes texts and images into one space.
        prior: Predicts the image embedding of a text: P.
        decoder: Denoiser of low-resolution clips, Dᵗ, or of images; an image denoiser samples frames independently.
        vae: Autoencoder whose latents `decoder` makes. None for a decoder of pixels.
        interpolator: Denoiser that fills unknown frames: ↑F. None if the cascade has none.
        sr_low: Denoiser of spatiotemporal super-resolution: SRₗᵗ. None if the cascade has none.
        sr_high: Denoiser of spatial super-resolution: SRₕ. None if the cascade has none.

    Raises:
        UserError: If a network is not of the kind that its role requires, or does not take the embeddings of `clip`.
    """

    clip: TrainedNetwork[TextImageEncoder]
    prior: TrainedNetwork[ImagePrior]
    decoder: TrainedNetwork[NetDenoiser]
    vae: TrainedNetwork[ImageAutoencoder] | None = None
    interpolator: TrainedNetwork[NetDenoiser] | None = None
    sr_low: TrainedNetwork[NetDenoiser] | None = None
    sr_high: TrainedNetwork[NetDenoiser] | None = None

    def __post_init__(self) -> None:
        """Check the kind of each network and switch it to evaluation mode."""
        for role, member in self.members.items():
            of_kind(member.network, KINDS[role], role).eval()
        self._check_latents()
        if self.prior.network.keeps_captions and not space_time_network(self.decoder.network).reads_captions:
            raise UserError(
                "returns captions together with image embeddings, but `decoder` reads embeddings only; choose networks "
                "of the same pipeline.",
                argument="prior",
            )
        for role, member in self.denoisers.items():
            if member.conditioned or role in ("decoder", "interpolator"):
                taken, given = space_time_network(member.network).cond_channels, self.clip.network.channels
                if taken != given:
                    raise UserError(
                        f"takes image embeddings of length {taken}, and those of `clip` have {given}; choose the "
                        "encoder that it was trained with.",
                        argument=role,
                    )

    def _check_latents(self) -> None:
        """Check that the decoder's latents are those of the autoencoder."""
        made, own = self.decoder.network.channels, 3 if self.vae is None else self.vae.network.channels
        trained = self.decoder.vae
        if self.vae is not None and made == 3 != own:
            raise UserError(
                "`decoder` generates pixels, not latents, so no autoencoder is needed; leave it out.", argument="vae"
            )
        if made != own or (trained is not None and self.vae is not None and self.vae.id not in (None, trained)):
            of = f"latents of autoencoder {trained}" if trained else f"{made} channels"
            given = "there is none" if self.vae is None else f"it is {self.vae.id}, of {own} channels"
            raise UserError(f"`decoder` makes {of}, and {given}; give the one that encoded its data.", argument="vae")

    @property
    def members(self) -> dict[Role, TrainedNetwork[nn.Module]]:
        """The networks that the cascade has, by role, in the order in which they run."""
        return {role: member for role in ROLES if (member := getattr(self, role)) is not None}

    @property
    def denoisers(self) -> dict[Role, TrainedNetwork[NetDenoiser]]:
        """The denoisers that the cascade has, by role, in the order in which they run."""
        roles = (role for role in ROLES if KINDS[role] is NetDenoiser)
        return {role: member for role in roles if (member := getattr(self, role)) is not None}

    @property
    def ids(self) -> dict[str, str]:
        """Content id of each network that has one, by role."""
        return {role: member.id for role, member in self.members.items() if member.id is not None}

    @property
    def rates(self) -> dict[Role, tuple[float, float] | None]:
        """Lowest and highest trained frame rate of each network, by role; None if unknown."""
        return {role: member.fps for role, member in self.members.items()}

    @property
    def device(self) -> torch.device:
        """Device of the networks."""
        return next(self.decoder.network.parameters()).device

    def to(self, device: torch.device | str) -> None:
        """Move all networks to a device."""
        for member in self.members.values():
            member.network.to(device)


def of_kind(network: nn.Module, kind: type[M], name: str) -> M:
    """Return a network as an instance of `kind`.

    Args:
        network: The network.
        kind: Class that it must have.
        name: Name of the network, for the message.

    Raises:
        UserError: If it is of another class.
    """
    if not isinstance(network, kind):
        raise UserError(f"must be a {kind.__name__}, got a {type(network).__name__}.", argument=name)
    return network
