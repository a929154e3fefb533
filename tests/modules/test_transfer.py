from typing import Any

import pytest
import torch

from mav_lightning.common.errors import UserError
from mav_lightning.diffusion.denoiser import EDMDenoiser
from mav_lightning.modules.transfer import freeze_spatial, transfer
from mav_lightning.nn.unet import SpaceTimeUNet

SMALL: dict[str, Any] = {
    "channels": 16,
    "multipliers": (1, 2),
    "attention": (1,),
    "cond_channels": 8,
    "head_channels": 16,
}
IMAGE: dict[str, Any] = {**SMALL, "temporal_kernel_size": 0, "temporal_attention": False, "fps": "off"}


def network(**options: Any) -> EDMDenoiser:
    return EDMDenoiser(SpaceTimeUNet(**options))


def test_every_spatial_weight_is_copied_and_every_new_one_is_temporal() -> None:
    parent, child = network(**IMAGE), network(**SMALL)
    report = transfer(parent, child)
    assert set(report.copied) == set(parent.state_dict())
    assert report.new and set(report.new) == {f"net.{name}" for name in child.net.temporal_names()}
    assert torch.equal(child.net.conv_in.spatial.weight, parent.net.conv_in.spatial.weight)


def test_a_weight_without_a_place_is_an_error_by_name() -> None:
    with pytest.raises(UserError, match=r"not in the new network, first `.*`; both networks need the same spatial"):
        transfer(network(**{**IMAGE, "blocks": 2}), network(**SMALL))


def test_a_weight_of_another_shape_is_an_error() -> None:
    with pytest.raises(UserError, match="of another shape"):
        transfer(network(**{**IMAGE, "channels": 32}), network(**SMALL))


def test_a_spatial_weight_that_the_parent_lacks_is_an_error() -> None:
    with pytest.raises(UserError, match="missing in the parent"):
        transfer(network(**IMAGE), network(**{**SMALL, "attention": (0, 1)}))


def test_further_mid_blocks_start_as_the_identity_and_are_reported() -> None:
    parent, child = network(**IMAGE), network(**{**SMALL, "mid_blocks": 3}).double()
    for weight in parent.parameters():
        torch.nn.init.normal_(weight, std=0.1)

    report = transfer(parent, child)

    assert {name.split(".")[2] for name in report.new if "mid_blocks" in name and "temporal" not in name} >= {"1", "2"}
    x, sigma, cond = (torch.randn(2, *shape).double() for shape in ((3, 4, 8, 8), (), (8,)))
    with torch.no_grad():
        clip = child(x, sigma.exp(), cond, torch.tensor([4.0, 8.0]).double()).x0
        frames = [parent.double()(frame, sigma.exp(), cond).x0 for frame in x.unbind(dim=2)]
    assert torch.allclose(clip, torch.stack(frames, dim=2), atol=1e-12)
    with pytest.raises(UserError, match="not in the new network, first `net.mid_blocks.1"):
        transfer(child, network(**SMALL).double())


def test_freezing_leaves_the_temporal_weights_alone_trainable() -> None:
    child = network(**SMALL)
    freeze_spatial(child)
    trainable = {name for name, parameter in child.named_parameters() if parameter.requires_grad}
    assert trainable == {f"net.{name}" for name in child.net.temporal_parameters()}


def test_further_input_channels_start_at_zero_and_are_reported() -> None:
    parent, child = network(**SMALL), network(in_channels=7, **SMALL)
    report = transfer(parent, child)
    assert report.widened == ["net.conv_in.spatial.weight"] and not report.new
    assert set(report.copied) == set(parent.state_dict()) - {"net.conv_in.spatial.weight"}
    assert torch.equal(child.net.conv_in.spatial.weight[:, :3], parent.net.conv_in.spatial.weight)
    assert bool((child.net.conv_in.spatial.weight[:, 3:] == 0).all())


def test_a_child_that_sees_less_than_its_parent_is_an_error() -> None:
    with pytest.raises(UserError, match="1 of another shape, first `net.conv_in.spatial.weight`"):
        transfer(network(in_channels=7, **SMALL), network(**SMALL))


def test_freezing_a_network_without_temporal_layers_is_refused() -> None:
    with pytest.raises(UserError, match="spatial_lr: 0 leaves nothing to train"):
        freeze_spatial(network(**IMAGE))
