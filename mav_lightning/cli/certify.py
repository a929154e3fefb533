"""``mav certify``: checks what a network must equal before its first step."""

from typing import Annotated

import typer

from mav_lightning.cli.printing import echo

__all__ = ["certify"]


def certify(
    config: Annotated[str, typer.Argument(help="A decoder's config, for example stage/temporal_tiny.yaml.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value; with needs.parent=DIR the trained parent is compared too.")
    ] = None,
) -> None:
    """Check, in float64, that a clip equals its frames while the temporal layers are as initialised.

    All spatial weights are randomised first. If a layer breaks the rule it is named, and the exit code is 1. Given a
    trained parent, the network must also equal it frame by frame.

    Example: mav certify stage/temporal_tiny.yaml
    """
    import torch

    from mav_lightning.certificate import TOLERANCE, certify_frames, certify_parent
    from mav_lightning.checkpoint import load_network
    from mav_lightning.common.errors import UserError
    from mav_lightning.config import instantiate, load_config
    from mav_lightning.modules.transfer import transfer

    loaded = load_config(config, overrides or [])
    node = loaded.get("module", {}).get("denoiser", {})
    if "cond_channels" not in node.get("net", {}):
        raise UserError(
            f"{config}: has no denoiser of frames to certify; give the config of a decoder, "
            "as stage/temporal_tiny.yaml."
        )
    torch.manual_seed(0)
    cond_channels, denoiser = node["net"]["cond_channels"], instantiate(node)
    checks = {"a clip equals its frames": certify_frames(denoiser, denoiser.net.downsampling, cond_channels)}
    del denoiser  # of `paper`, two do not fit beside each other
    folder = loaded["needs"].get("parent", "@")
    if not folder.startswith("@"):
        parent, child = load_network(folder), instantiate(node)
        transfer(parent, child)
        checks[f"a clip equals what {folder} makes of it"] = certify_parent(
            child, parent, loaded["size"], cond_channels
        )
    for claim, found in checks.items():
        verdict = "holds" if found.holds else f"BROKEN, first by layer `{found.layer}`"
        echo(f"{claim}: {verdict} (difference {found.error:.1e}, allowed {TOLERANCE:.0e}; {found.size} px, float64)")
    if not all(found.holds for found in checks.values()):
        raise typer.Exit(1)
