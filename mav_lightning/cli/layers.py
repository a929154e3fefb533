"""``mav layers``: what a network's temporal layers do."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["layers"]


def layers(
    network: Annotated[Path, typer.Argument(help="Folder of a trained network.")],
) -> None:
    """Print how far each temporal layer of a trained network is from doing nothing, from its weights alone.

    0 is the identity start. Convolutions: distance of the temporal kernel from the identity, over the identity's norm.
    Attention: norm of the output projection, over the identity's. What a layer is *worth* shows when it is taken out:
    the study ablation/knockout.yaml does, by the names printed here, and trains nothing.

    Example: mav layers runs/demo/stages/temporal-9937f1fab11a61e1
    """
    from rich.console import Console
    from rich.table import Table

    from mav_lightning.checkpoint import load_network
    from mav_lightning.common.errors import UserError
    from mav_lightning.common.terminal import markup
    from mav_lightning.nn.activity import temporal_activity

    net = load_network(network)
    found = temporal_activity(getattr(net, "net", net))  # a denoiser's layers are its network's
    if not found:
        raise UserError(f"{network}: no temporal layer in this network; give a decoder trained on clips.")
    most = max(found.values()) or 1.0
    table = Table("layer", "activity", "", box=None)
    for name, value in found.items():
        table.add_row(markup(name), f"{value:.3f}", "█" * round(30 * value / most))
    Console().print(table)
