"""The variants of temporal layers: what each may depend on, by exact invariances."""

from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mav_lightning.common.errors import UserError
from mav_lightning.nn.pseudo3d import PseudoAttention3d, PseudoConv3d
from mav_lightning.nn.temporal_settings import TemporalSettings
from mav_lightning.nn.unet import SpaceTimeUNet

T, FPS = 5, torch.tensor([4.0])


def random_weights(module: nn.Module) -> Any:
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)
    return module.double()


def network(**options: Any) -> SpaceTimeUNet:
    small = {"channels": 16, "multipliers": (1, 2), "attention": (0, 1), "cond_channels": 8, "head_channels": 16}
    net: SpaceTimeUNet = random_weights(SpaceTimeUNet(**{**small, **options}))
    return net


CLIP = torch.randn(1, 3, T, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@torch.no_grad()
def run(net: SpaceTimeUNet, clip: Tensor = CLIP, fps: Tensor = FPS) -> Tensor:
    return net(clip, torch.zeros(1).double(), torch.zeros(1, 8).double(), fps.double())  # type: ignore[no-any-return]


def unlike(a: Tensor, b: Tensor) -> list[int]:
    """Frames that differ."""
    return [t for t in range(a.shape[2]) if (a[:, :, t] - b[:, :, t]).abs().max() > 1e-9]


CAUSAL: list[dict[str, Any]] = [
    {},
    {"temporal_kernel_size": 5},
    {"factorized": False},
    {"temporal_placement": "before"},
    {"temporal_placement": "parallel"},
    {"temporal_attention_window": 4},
    {"temporal_position": "relative"},
    {"temporal_position": "rotary"},
    {"temporal_attention_window": 4, "temporal_position": "relative"},
    {"temporal_attention_window": 2, "temporal_position": "rotary"},
]


@pytest.mark.parametrize("options", CAUSAL)
def test_a_causal_network_never_looks_ahead(options: dict[str, Any]) -> None:
    changed = CLIP.clone()
    changed[:, :, 3] += 1.0
    causal, both_ways = network(temporal_causal=True, **options), network(**options)

    assert unlike(run(causal), run(causal, changed)) == [3, 4]
    assert unlike(run(both_ways), run(both_ways, changed)) == [0, 1, 2, 3, 4]


def test_a_causal_kernel_is_a_conv1d_padded_with_earlier_frames() -> None:
    conv = random_weights(PseudoConv3d(3, 4, kernel_size=1, temporal=TemporalSettings(3, causal=True)))
    frames = torch.randn(T, 3, 1, 1, dtype=torch.float64)
    line = conv.spatial(frames)[..., 0, 0].T[None]  # (1, C, T)
    expected = F.conv1d(F.pad(line, (2, 0)), conv.temporal.weight[..., 0], conv.temporal.bias)
    torch.testing.assert_close(conv(frames, frames=T)[..., 0, 0].T[None], expected)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("placement", ["after", "before", "parallel"])
def test_the_order_of_the_two_convolutions(placement: Literal["after", "before", "parallel"], stride: int) -> None:
    conv = PseudoConv3d(3, 4, stride=stride, temporal=TemporalSettings(3, placement=placement))
    frames = torch.randn(2 * T, 3, 6, 8, dtype=torch.float64)
    torch.testing.assert_close(conv.double()(frames, frames=T), conv(frames))  # at the start
    random_weights(conv)

    def along_time(x: Tensor, step: int = 1) -> Tensor:
        clips = x[:, :, ::step, ::step].unflatten(0, (2, T)).transpose(1, 2)
        out = F.conv3d(clips, conv.temporal.weight[..., None], conv.temporal.bias, padding=(1, 0, 0))  # type: ignore[union-attr]
        return out.transpose(1, 2).flatten(0, 1)

    expected = {
        "after": lambda: along_time(conv.spatial(frames)),
        "before": lambda: conv.spatial(along_time(frames)),
        "parallel": lambda: conv.spatial(frames) + along_time(frames, stride),
    }
    torch.testing.assert_close(conv(frames, frames=T), expected[placement]())


@pytest.mark.parametrize("placement", ["after", "before", "parallel"])
def test_the_order_of_the_two_attentions(placement: Literal["after", "before", "parallel"]) -> None:
    def layer(**options: Any) -> PseudoAttention3d:
        whole = PseudoAttention3d(32, 16, temporal=TemporalSettings(placement=placement))
        own = PseudoAttention3d(32, 16, **options)
        own.load_state_dict({k: v for k, v in random_weights(whole).state_dict().items() if k in own.state_dict()})
        return own.double()

    x, time = torch.randn(T, 32, 2, 2, dtype=torch.float64), torch.randn(1, T, 64, dtype=torch.float64)
    space, across = layer(temporal=None), layer(spatial=False)
    both = random_weights(PseudoAttention3d(32, 16, temporal=TemporalSettings(placement=placement)))
    expected = {
        "after": lambda: across(space(x), time=time),
        "before": lambda: space(across(x, time=time)),
        "parallel": lambda: space(x) + across(x, time=time) - x,
    }
    torch.testing.assert_close(both(x, time=time), expected[placement]())


@pytest.mark.parametrize(("window", "seen"), [(1, 1), (2, 4), (3, 4), (4, 16), (100, 16)])
def test_tokens_see_those_of_their_window_in_all_frames(window: int, seen: int) -> None:
    layer = random_weights(PseudoAttention3d(32, 16, spatial=False, temporal=TemporalSettings(window=window)))
    x, time = torch.randn(2 * T, 32, 4, 4, dtype=torch.float64), torch.randn(2, T, 64, dtype=torch.float64)
    changed = x.clone()
    changed[T + 1, :, 3, 2] += torch.randn(32)  # second clip, second frame

    moved = (layer(x, time=time) - layer(changed, time=time)).abs().amax(dim=1) > 1e-9
    assert not moved[:T].any(), "the other clip"
    assert moved[T:].sum(dim=(1, 2)).tolist() == [seen] * T
    assert moved[T:, 4 - min(window // 2 * 2 or 1, 4) :, :].any(dim=(1, 2)).all()


@pytest.mark.parametrize("position", ["rotary", "relative"])
@pytest.mark.parametrize("fps", ["embedding", "seconds", "only_seconds"])
def test_relative_time_depends_on_differences_only(position: Any, fps: Any) -> None:
    net = network(fps=fps, temporal_position=position)
    layer = next(one for one in net.temporal_layers().values() if isinstance(one, PseudoAttention3d))
    x = torch.randn(T, 16, 2, 2, dtype=torch.float64)
    early = net.frame_time(20, FPS)[:, :T]
    late = net.frame_time(20, FPS)[:, 9 : 9 + T]
    slow = net.frame_time(20, FPS / 2)[:, :T]

    torch.testing.assert_close(layer(x, time=early), layer(x, time=late), atol=1e-6, rtol=1e-6)
    assert torch.allclose(layer(x, time=early), layer(x, time=slow)) is (fps == "embedding")


def test_absolute_time_depends_on_the_position() -> None:
    layer = random_weights(PseudoAttention3d(32, 16))
    x, time = torch.randn(T, 32, 2, 2, dtype=torch.float64), torch.randn(1, 2 * T, 64, dtype=torch.float64)
    assert not torch.allclose(layer(x, time=time[:, :T]), layer(x, time=time[:, T:]))


def test_seconds_alone_hide_the_frame_index() -> None:
    """Half as many frames at half the rate are every second frame: in seconds, not by their indices."""
    frame_time = network(fps="only_seconds").frame_time
    every_second = frame_time(5, FPS)[:, ::2]
    torch.testing.assert_close(frame_time(3, FPS / 2), every_second)
    assert not torch.allclose(network(fps="seconds").frame_time(3, FPS / 2), network().frame_time(5, FPS)[:, ::2])


IDLE: list[tuple[dict[str, Any], str]] = [
    ({"temporal_causal": True}, "temporal_causal: has no effect without temporal convolution and attention"),
    ({"temporal_placement": "before"}, "temporal_placement: has no effect without a temporal layer that follows"),
    ({"temporal_attention_window": 2}, "temporal_attention_window: has no effect without `temporal_attention`"),
    ({"temporal_position": "rotary"}, "temporal_position: has no effect without `temporal_attention`"),
]


@pytest.mark.parametrize(("options", "message"), IDLE)
def test_settings_without_effect_are_rejected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        network(temporal_kernel_size=0, temporal_attention=False, **options)


def test_an_unknown_placement_is_rejected() -> None:
    with pytest.raises(UserError, match="temporal_placement: must be one of .*got .*beside"):
        network(temporal_placement="beside")


def test_rotary_time_needs_pairs_of_channels() -> None:
    with pytest.raises(UserError, match="head_channels: must be even for rotary time, got 3"):
        PseudoAttention3d(6, head_channels=3, temporal=TemporalSettings(position="rotary"))
