"""Transfer of weights from a trained denoiser to a larger one."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mav_lightning.common.errors import UserError
from mav_lightning.common.hashing import tensors_sha256
from mav_lightning.diffusion.denoiser import NetDenoiser, space_time_network

__all__ = ["TransferReport", "freeze_spatial", "transfer"]


@dataclass(frozen=True)
class TransferReport:
    """The names of the weights of a transfer.

    Attributes:
        copied: Weights copied from the parent.
        new: Weights of the child's temporal layers and further mid blocks that the parent lacks.
        widened: The first convolution if the child has further input channels: the parent's weight, padded with zeros,
            so that the new channels start without effect. Empty otherwise.
        parent_sha256: Hash of the parent's weights, which the training is identified by.
    """

    copied: list[str]
    new: list[str]
    widened: list[str]
    parent_sha256: str


def transfer(parent: NetDenoiser, child: NetDenoiser) -> TransferReport:
    """Copy every weight of a denoiser to the weight of the same name in another.

    Args:
        parent: The trained denoiser.
        child: The denoiser to initialize. It may have temporal layers, input channels and further mid blocks that the
            parent lacks; these blocks start as the identity.

    Raises:
        UserError: If a weight of the parent has no counterpart in the child or another shape there, or a spatial weight
            of the child is missing from the parent.
    """
    network = space_time_network(child)
    temporal = {f"net.{name}" for name in network.temporal_names()}
    input_name = next((name for name, weight in child.named_parameters() if weight is network.input_weight), None)
    source, target = parent.state_dict(), child.state_dict()
    new = sorted(target.keys() - source.keys())
    shared = sorted(target.keys() & source.keys())
    widened = [name for name in shared if name == input_name and _is_wider(source[name], target[name])]
    added = temporal | {f"net.{name}" for name in network.insert_blocks([name.removeprefix("net.") for name in new])}
    for problem, names in (
        ("not in the new network", sorted(source.keys() - target.keys())),
        ("missing in the parent", [name for name in new if name not in added]),
        ("of another shape", [n for n in shared if n not in widened and source[n].shape != target[n].shape]),
    ):
        if names:
            raise UserError(
                f"the weights do not fit: {len(names)} {problem}, first `{names[0]}`; both networks need the same "
                "spatial layers: channels, multipliers, blocks and attention (only `mid_blocks` may grow).",
                argument="parent",
            )
    with torch.no_grad():
        for name, value in source.items():
            place = target[name]
            if name in widened:
                place = place.zero_()[:, : value.shape[1]]
            place.copy_(value)
    copied = [name for name in shared if name not in widened]
    return TransferReport(copied, new, widened, tensors_sha256(source))


def freeze_spatial(denoiser: NetDenoiser) -> None:
    """Freeze all weights except temporal ones and adapters of spatial layers.

    Raises:
        UserError: If the network has no temporal weights.
    """
    network = space_time_network(denoiser)
    trained = {**network.temporal_parameters(), **network.adapter_parameters()}
    if not trained:
        raise UserError("0 leaves nothing to train, as the network has no temporal layer.", argument="spatial_lr")
    denoiser.requires_grad_(False)
    for parameter in trained.values():
        parameter.requires_grad_(True)


def _is_wider(source: Tensor, target: Tensor) -> bool:
    """Return whether the shapes differ only in that the target has more input channels."""
    return target.shape[1] > source.shape[1] and target[:, : source.shape[1]].shape == source.shape
