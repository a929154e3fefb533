"""Growing one network from another, with a report of where every weight came from."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mav_lightning.common.errors import UserError

__all__ = ["TransferReport", "freeze_spatial", "is_temporal", "transfer"]


@dataclass(frozen=True)
class TransferReport:
    """Names of the weights of a transfer.

    Attributes:
        copied: In both networks, taken from the parent.
        new: In the child alone; temporal layers, as they were initialised.
        widened: The first convolution of a child with further input channels, which start at zero: they are seen, and
            change nothing yet. Empty where both see the same.
    """

    copied: list[str]
    new: list[str]
    widened: list[str]


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
    shared = sorted(set(source) & set(target))
    widened = [name for name in shared if _is_wider_entrance(name, source[name], target[name])]
    unlike = [name for name in shared if name not in widened and source[name].shape != target[name].shape]
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
            place = target[name]
            if name in widened:
                place = place.zero_()[:, : value.shape[1]]
            place.copy_(value)
    return TransferReport([name for name in shared if name not in widened], new, widened)


def _is_wider_entrance(name: str, source: Tensor, target: Tensor) -> bool:
    """Whether a weight is the first convolution's, and the child's differs in seeing more channels only."""
    if not name.endswith("enter.spatial.weight") or target.shape[1] <= source.shape[1]:
        return False
    return target[:, : source.shape[1]].shape == source.shape


def freeze_spatial(net: nn.Module) -> None:
    """Leaves only the temporal weights trainable."""
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(is_temporal(name))


def is_temporal(name: str) -> bool:
    """Whether a weight of this name belongs to a temporal layer."""
    return any(part.startswith("temporal") for part in name.split("."))
