"""Whether the networks of a cascade can be sampled with given settings."""

from collections.abc import Collection, Mapping

from mav_lightning.cascade.cascade import Cascade
from mav_lightning.cascade.roles import Role
from mav_lightning.cascade.sample_networks import noise_levels, reads_noise_level
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.common.errors import UserError
from mav_lightning.diffusion.denoiser import NetDenoiser, space_time_network

__all__ = ["check_sampling"]

_SR = ("sr_low", "sr_high")


def check_sampling(cascade: Cascade, sampling: Sampling) -> None:
    """Check sampling settings against the networks of a cascade.

    Args:
        cascade: The networks.
        sampling: Settings of the sampling chain.

    Raises:
        UserError: If a network has fewer noise levels than steps, a setting has no effect on any network, the size is
            no multiple of the autoencoder's factor, or super-resolution reads other inputs than it would get.
    """
    if cascade.vae is not None and sampling.size % cascade.vae.network.factor:
        raise UserError(
            f"must be a multiple of {cascade.vae.network.factor}, by which `vae` divides images, got {sampling.size}.",
            argument="size",
        )
    denoisers = {role: member.network for role, member in cascade.denoisers.items()}
    _check_levels(denoisers.values(), sampling)
    for role, network in denoisers.items():
        noise_levels(network, sampling, sampling.solver(role).steps)
    _check_augmentation({role: network for role, network in denoisers.items() if role in _SR}, sampling)


def _check_levels(networks: Collection[NetDenoiser], sampling: Sampling) -> None:
    """Check that the networks have the noise levels that are requested, and that `Sampling.sigma_max` has an effect."""
    if sampling.noise_levels != "trained":
        return
    discrete = [network.net.training_sigmas() is not None for network in networks]
    if not any(discrete):
        raise UserError(
            "`trained` needs a network with discrete noise levels, but this pipeline has none; use "
            "noise_levels=karras.",
            argument="noise_levels",
        )
    if all(discrete) and sampling.sigma_max != Sampling.sigma_max:
        raise UserError(f"{sampling.sigma_max:g} has no effect with noise_levels=trained.", argument="sigma_max")


def _check_augmentation(networks: Mapping[Role, NetDenoiser], sampling: Sampling) -> None:
    """Check that networks of super-resolution read noisy input as `Sampling.augmentation` gives it."""
    for role, network in networks.items():
        read, needed = space_time_network(network).in_channels, 2 * network.channels
        if read not in (needed, needed + 1):
            raise UserError(
                f"reads {read} channels; a network of super-resolution reads {needed}, or {needed + 1} with the level "
                "of added noise.",
                argument=role,
            )
        if reads_noise_level(network) and sampling.augmentation == 0:
            raise UserError(
                f"reads the level of added noise ({read} input channels); use augmentation above 0.", argument=role
            )
    if networks and sampling.augmentation > 0 and not any(map(reads_noise_level, networks.values())):
        raise UserError(
            f"{sampling.augmentation:g} has no effect: {' and '.join(f'`{role}`' for role in networks)} "
            f"{'reads' if len(networks) == 1 else 'read'} no level of added noise; use augmentation=0.",
            argument="augmentation",
        )
