"""Whether the networks of a cascade can be sampled with given settings."""

from mav_lightning.cascade.cascade import Cascade
from mav_lightning.cascade.sample_networks import noise_levels
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.common.errors import UserError
from mav_lightning.diffusion.denoiser import space_time_network

__all__ = ["check_sampling"]


def check_sampling(cascade: Cascade, sampling: Sampling) -> None:
    """Check settings against the networks that they are for.

    Args:
        cascade: The networks.
        sampling: Settings of the sampling chain.

    Raises:
        UserError: If a network was not trained on the noise levels, the size is no multiple of the autoencoder's
            factor, or super-resolution reads other inputs than it would get.
    """
    if cascade.vae is not None and sampling.size % cascade.vae.network.factor:
        raise UserError(
            f"must be a multiple of {cascade.vae.network.factor}, by which `vae` divides images, got {sampling.size}.",
            argument="size",
        )
    noise_levels(cascade.decoder.network, sampling, sampling.solver("decoder").steps)
    if cascade.interpolator is not None:
        noise_levels(cascade.interpolator.network, sampling, sampling.solver("interpolator").steps)
    for role, member in (("sr_low", cascade.sr_low), ("sr_high", cascade.sr_high)):
        if member is None:
            continue
        noise_levels(member.network, sampling, sampling.solver("sr").steps)
        channels = member.network.channels
        given, read = 2 * channels + (sampling.augmentation > 0), space_time_network(member.network).in_channels
        if given != read:
            level = "reads no level of added noise; use augmentation=0"
            raise UserError(
                f"{level if read == 2 * channels else 'reads the level of added noise; use augmentation above 0'} "
                f"({read} input channels, not {given}).",
                argument=role,
            )
