"""What temporal layers do, and the network without them."""

import pytest
import torch
from torch import Tensor, nn

from mav_lightning.common.errors import UserError
from mav_lightning.knockout import knock_out
from mav_lightning.nn.pseudo3d import PseudoAttention3d, PseudoConv3d
from mav_lightning.nn.temporal_settings import TemporalSettings
from mav_lightning.nn.unet import SpaceTimeUNet


def network(**options: object) -> SpaceTimeUNet:
    torch.manual_seed(0)
    net = SpaceTimeUNet(channels=8, multipliers=[1, 2], attention=[1], head_channels=8, cond_channels=4, **options)  # type: ignore[arg-type]
    nn.init.normal_(net.conv_out.spatial.weight, std=0.1)
    return net.eval()


def moved(net: SpaceTimeUNet) -> SpaceTimeUNet:
    """As after a training: no layer is the identity any more."""
    for layer in net.temporal_layers().values():
        weight = layer.temporal.weight if isinstance(layer, PseudoConv3d) else layer.temporal.out_proj.weight  # type: ignore[union-attr]
        nn.init.normal_(weight, std=0.2)
    return net


@torch.no_grad()
def run(net: SpaceTimeUNet, clip: Tensor) -> Tensor:
    return net(clip, torch.zeros(1), torch.zeros(1, 4), torch.tensor([8.0]))


CLIP = torch.randn(1, 3, 5, 8, 8, generator=torch.Generator().manual_seed(1))


def test_at_the_identity_start_no_layer_does_anything() -> None:
    found = network().temporal_activity()

    assert set(found.values()) == {0.0}
    assert "conv_in" in found and "mid_blocks.0.attention" in found and "up_blocks.0.conv1" in found
    assert min(network(identity_init=False).temporal_activity().values()) > 0.1


def test_networks_without_temporal_layers_have_none() -> None:
    assert network(temporal_kernel_size=0, temporal_attention=False).temporal_activity() == {}
    assert all("attention" in name for name in network(temporal_kernel_size=0).temporal_layers())


def test_activity_is_the_distance_from_doing_nothing_over_the_identity() -> None:
    conv, attention = PseudoConv3d(3, 16), PseudoAttention3d(32, time_channels=4)
    whole = PseudoConv3d(3, 16, temporal=TemporalSettings(factorized=False))
    assert conv.temporal is not None and attention.temporal is not None and whole.temporal is not None
    with torch.no_grad():
        conv.temporal.weight[0, 1, 0] = 2.0  # a norm of 2 beside the identity's of 4
        attention.temporal.out_proj.weight.fill_(0.5 / 32**0.5)  # norm 0.5 · √32
        whole.spatial.weight.fill_(1.0)
        whole.temporal.weight.fill_(0.5)  # twice as many entries, half as large

    assert conv.temporal_activity() == pytest.approx(0.5)
    assert attention.temporal_activity() == pytest.approx(0.5)
    assert whole.temporal_activity() == pytest.approx((0.5 / 1.5) ** 0.5)


@pytest.mark.parametrize("factorized", [True, False])
def test_with_all_layers_knocked_out_frames_do_not_know_each_other(factorized: bool) -> None:
    net = moved(network(factorized=factorized))
    altered = CLIP.clone()
    altered[:, :, 1:] = 0.0
    assert not torch.allclose(run(net, CLIP)[:, :, 0], run(net, altered)[:, :, 0], atol=1e-3)

    knock_out(net, ["*"])

    torch.testing.assert_close(run(net, CLIP)[:, :, 0], run(net, altered)[:, :, 0])
    assert set(net.temporal_activity().values()) == {0.0}


def test_only_what_is_named_is_knocked_out() -> None:
    net = moved(network())
    before = net.temporal_activity()

    gone = knock_out(net, ["*attention", "conv_in"])

    after = net.temporal_activity()
    assert gone == ["conv_in", *(name for name in before if name.endswith("attention"))]
    assert {name: after[name] for name in gone} == dict.fromkeys(gone, 0.0)
    assert {name: value for name, value in after.items() if name not in gone} == {
        name: value for name, value in before.items() if name not in gone
    }


def test_a_name_that_no_layer_has_is_told_and_nothing_is_knocked_out() -> None:
    net = moved(network())
    before = net.temporal_activity()

    with pytest.raises(UserError, match=r"layers: no temporal layer is called `\*convolution\*`; there are: conv_in, "):
        knock_out(net, ["conv_in", "*convolution*"])

    assert net.temporal_activity() == before
