import pytest
import torch
from einops import rearrange
from torch.nn import functional as F

from mav_lightning.common.errors import UserError
from mav_lightning.nn.pseudo3d import PseudoAttention3d, PseudoConv3d
from mav_lightning.nn.temporal_settings import TemporalSettings


def clips_of(frames: torch.Tensor, count: int) -> torch.Tensor:
    return rearrange(frames, "(b t) c h w -> b c t h w", t=count)


@pytest.mark.parametrize("temporal_kernel_size", [0, 1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("factorized", [True, False])
def test_at_initialisation_a_clip_is_convolved_frame_by_frame(
    temporal_kernel_size: int, stride: int, factorized: bool
) -> None:
    conv = PseudoConv3d(3, 8, stride=stride, temporal=TemporalSettings(temporal_kernel_size, factorized))
    frames = torch.randn(2 * 5, 3, 6, 8)
    torch.testing.assert_close(conv(frames, frames=5), conv(frames))


def test_the_temporal_convolution_is_a_conv3d_of_one_pixel() -> None:
    conv = PseudoConv3d(3, 8)
    assert conv.temporal is not None
    torch.nn.init.normal_(conv.temporal.weight)
    frames = torch.randn(2 * 5, 3, 6, 7)
    clips = clips_of(conv.spatial(frames), 5)
    expected = F.conv3d(clips, conv.temporal.weight[..., None], conv.temporal.bias, padding=(1, 0, 0))
    torch.testing.assert_close(clips_of(conv(frames, frames=5), 5), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_what_is_not_factorised_is_a_conv3d_with_the_image_kernel_in_its_middle(stride: int) -> None:
    conv = PseudoConv3d(3, 8, stride=stride, temporal=TemporalSettings(5, factorized=False))
    assert conv.temporal is not None
    torch.nn.init.normal_(conv.temporal.weight)
    torch.nn.init.normal_(conv.temporal.bias)
    frames = torch.randn(2 * 6, 3, 6, 8)
    slices = [*conv.temporal.weight.split(3, dim=1)]
    kernel = torch.stack([*slices[:2], conv.spatial.weight, *slices[2:]], dim=2)
    bias = conv.spatial.bias + conv.temporal.bias
    expected = F.conv3d(clips_of(frames, 6), kernel, bias, stride=(1, stride, stride), padding=(2, 1, 1))
    torch.testing.assert_close(clips_of(conv(frames, frames=6), 6), expected, atol=1e-4, rtol=1e-4)


def test_a_random_start_is_no_identity() -> None:
    conv, attention = (
        PseudoConv3d(3, 8, temporal=TemporalSettings(identity_init=False)),
        PseudoAttention3d(32, time_channels=4, temporal=TemporalSettings(identity_init=False)),
    )
    clip, features, time = torch.randn(5, 3, 6, 8), torch.randn(5, 32, 2, 2), torch.randn(1, 5, 4)
    assert not torch.allclose(conv(clip, frames=5), conv(clip), atol=1e-3)
    assert not torch.allclose(attention(features, time=time), attention(features), atol=1e-3)


@pytest.mark.parametrize("factorized", [True, False])
def test_time_matters_to_the_convolution_after_one_update(factorized: bool) -> None:
    conv = PseudoConv3d(3, 8, temporal=TemporalSettings(factorized=factorized))
    frames = torch.randn(5, 3, 6, 7)
    conv(frames, frames=5).square().mean().backward()
    torch.optim.SGD(conv.parameters(), lr=1.0).step()
    assert not torch.allclose(conv(frames, frames=5), conv(frames.flip(0), frames=5).flip(0))


def test_an_even_kernel_is_refused() -> None:
    with pytest.raises(UserError, match="^kernel_size: must be odd.*got 2"):
        PseudoConv3d(3, 8, kernel_size=2)
    with pytest.raises(UserError, match="temporal_kernel_size: must be odd.*got 2"):
        PseudoConv3d(3, 8, temporal=TemporalSettings(2))


def test_at_initialisation_attention_looks_at_one_frame_alone() -> None:
    attention = PseudoAttention3d(32, head_channels=16, context_channels=8, time_channels=4)
    frames, context, time = torch.randn(6, 32, 4, 4), torch.randn(6, 3, 8), torch.randn(2, 3, 4)
    torch.testing.assert_close(attention(frames, context, time), attention(frames, context))


def test_frames_attend_to_each_other_once_the_projection_is_not_zero() -> None:
    attention = PseudoAttention3d(32, head_channels=16, time_channels=4, spatial=False)
    assert attention.temporal is not None
    torch.nn.init.normal_(attention.temporal.out_proj.weight)
    frames, time = torch.randn(3, 32, 2, 2), torch.randn(1, 3, 4)
    changed = frames.clone()
    changed[2] = torch.randn(32, 2, 2)
    before, after = attention(frames, time=time), attention(changed, time=time)
    assert not torch.allclose(before[0], after[0])


def test_temporal_attention_never_mixes_clips_or_pixels() -> None:
    attention = PseudoAttention3d(32, head_channels=16, time_channels=4, spatial=False)
    assert attention.temporal is not None
    torch.nn.init.normal_(attention.temporal.out_proj.weight)
    frames, time = torch.randn(6, 32, 2, 2), torch.randn(2, 3, 4)
    changed = frames.clone()
    changed[4, :, 0, 1] = torch.randn(32)  # second clip, second frame, one pixel
    same = (attention(frames, time=time) - attention(changed, time=time)).abs().amax(dim=1) < 1e-6
    assert same[:3].all(), "the first clip saw the second"
    assert same[3:, 1].all() and same[3:, 0, 0].all(), "a pixel saw another"
    assert not same[3:, 0, 1].any()


def test_channels_must_fit_the_heads() -> None:
    with pytest.raises(UserError, match="head_channels: must divide the number of channels, 48, got 32"):
        PseudoAttention3d(48, head_channels=32)
