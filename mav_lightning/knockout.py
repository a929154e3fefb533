"""A trained network without some of its temporal layers, as a stage: what they are worth, nothing trained anew."""

from collections.abc import Sequence
from pathlib import Path

from mav_lightning.common.errors import UserError
from mav_lightning.networks.stored import load_network, read_card, write_network
from mav_lightning.nn.activity import knock_out

__all__ = ["write_knocked_out"]


def write_knocked_out(network: Path, layers: Sequence[str], out: Path) -> None:
    """Writes the network of `network` to `out`, the temporal part of some layers made the identity.

    Args:
        network: Folder of a trained network.
        layers: Names as `mav layers` prints them, with ``*`` for anything; none leaves all as they are.
        out: The stage's folder.

    Raises:
        UserError: No such network, or a name that no temporal layer has.
    """
    net = load_network(network)
    try:
        knock_out(getattr(net, "net", net), layers)  # a denoiser's layers are its network's
    except ValueError as error:
        raise UserError(f"task.layers: {error}") from error
    write_network(out, net.state_dict(), read_card(network))
