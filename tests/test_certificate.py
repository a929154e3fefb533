"""The certificate must fail networks broken on purpose, and name the layer."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from mav_lightning.certificate import certify_frames, certify_parent
from mav_lightning.cli.app import app
from mav_lightning.diffusion.denoiser import EDMDenoiser
from mav_lightning.modules.transfer import transfer
from mav_lightning.nn.unet import SpaceTimeUNet

SMALL: dict[str, Any] = {
    "channels": 16,
    "multipliers": (1, 2),
    "attention": (1,),
    "cond_channels": 8,
    "head_channels": 16,
}


def network(**options: Any) -> EDMDenoiser:
    torch.manual_seed(0)
    return EDMDenoiser(SpaceTimeUNet(**{**SMALL, **options}))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fps": "off"},
        {"temporal_attention_everywhere": True},
        {"patch_size": 2},
        {"in_channels": 7},
        {"factorized": False},
        {"temporal_kernel_size": 0},
        {"temporal_attention": False},
        {"temporal_causal": True},
        {"temporal_causal": True, "factorized": False},
        {"temporal_placement": "before"},
        {"temporal_placement": "parallel"},
        {"temporal_attention_window": 8},
        {"temporal_position": "rotary"},
        {"temporal_position": "relative"},
        {"fps": "only_seconds"},
    ],
)
def test_a_sound_network_holds(options: dict[str, Any]) -> None:
    net = network(**options)
    found = certify_frames(net)
    assert found.holds and found.layer is None


SCALES = ["tiny", "small", pytest.param("paper", marks=pytest.mark.slow)]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("stage", ["spatial", "temporal", "interpolator", "sr_low_image", "sr_low", "sr_high"])
def test_every_stage_of_every_scale_holds(stage: str, scale: str) -> None:
    done = CliRunner().invoke(app, ["certify", f"stage/{stage}_{scale}.yaml"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("a clip equals its frames: holds")


def test_temporal_layers_that_start_at_random_are_told() -> None:
    net = network(identity_init=False)
    found = certify_frames(net)
    assert not found.holds and found.layer is not None


class MeanOverTime(nn.Module):
    """A normalisation that looks at all frames: right for images, wrong for clips."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(dim=0, keepdim=True)


def break_temporal_convolution(net: SpaceTimeUNet) -> None:
    nn.init.normal_(net.down_blocks[0].conv1.temporal.weight)


def break_temporal_projection(net: SpaceTimeUNet) -> None:
    nn.init.normal_(net.mid_blocks[0].attention.temporal.out_proj.weight)


def break_fps_embedding(net: SpaceTimeUNet) -> None:
    nn.init.normal_(net.fps_embedding[-1].weight)


def break_normalisation(net: SpaceTimeUNet) -> None:
    net.up_blocks[2].norm2 = MeanOverTime()


def break_last_layer(net: SpaceTimeUNet) -> None:
    nn.init.zeros_(net.conv_out.temporal.weight)


@pytest.mark.parametrize(
    ("damage", "layer"),
    [
        (break_temporal_convolution, "net.down_blocks.0.conv1"),
        (break_temporal_projection, "net.mid_blocks.0.attention"),
        (break_fps_embedding, "net.emb_mlp.0"),
        (break_normalisation, "net.up_blocks.2.norm2"),
        (break_last_layer, "net.conv_out"),
    ],
)
def test_a_broken_network_is_caught_and_its_first_broken_layer_named(damage: Any, layer: str) -> None:
    net = network()
    damage(net.net)
    found = certify_frames(net)
    assert not found.holds
    assert found.layer == layer


def test_a_child_with_one_changed_weight_is_not_its_parent() -> None:
    parent, child = network(temporal_kernel_size=0, temporal_attention=False, fps="off"), network()
    for parameter in parent.parameters():
        nn.init.normal_(parameter, std=0.2)
    transfer(parent, child)
    assert certify_parent(child, parent, size=8).holds
    child.net.mid_blocks[0].conv2.spatial.bias.data[3] += 1e-6
    found = certify_parent(child, parent, size=8)
    assert not found.holds and found.layer == "net.mid_blocks.0.conv2.spatial"


def test_an_interpolator_equals_the_trained_decoder_it_was_cut_from_until_its_new_channels_speak() -> None:
    parent, child = network(), network(in_channels=7)
    for parameter in parent.parameters():
        nn.init.normal_(parameter, std=0.2)
    transfer(parent, child)
    assert certify_parent(child, parent, size=8).holds
    child.net.conv_in.spatial.weight.data[0, 5, 1, 1] = 1e-6
    found = certify_parent(child, parent, size=8)
    assert not found.holds and found.layer == "net.conv_in.spatial"
