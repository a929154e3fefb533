"""``mav cost``: the cost of training stages."""

from typing import Annotated, Any

import typer

from mav_lightning.cli.options import Allow, config_file
from mav_lightning.cli.printing import echo

__all__ = ["cost"]


def cost(
    configs: Annotated[
        list[str],
        typer.Argument(
            callback=lambda words: [word if "=" in word else config_file(word) for word in words],
            help="Configs of stages, for example stage/temporal_paper.yaml, and key=value words for all of them.",
        ),
    ],
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Samples per step. The config's own by default.")
    ] = None,
    allow: Allow = None,
) -> None:
    """Compute parameters, FLOPs and memory of training stages as a Markdown table, without running anything.

    All memory is in float32. States are weights, gradients, one momentum and the moving average; activations are what
    the forward pass keeps for the backward pass. The peak is the most that a step needs at once; optimizer, libraries
    and allocators need more. The result is the same on any machine.

    Examples:
        mav cost stage/spatial_paper.yaml stage/temporal_paper.yaml --batch-size 1

        mav cost stage/temporal_grown.yaml needs.grown=runs/grown module.spatial_lr=0
    """
    from mav_lightning.common.errors import UserError
    from mav_lightning.common.units import count, memory, operations
    from mav_lightning.config import load_config
    from mav_lightning.flops import network_cost

    rows = []
    overrides, paths = ([word for word in configs if ("=" in word) == override] for override in (True, False))
    if not paths:
        raise UserError("got overrides only; name a config, for example stage/temporal_tiny.yaml.", argument="configs")
    for path in paths:
        config = load_config(path, overrides)
        batch = batch_size or _batch_size(config)
        found = network_cost(config, batch)
        rows.append(
            (
                path,
                count(found.parameters),
                count(found.temporal),
                count(batch),
                operations(found.flops),
                memory(found.state_bytes),
                memory(found.activation_bytes),
                memory(found.peak_bytes),
            )
        )
    echo("| stage | parameters | temporal | batch | FLOPs per step | states | activations | peak |")
    echo("|---|---|---|---|---|---|---|---|")
    for row in rows:
        echo(f"| {' | '.join(row)} |")


def _batch_size(config: dict[str, Any]) -> int:
    data = config["data"]
    return int(data.get("clips", data)["batch_size"])
