from typing import Any

import pytest
import torch
from torch import Tensor

from mav_lightning.certificate import certify_frames
from mav_lightning.common.errors import UserError
from mav_lightning.diffusion.denoiser import EDMDenoiser
from mav_lightning.knockout import knock_out
from mav_lightning.modules.transfer import transfer
from mav_lightning.nn.base import TemporalLayer
from mav_lightning.nn.unet import SpaceTimeUNet

SMALL: dict[str, Any] = {
    "channels": 16, "multipliers": (1, 2), "attention": (1,), "cond_channels": 8, "head_channels": 16, "patch_size": 2,
}  # fmt: skip


def randomised(**options: Any) -> SpaceTimeUNet:
    """A small network with every weight random: at initialisation its output is zero."""
    torch.manual_seed(0)
    net = SpaceTimeUNet(**{**SMALL, **options})
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return net


def inputs(frames: int = 3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    return {"x": draw(2, 3, frames, 8, 8), "noise": draw(2), "cond": draw(2, 8), "fps": torch.tensor([4.0, 16.0])}


def test_an_image_network_treats_a_clip_as_its_frames() -> None:
    net, given = randomised(temporal_kernel_size=0, temporal_attention=False, fps="off"), inputs()
    alone = net(given["x"][:, :, 1], given["noise"], given["cond"])
    torch.testing.assert_close(net(**given)[:, :, 1], alone, atol=1e-5, rtol=1e-4)


CHANGES: dict[str, dict[str, Any]] = {
    "temporal convolution off": {"temporal_kernel_size": 0},
    "wider temporal convolution": {"temporal_kernel_size": 5},
    "temporal attention off": {"temporal_attention": False},
    "temporal attention everywhere": {"temporal_attention_everywhere": True},
    "no fps": {"fps": "off"},
    "fps as an embedding only": {"fps": "embedding"},
    "frame times in seconds only": {"fps": "only_seconds"},
    "full 3D convolutions": {"factorized": False},
    "causal layers": {"temporal_causal": True},
    "causal full 3D convolutions": {"temporal_causal": True, "factorized": False},
    "temporal layers before spatial ones": {"temporal_placement": "before"},
    "temporal layers parallel to spatial ones": {"temporal_placement": "parallel"},
    "attention in windows": {"temporal_attention_window": 2},
    "rotary time": {"temporal_position": "rotary"},
    "relative time": {"temporal_position": "relative"},
    "single pixels": {"patch_size": 1},
    "more attention": {"attention": (0, 1)},
    "more context": {"context_tokens": 2},
    "more blocks": {"blocks": 2},
    "more blocks in the middle": {"mid_blocks": 2},
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_argument_changes_the_output(change: str) -> None:
    assert not torch.allclose(randomised()(**inputs()), randomised(**CHANGES[change])(**inputs()), atol=1e-3)


def test_the_start_of_the_temporal_layers_is_a_choice() -> None:
    def start(identity_init: bool) -> SpaceTimeUNet:
        torch.manual_seed(0)
        return SpaceTimeUNet(**SMALL, identity_init=identity_init)

    identity, random = start(True).state_dict(), start(False).state_dict()
    unlike = {name for name in identity if not torch.equal(identity[name], random[name])}
    assert unlike and unlike <= start(True).temporal_names(), "the image network's weights are the same"


@pytest.mark.parametrize(
    ("fps", "matters"), [("off", False), ("embedding", True), ("seconds", True), ("only_seconds", True)]
)
def test_the_frame_rate_matters_only_where_it_is_a_condition(fps: str, matters: bool) -> None:
    net, given = randomised(fps=fps), inputs()
    other = {**given, "fps": torch.tensor([8.0, 5.0])}
    assert torch.allclose(net(**given), net(**other), atol=1e-5) is not matters


@pytest.mark.parametrize("name", ["noise", "cond"])
def test_every_condition_changes_the_output(name: str) -> None:
    net, given = randomised(), inputs()
    assert not torch.allclose(net(**given), net(**{**given, name: given[name] + 1.0}), atol=1e-3)


def test_clips_do_not_see_each_other() -> None:
    net, given = randomised().double(), {name: value.double() for name, value in inputs().items()}
    whole = net(**given)
    alone = net(**{name: value[1:] for name, value in given.items()})
    torch.testing.assert_close(whole[1:], alone)


def test_any_number_of_frames_is_legal() -> None:
    for frames in (1, 2, 9):
        assert randomised()(**inputs(frames)).shape == (2, 3, frames, 8, 8)


def test_every_weight_takes_part_in_training() -> None:
    net = randomised()
    net(**inputs()).square().mean().backward()
    idle = [name for name, parameter in net.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    # a key's bias shifts all attention scores of a query alike, so only the fused bias's key part may be idle
    assert idle == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"x": torch.zeros(2, 3, 3, 6, 8)}, "must be multiples of 4, got 6×8 pixels"),
        ({"x": torch.zeros(2, 3, 8, 8, 3)}, "must be multiples of 4, got 8×3 pixels"),
        (
            {"x": torch.zeros(2, 8, 3, 8, 8)},
            r"has 3 input channels in the second dimension, got 8 in \(2, 8, 3, 8, 8\)",
        ),
        ({"cond": torch.zeros(2, 5)}, r"`cond` must be image embeddings of shape \(2, \d+\), got \(2, 5\)"),
        ({"cond": None}, "`cond` must be image embeddings .*, got None; rows of zeros mean no condition"),
        ({"fps": None}, "clips need `fps`"),
        ({"x": torch.zeros(3, 8, 8)}, r"expects images .* or clips .*, got \(3, 8, 8\)"),
    ],
)
def test_input_it_cannot_take_is_refused_with_a_reason(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        randomised()(**{**inputs(), **given})


def test_a_temporal_layer_with_another_constructor_is_refused_with_a_reason() -> None:
    class Own(TemporalLayer):
        def __init__(self, channels: int) -> None:
            super().__init__()

    with pytest.raises(UserError, match="temporal_layer: cannot be built from the number of channels and the length"):
        SpaceTimeUNet(temporal_layer=Own)  # type: ignore[arg-type]


def test_an_unknown_fps_conditioning_is_refused() -> None:
    with pytest.raises(UserError, match="fps: must be one of .* got .*of.*Did you mean `off`"):
        SpaceTimeUNet(fps="of")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": (7,)}, "attention: level 7 does not exist; `multipliers` defines levels 0 to 2"),
        ({"attention": "2"}, "attention: must be a list"),
        ({"blocks": -1}, "blocks: must be a whole number above 0, got -1"),
        ({"channels": 12}, "channels: must be a multiple of 8"),
        ({"multipliers": ()}, "multipliers: needs one number per level"),
        ({"temporal_kernel_size": 2}, "temporal_kernel_size: must be odd"),
        ({"temporal_attention": "None"}, "temporal_attention: must be true or false"),
        (
            {"temporal_attention": False, "temporal_attention_everywhere": True},
            "temporal_attention_everywhere: has no effect without `temporal_attention`",
        ),
        ({"attention": ()}, "temporal_attention: has no effect, as `attention` lists no level"),
        ({"temporal_kernel_size": 0, "factorized": False}, "factorized: has no effect without"),
        (
            {"temporal_kernel_size": 0, "temporal_attention": False, "fps": "off", "identity_init": False},
            "identity_init: has no effect, as nothing in the network is temporal",
        ),
    ],
)
def test_arguments_out_of_range_or_without_effect_are_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SpaceTimeUNet(**options)


