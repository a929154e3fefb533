"""The cost of training a network, computed by PyTorch without running anything.

Operations are counted on the meta device, which computes attention step by step. Memory is counted with fake tensors of
the CPU, which take the same fused kernels as real ones.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from mav_lightning.common.allocations import Allocations
from mav_lightning.common.errors import UserError
from mav_lightning.config import instantiate
from mav_lightning.diffusion.denoiser import NetDenoiser, space_time_network
from mav_lightning.modules.transfer import freeze_spatial
from mav_lightning.networks.card import read_card
from mav_lightning.networks.catalogue import build_network
from mav_lightning.nn.base import PriorNetwork

__all__ = ["NetworkCost", "denoiser_cost", "network_cost", "training_inputs"]


@dataclass(frozen=True)
class NetworkCost:
    """Cost of a training step, in float32.

    Attributes:
        parameters: Number of parameters.
        temporal: Number of parameters of temporal layers.
        flops: Floating-point operations, forward and backward, counting a multiply-add as two, of convolutions, matrix
            products and attention only. Frozen layers have no weight gradients, and no gradients at all before the
            first trained layer.
        state_bytes: Weights and their moving average, and for trained weights gradients and one momentum. AdamW needs a
            quarter more.
        activation_bytes: Activations stored for the backward pass, on a CPU.
        peak_bytes: Most memory that a step needs at once: the states, and the tensors of forward and backward pass.
            Gradients of the previous step are held until the forward pass has ended, as Lightning does. What an
            optimizer needs besides its momentum, workspaces of libraries and unused memory of an allocator are not
            included.
    """

    parameters: int
    temporal: int
    flops: int
    state_bytes: int
    activation_bytes: int
    peak_bytes: int


def network_cost(config: Mapping[str, Any], batch_size: int = 1) -> NetworkCost:
    """Compute the cost of a training stage that has a denoiser.

    Args:
        config: Resolved config of the stage. Its network is built on the meta device, whatever its size; of a stored
            one, the description is read and no weights.
        batch_size: Number of samples of a step.

    Raises:
        UserError: If the stage does not train a denoiser of images, clips or embeddings, or starts from the network of
            another stage whose folder is not given.
    """
    module, data = config.get("module") or {}, config.get("data") or {}
    if "denoiser" not in module:
        raise UserError(f"{config['name']}: trains no denoiser; give the config of a prior, decoder or one after it.")
    if data.get("clips", data).get("latents"):
        raise UserError(
            f"{config['name']}: trains on latents, whose size the config does not contain; leave data.latents out and "
            "give their height as `size`."
        )
    denoiser = _on_meta(module["denoiser"], config["name"])
    if module.get("spatial_lr") == 0:
        freeze_spatial(denoiser)
    of_clips = "frames" in data.get("clips", data)
    size, frames = module.get("crop", config["size"]), config["frames"] if of_clips else None
    return denoiser_cost(denoiser, size, frames, batch_size)


def denoiser_cost(denoiser: NetDenoiser, size: int, frames: int | None = None, batch_size: int = 1) -> NetworkCost:
    """Compute the cost of a training step of a denoiser.

    Args:
        denoiser: Denoiser on the meta device; layers that are not trained have no ``requires_grad``.
        size: Height and width of the training samples, in pixels. Ignored for a prior.
        frames: Number of frames of the training samples. None for images and for a prior.
        batch_size: Number of samples of a step.
    """
    prior = isinstance(denoiser.net, PriorNetwork)
    temporal = {} if prior else space_time_network(denoiser).temporal_parameters()
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        denoiser(*training_inputs(denoiser, size, frames, batch_size)).x0.square().mean().backward()
    denoiser.zero_grad()
    fake = copy.deepcopy(denoiser)
    with torch.device("cpu"), FakeTensorMode(allow_non_fake_inputs=True):  # such as constants of your own networks
        fake.to_empty(device="cpu")
        inputs = training_inputs(fake, size, frames, batch_size)
        with Allocations(without=fake.parameters()) as allocations:
            loss = fake(*inputs).x0.square().mean()
            kept, forward = allocations.alive(), allocations.peak
            loss.backward()
    parameters = sum(parameter.numel() for parameter in denoiser.parameters())
    trained = sum(parameter.numel() for parameter in denoiser.parameters() if parameter.requires_grad)
    states = 4 * (2 * parameters + 2 * trained)
    return NetworkCost(
        parameters=parameters,
        temporal=sum(parameter.numel() for parameter in temporal.values()),
        flops=counter.get_total_flops(),
        state_bytes=states,
        activation_bytes=kept,
        peak_bytes=max(states + forward, states - 4 * trained + allocations.peak),
    )


def _on_meta(node: Mapping[str, Any], stage: str) -> NetDenoiser:
    """Build the denoiser of a stage without memory for its weights."""
    stored = node.get("_network_")
    with torch.device("meta"):
        if stored is None:
            found: NetDenoiser = instantiate(node, nn.Module, "module.denoiser")
            return found
        if str(stored).startswith("@"):
            role = str(stored)[1:]
            raise UserError(f"{stage}: starts from the network of another stage; give its folder, needs.{role}=DIR.")
        denoiser = build_network(read_card(Path(stored)).network, str(stored))
    assert isinstance(denoiser, NetDenoiser)
    return denoiser


def training_inputs(
    denoiser: NetDenoiser, size: int, frames: int | None, batch: int
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """Return inputs of a denoiser's training step, filled with constants: x, sigma, cond, fps and concat_cond.

    Args:
        denoiser: The denoiser.
        size: Height and width of the samples, in pixels. Ignored for a prior.
        frames: Number of frames of the samples. None for images and for a prior.
        batch: Number of samples.
    """
    sigma = torch.ones(batch)
    if isinstance(denoiser.net, PriorNetwork):
        channels, length = denoiser.net.channels, denoiser.net.length
        return torch.zeros(batch, channels), sigma, torch.zeros(batch, 1 + length, channels), None, None
    net = space_time_network(denoiser)
    shape = (size, size) if frames is None else (frames, size, size)
    further = net.in_channels - denoiser.channels
    concat_cond = torch.zeros(batch, further, *shape) if further else None
    cond = torch.zeros(batch, net.cond_channels)
    return torch.zeros(batch, denoiser.channels, *shape), sigma, cond, None if frames is None else sigma, concat_cond
