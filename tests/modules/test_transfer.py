from typing import Any

import pytest
import torch

from mav_lightning.common.errors import UserError
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


def test_every_spatial_weight_is_copied_and_every_new_one_is_temporal() -> None:
    parent, child = SpaceTimeUNet(**IMAGE), SpaceTimeUNet(**SMALL)
    report = transfer(parent, child)
    assert set(report.copied) == set(parent.state_dict())
    assert report.new and all("temporal" in name for name in report.new)
    assert torch.equal(child.enter.spatial.weight, parent.enter.spatial.weight)


def test_a_weight_without_a_place_is_an_error_by_name() -> None:
    with pytest.raises(UserError, match=r"not in the new network, first `.*`; give both stages the same channels"):
        transfer(SpaceTimeUNet(**{**IMAGE, "blocks": 2}), SpaceTimeUNet(**SMALL))


def test_a_weight_of_another_shape_is_an_error() -> None:
    with pytest.raises(UserError, match="of another shape"):
        transfer(SpaceTimeUNet(**{**IMAGE, "channels": 32}), SpaceTimeUNet(**SMALL))


def test_a_spatial_weight_that_the_parent_lacks_is_an_error() -> None:
    with pytest.raises(UserError, match="missing in the parent"):
        transfer(SpaceTimeUNet(**IMAGE), SpaceTimeUNet(**{**SMALL, "attention": (0, 1)}))


def test_freezing_leaves_the_temporal_weights_alone_trainable() -> None:
    child = SpaceTimeUNet(**SMALL)
    freeze_spatial(child)
    trainable = {name for name, parameter in child.named_parameters() if parameter.requires_grad}
    assert trainable == {name for name, _ in child.named_parameters() if "temporal" in name}


def test_further_input_channels_start_at_zero_and_are_reported() -> None:
    parent, child = SpaceTimeUNet(**SMALL), SpaceTimeUNet(in_channels=7, **SMALL)
    report = transfer(parent, child)
    assert report.widened == ["enter.spatial.weight"] and not report.new
    assert set(report.copied) == set(parent.state_dict()) - {"enter.spatial.weight"}
    assert torch.equal(child.enter.spatial.weight[:, :3], parent.enter.spatial.weight)
    assert bool((child.enter.spatial.weight[:, 3:] == 0).all())


def test_a_child_that_sees_less_than_its_parent_is_an_error() -> None:
    with pytest.raises(UserError, match="1 of another shape, first `enter.spatial.weight`"):
        transfer(SpaceTimeUNet(in_channels=7, **SMALL), SpaceTimeUNet(**SMALL))
