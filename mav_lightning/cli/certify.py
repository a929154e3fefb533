"""``mav certify``: check what a network must equal before training."""

from typing import Annotated

import typer

from mav_lightning.cli.options import Allow, config_file
from mav_lightning.cli.printing import echo

__all__ = ["certify"]


def certify(
    config: Annotated[
        str, typer.Argument(callback=config_file, help="Config of a decoder, for example stage/temporal_tiny.yaml.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="key=value; needs.parent=DIR also compares the network with its trained parent."),
    ] = None,
    allow: Allow = None,
) -> None:
    """Check in float64 that an untrained decoder's output for a clip equals its output for each frame.

    All spatial weights are randomized first. If the check fails, the first layer that differs is named and the exit
    code is 1. With a trained parent, the network must also equal it frame by frame.

    Example: mav certify stage/temporal_tiny.yaml
    """
    import torch

    from mav_lightning.certificate import TOLERANCE, certify_frames, certify_parent
    from mav_lightning.common.errors import UserError
    from mav_lightning.config import instantiate, load_config
    from mav_lightning.diffusion.denoiser import NetDenoiser
    from mav_lightning.modules.transfer import transfer
    from mav_lightning.networks.stored import load_network

    loaded = load_config(config, overrides or [])
    node = (loaded.get("module") or {}).get("denoiser")
    if node is None:
        raise UserError(
            f"{config}: trains no denoiser of frames; give the config of a decoder, such as stage/temporal_tiny.yaml."
        )
    torch.manual_seed(0)
    checks = {"a clip equals its frames": certify_frames(instantiate(node))}
    folder = loaded["needs"].get("parent", "@")
    if not folder.startswith("@"):
        parent, child = load_network(folder), instantiate(node)
        if not isinstance(parent, NetDenoiser):
            raise UserError(f"{folder}: is not a denoiser; give the folder of a decoder.", argument="needs.parent")
        transfer(parent, child)
        checks[f"a clip equals the output of {folder}"] = certify_parent(child, parent, loaded["size"])
    for claim, found in checks.items():
        verdict = "holds" if found.holds else f"BROKEN, first by layer `{found.layer}`"
        echo(f"{claim}: {verdict} (difference {found.error:.1e}, allowed {TOLERANCE:.0e}; {found.size} px, float64)")
    if not all(found.holds for found in checks.values()):
        raise typer.Exit(1)