def test_without_context_tokens_the_embedding_still_conditions() -> None:
    torch.manual_seed(0)
    net = SpaceTimeUNet(**SMALL, context_tokens=0)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    given = inputs()
    assert net.context_proj is None
    assert not torch.allclose(net(**given), net(**{**given, "cond": given["cond"] + 1}))


class FrameShift(TemporalLayer):
    """A temporal layer of somebody else's: adds a share of the previous frame."""

    def __init__(self, channels: int, time_channels: int) -> None:
        super().__init__()
        self.share = torch.nn.Parameter(torch.ones(channels))

    def reset_to_identity(self) -> None:
        torch.nn.init.zeros_(self.share)

    def temporal_activity(self) -> float:
        return float(self.share.detach().norm())

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return x + self.share[:, None, None, None] * x.roll(1, dims=2)


def test_a_strangers_temporal_layer_takes_part_in_all_that_ours_do() -> None:
    options = {**SMALL, "temporal_kernel_size": 0, "temporal_attention": False}
    net = SpaceTimeUNet(**options, temporal_layer=FrameShift)
    names = [name for name in net.temporal_layers() if name.endswith("temporal_layer")]
    assert names == list(net.temporal_layers()) and len(names) == 5
    assert {f"{name}.share" for name in names} <= set(net.temporal_parameters())
    assert set(net.temporal_activity().values()) == {0.0}
    denoiser = EDMDenoiser(net)
    assert certify_frames(denoiser).holds
    torch.nn.init.normal_(net.mid_blocks[0].temporal_layer.share)
    assert certify_frames(denoiser).layer == "net.mid_blocks.0"
    knock_out(net, ["mid_blocks.*"])
    assert certify_frames(denoiser).holds
    parent = EDMDenoiser(SpaceTimeUNet(**options, fps="off"))
    assert (
        f"net.{names[0]}.share"
        in transfer(parent, EDMDenoiser(SpaceTimeUNet(**options, temporal_layer=FrameShift))).new
    )
