"""``mav layers``: the activity of a network's temporal layers."""

from pathlib import Path
from typing import Annotated

import typer

from mav_lightning.cli.options import Allow, network_folder

__all__ = ["layers"]


def layers(
    network: Annotated[Path, typer.Argument(callback=network_folder, help="Folder of a trained network.")],
    allow: Allow = None,
) -> None:
    """Print each temporal layer's distance from the identity, computed from its weights.

    0 is the initialization. Convolutions: distance of the temporal kernel from the identity, divided by the norm of the
    identity. Attention: norm of the output projection, divided by that of the identity. To measure how much a layer
    *matters*, remove it: the study ablation/knockout.yaml takes the names printed here and needs no training.

    Example: mav layers runs/demo/stages/temporal-9937f1fab11a61e1
    """
    from rich.table import Table

    from mav_lightning.common.console import SafeConsole
    from mav_lightning.common.errors import UserError
    from mav_lightning.diffusion.denoiser import space_time_network
    from mav_lightning.networks.stored import load_network

    activity = space_time_network(load_network(network)).temporal_activity()
    if not activity:
        raise UserError(f"{network}: this network has no temporal layers; give a decoder trained on clips.")
    most = max(activity.values()) or 1.0
    table = Table("layer", "activity", "", box=None)
    for name, value in activity.items():
        table.add_row(name, f"{value:.3f}", "█" * round(30 * value / most))
    SafeConsole().print_table(table)
