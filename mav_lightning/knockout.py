"""Layer knock-out: a trained network with some temporal layers reset to the identity, without further training."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from mav_lightning.common.errors import UserError, nearest
from mav_lightning.common.task import Task
from mav_lightning.common.tracking import Track
from mav_lightning.diffusion.denoiser import space_time_network
from mav_lightning.networks.card import read_card
from mav_lightning.networks.stored import load_network, write_network
from mav_lightning.nn.base import SpaceTimeNetwork

__all__ = ["KnockOut", "knock_out"]


@dataclass(frozen=True)
class KnockOut(Task):
    """Write a trained network with some temporal layers reset to the identity.

    Attributes:
        folder: Folder of the trained network.
        layers: Layer names as `mav layers` prints them; ``*`` matches anything. Empty to keep all layers.
    """

    folder: Path
    layers: Sequence[str] = ()

    def run(self, place: Path, *, seed: int | None, track: Track) -> None:
        """Write the network with the layers knocked out.

        Args:
            place: Folder for the result.
            seed: Ignored; the task is deterministic.
            track: Ignored, since this takes no time.

        Raises:
            UserError: If there is no such network, or a name matches none of its temporal layers.
        """
        denoiser = load_network(self.folder)
        knock_out(space_time_network(denoiser), self.layers)
        write_network(place, denoiser.state_dict(), read_card(self.folder))


def knock_out(network: SpaceTimeNetwork, layers: Sequence[str]) -> list[str]:
    """Reset temporal layers to the identity, in place.

    Args:
        network: The network.
        layers: Layer names; ``*`` matches anything.

    Returns:
        The names of the layers that were reset.

    Raises:
        UserError: If a name matches no temporal layer; the network is then unchanged.
    """
    found = network.temporal_layers()
    for pattern in layers:
        if not any(fnmatchcase(name, pattern) for name in found):
            raise UserError(
                f"no temporal layer is called `{pattern}`; there are: {', '.join(found) or 'none'}.",
                argument="layers",
                suggestion=nearest(pattern, found),
            )
    chosen = [name for name in found if any(fnmatchcase(name, pattern) for pattern in layers)]
    for name in chosen:
        found[name].reset_to_identity()
    return chosen
