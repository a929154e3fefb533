"""What a network costs, worked out without computing anything: on PyTorch's meta device."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mav_lightning.common.errors import UserError
from mav_lightning.config import instantiate
from mav_lightning.modules.transfer import freeze_spatial, is_temporal

__all__ = ["NetworkCost", "network_cost"]


@dataclass(frozen=True)
class NetworkCost:
    """Of training a network on one sample at a time, in float32.

    Attributes:
        parameters: All of them.
        temporal: Those of temporal layers.
        flops: Floating-point operations of a training step for one sample, forwards and backwards, a multiply-add
            counted as two; convolutions, matrix products and attention alone. Frozen layers get no gradients of their
            weights, and none at all before the first layer that is trained.
        state_bytes: Weights and their moving average, and of what is trained gradients and one momentum; AdamW needs a
            quarter more.
        activation_bytes: What the forward pass of one sample keeps for the backward pass.
    """

    parameters: int
    temporal: int
    flops: int
    state_bytes: int
    activation_bytes: int


def network_cost(config: Mapping[str, Any]) -> NetworkCost:
    """Works out the cost of a training stage with a denoiser.

    Args:
        config: Resolved. Its network is built on the meta device, whatever its size.

    Raises:
        UserError: A stage that trains no denoiser of images, clips or embeddings.
    """
    node = config.get("module", {}).get("denoiser", {})
    if "net" not in node:
        raise UserError(f"{config['name']}: trains no denoiser; give the config of a prior, decoder or one after it.")
    with torch.device("meta"):
        denoiser: nn.Module = instantiate(node)
        given = _inputs(denoiser.net, config)  # type: ignore[arg-type]
    if config["module"].get("spatial_lr") == 0:
        freeze_spatial(denoiser)
    own = {parameter.untyped_storage()._cdata for parameter in denoiser.parameters()}
    storages: dict[int, int] = {}

    def note(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage._cdata not in own:
            storages[storage._cdata] = storage.nbytes()
        return x

    with FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
            loss = denoiser(*given).clean.square().mean()
        loss.backward()
    sizes = {name: parameter.numel() for name, parameter in denoiser.named_parameters()}
    trained = sum(parameter.numel() for parameter in denoiser.parameters() if parameter.requires_grad)
    return NetworkCost(
        parameters=sum(sizes.values()),
        temporal=sum(size for name, size in sizes.items() if is_temporal(name)),
        flops=counter.get_total_flops(),
        state_bytes=4 * (2 * sum(sizes.values()) + 2 * trained),
        activation_bytes=sum(storages.values()),
    )


def _inputs(net: nn.Module, config: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """One sample as the stage trains on it: x, sigma, cond, fps and given."""
    sigma = torch.ones(1)
    if not hasattr(net, "in_channels"):  # it is of embeddings
        channels, length = int(net.channels), int(net.length)  # type: ignore[arg-type]
        return torch.zeros(1, channels), sigma, torch.zeros(1, 1 + length, channels), None, None
    clips = not config["data"]["_target_"].endswith("ImageData")
    side = config["module"].get("crop", config["size"])
    shape = (config["frames"], side, side) if clips else (side, side)
    more, cond = int(net.in_channels) - 3, torch.zeros(1, int(net.cond_channels))  # type: ignore[arg-type]
    given = torch.zeros(1, more, *shape) if more else None
    return torch.zeros(1, 3, *shape), sigma, cond, sigma if clips else None, given
