"""Activation checkpointing gives the same bits with less memory, and the cost says how much."""

import pytest
import torch
from torch import Tensor

from mav_lightning.common.errors import UserError
from mav_lightning.common.identity import without_harmless
from mav_lightning.diffusion.denoiser import EDMDenoiser
from mav_lightning.flops import denoiser_cost
from mav_lightning.nn.unet import SpaceTimeUNet

MODES = ("off", "selective", "full")


def network(mode: str) -> SpaceTimeUNet:
    return SpaceTimeUNet(
        channels=16, multipliers=(1, 2), attention=(1,), head_channels=8, identity_init=False,
        activation_checkpointing=mode,  # type: ignore[arg-type]
    )  # fmt: skip


def outputs_and_gradients(mode: str, clips: bool) -> list[Tensor]:
    torch.manual_seed(0)
    net, draw = network(mode), torch.Generator().manual_seed(1)
    for parameter in net.parameters():
        if not parameter.any():  # else the output is zero
            torch.nn.init.normal_(parameter, std=0.1)
    shape = (2, 3, 5, 8, 8) if clips else (2, 3, 8, 8)
    x, noise, cond = (torch.randn(size, generator=draw) for size in (shape, (2,), (2, 64)))
    out = net(x, noise, cond, torch.tensor([4.0, 8.0]) if clips else None)
    out.square().sum().backward()
    return [out.detach(), *(parameter.grad for parameter in net.parameters() if parameter.grad is not None)]


@pytest.mark.parametrize("clips", [True, False])
@pytest.mark.parametrize("mode", ["selective", "full"])
def test_output_and_gradients_have_the_same_bits(mode: str, clips: bool) -> None:
    expected, found = outputs_and_gradients("off", clips), outputs_and_gradients(mode, clips)
    assert len(found) == len(expected) > 20
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_the_backward_pass_keeps_less_and_computes_twice_only_what_full_drops() -> None:
    costs = {}
    for mode in MODES:
        with torch.device("meta"):
            costs[mode] = denoiser_cost(EDMDenoiser(network(mode)), 16, frames=5)
    memory = {mode: cost.activation_bytes for mode, cost in costs.items()}
    flops = {mode: cost.flops for mode, cost in costs.items()}
    assert memory["full"] < memory["selective"] / 2 and memory["selective"] < 0.75 * memory["off"]
    assert flops["selective"] == flops["off"] < flops["full"] < 4 / 3 * flops["off"]


def test_what_is_kept_in_memory_is_no_part_of_a_trainings_identity() -> None:
    net = {"_target_": "mav_lightning.nn.unet.SpaceTimeUNet", "channels": 32}
    config = {"module": {"denoiser": {"net": net | {"activation_checkpointing": "full"}}}}
    assert without_harmless(config) == {"module": {"denoiser": {"net": net}}}


def test_an_unknown_mode_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="activation_checkpointing.*'some'"):
        network("some")
