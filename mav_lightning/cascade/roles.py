"""The roles of networks in a cascade."""

from typing import Literal, get_args

from mav_lightning.common.errors import UserError

__all__ = ["ROLES", "Role", "missing_network"]

Role = Literal["clip", "prior", "decoder", "vae", "interpolator", "sr_low", "sr_high"]
ROLES: tuple[Role, ...] = get_args(Role)  # in the order in which the networks run


def missing_network(role: Role, purpose: str) -> UserError:
    """Return the error for a network that a cascade lacks.

    Args:
        role: Role of the network.
        purpose: What it is needed for.
    """
    return UserError(
        f"{purpose}: this pipeline has no network `{role}`. Train one with the config stage/{role}_tiny.yaml and "
        f"add it to the pipeline: `mav pipeline --{role.replace('_', '-')}`."
    )
