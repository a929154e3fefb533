"""Growing one network from another, with a report of where every weight came from."""

from dataclasses import dataclass

import torch
from torch import nn

from mav_lightning.common.errors import UserError

__all__ = ["TransferReport", "freeze_spatial", "is_temporal", "transfer"]


@dataclass(frozen=True)
class TransferReport:
    """Names of the weights of a transfer.

    Attributes:
        copied: In both networks, taken from the parent.
        new: In the child alone; temporal layers, as they were initialised.
    """

    copied: list[str]
    new: list[str]


def transfer(parent: nn.Module, child: nn.Module) -> TransferReport:
    """Copies every weight of `parent` to the weight of the same name in `child`.

    Raises:
        UserError: A weight of the parent has no place in the child or another shape there, or a spatial weight of the
            child is missing from the parent: the two are not the same network, and silence would hide it.
    """
    source, target = parent.state_dict(), child.state_dict()
    lost = sorted(set(source) - set(target))
    new = sorted(set(target) - set(source))
    missing = [name for name in new if not is_temporal(name)]
    unlike = [name for name in source if name in target and source[name].shape != target[name].shape]
    for problem, names in (
        ("not in the new network", lost),
        ("missing in the parent", missing),
        ("of another shape", unlike),
    ):
        if names:
            raise UserError(
                f"the parent's weights do not fit: {len(names)} {problem}, first `{names[0]}`; "
                "give both stages the same channels, multipliers, blocks and attention."
            )
    with torch.no_grad():
        for name, value in source.items():
            target[name].copy_(value)
    return TransferReport(sorted(source), new)


def freeze_spatial(net: nn.Module) -> None:
    """Leaves only the temporal weights trainable."""
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(is_temporal(name))


def is_temporal(name: str) -> bool:
    """Whether a weight of this name belongs to a temporal layer."""
    return any(part.startswith("temporal") for part in name.split("."))
