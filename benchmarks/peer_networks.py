"""Video U-Nets of other projects beside this one's, at matched size, for `benchmarks/peers.py`.

Every network maps noisy clips (B, 3, T, H, W) and a noise level to clips, with three levels of 1, 2 and 4 times the
width, one residual block per level where the project lets it be chosen, and attention at the two coarser levels where
the project lets it be placed. Conditioning is what the project requires and no more.
"""

import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["PEERS", "Peer", "flops", "matched", "parameters"]

CONTEXT = 64  # length of the conditioning vector
TOKENS = 4  # context tokens, where a network attends to some


class Called(nn.Module):
    """A network with the way it is called."""

    def __init__(self, net: nn.Module, call: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.call = net, call

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """Map noisy clips (B, 3, T, H, W) and noise levels (B,) to clips."""
        return self.call(self.net, x, noise)


@dataclass(frozen=True)
class Peer:
    """A network whose size can be chosen.

    Attributes:
        package: Distribution that it comes from; its version is recorded.
        build: Builds it from a width and a second number that changes its size in small steps.
        sizes: Yields widths and second numbers.
        note: What could not be made equal.
    """

    package: str
    build: Callable[[int, int], Called]
    sizes: Callable[[], Iterator[tuple[int, int]]]
    note: str = ""


def ours(width: int, context: int) -> Called:
    """Build this project's `SpaceTimeUNet`; `context` is the length of its image embedding."""
    from mav_lightning.nn.unet import SpaceTimeUNet

    net = SpaceTimeUNet(channels=width, multipliers=(1, 2, 4), blocks=1, attention=(1, 2), cond_channels=context)

    def call(net: nn.Module, x: Tensor, noise: Tensor) -> Tensor:
        cond = torch.ones(len(x), context, device=x.device, dtype=x.dtype)
        out: Tensor = net(x, noise, cond, torch.full((len(x),), 8.0, device=x.device))
        return out

    return Called(net, call)


def make_a_video(width: int, head: int) -> Called:
    """Build make-a-video-pytorch's `SpaceTimeUnet` without temporal compression."""
    from make_a_video_pytorch import SpaceTimeUnet

    net = SpaceTimeUnet(
        dim=width,
        dim_mult=(1, 2, 4),
        self_attns=(False, True, True),
        temporal_compression=(False, False, False),
        resnet_block_depths=(1, 1, 1),
        attn_dim_head=head,
        attn_heads=4,
        attn_pos_bias=False,
        flash_attn=True,
    )
    return Called(net, lambda net, x, noise: net(x, timestep=noise))


def unet_3d(width: int, coarse: int) -> Called:
    """Build diffusers' `UNet3DConditionModel`; `coarse` is the width of its coarsest level."""
    from diffusers.models.unets.unet_3d_condition import UNet3DConditionModel

    net = UNet3DConditionModel(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownBlock3D", "CrossAttnDownBlock3D", "CrossAttnDownBlock3D"),
        up_block_types=("CrossAttnUpBlock3D", "CrossAttnUpBlock3D", "UpBlock3D"),
        block_out_channels=(width, 2 * width, coarse),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=CONTEXT,
        attention_head_dim=8,
    )
    return Called(net, lambda net, x, noise: _diffusers(net, x, noise, len(x)))


def unet_motion(width: int, coarse: int) -> Called:
    """Build diffusers' `UNetMotionModel` (AnimateDiff); `coarse` is the width of its coarsest level."""
    from diffusers.models.unets.unet_motion_model import UNetMotionModel

    net = UNetMotionModel(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownBlockMotion", "CrossAttnDownBlockMotion", "CrossAttnDownBlockMotion"),
        up_block_types=("CrossAttnUpBlockMotion", "CrossAttnUpBlockMotion", "UpBlockMotion"),
        block_out_channels=(width, 2 * width, coarse),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=CONTEXT,
        num_attention_heads=4,
        motion_num_attention_heads=4,
        motion_max_seq_length=128,
    )
    return Called(net, lambda net, x, noise: _diffusers(net, x, noise, len(x) * x.shape[2]))


def _diffusers(net: nn.Module, x: Tensor, noise: Tensor, rows: int) -> Tensor:
    """Call a network of diffusers with context tokens for each clip, or for each frame."""
    tokens = torch.ones(rows, TOKENS, CONTEXT, device=x.device, dtype=x.dtype)
    out: Tensor = net(x, noise, encoder_hidden_states=tokens, return_dict=False)[0]
    return out


def imagen(width: int, head: int) -> Called:
    """Build imagen-pytorch's video `Unet3D`, unconditional, with its global context and cross embedding off."""
    import transformers

    # Importing imagen-pytorch asks the Hugging Face Hub for the width of a T5 that is not used here.
    transformers.T5Config.from_pretrained = lambda name: transformers.T5Config(d_model=768)
    from imagen_pytorch.imagen_video import Unet3D

    net = Unet3D(
        dim=width,
        dim_mults=(1, 2, 4),
        num_resnet_blocks=1,
        layer_attns=(False, True, True),
        layer_cross_attns=False,
        attn_dim_head=head,
        attn_heads=4,
        cond_on_text=False,
        init_cross_embed=False,
        init_conv_kernel_size=3,
        use_global_context_attn=False,
    )
    return Called(net, lambda net, x, noise: net(x, noise))


def video_diffusion(width: int, head: int) -> Called:
    """Build video-diffusion-pytorch's `Unet3D`, whose temporal attention stands at every level."""
    from video_diffusion_pytorch import Unet3D

    net = Unet3D(dim=width, dim_mults=(1, 2, 4), attn_heads=4, attn_dim_head=head)
    return Called(net, lambda net, x, noise: net(x, noise))


def _grid(widths: range, seconds: range) -> Callable[[], Iterator[tuple[int, int]]]:
    return lambda: ((width, second) for width in widths for second in seconds)


PEERS = {
    "mav-lightning": Peer("mav-lightning", ours, _grid(range(64, 65), range(64, 65))),
    "make-a-video-pytorch SpaceTimeUnet": Peer(
        "make-a-video-pytorch", make_a_video, _grid(range(16, 129, 8), range(16, 97, 8)), "two blocks per level"
    ),
    "diffusers UNet3DConditionModel": Peer(
        "diffusers", unet_3d, _grid(range(16, 129, 8), range(64, 385, 8)), "two blocks per level on the way up"
    ),
    "diffusers UNetMotionModel": Peer(
        "diffusers", unet_motion, _grid(range(16, 129, 8), range(64, 385, 8)), "no temporal convolution"
    ),
    "imagen-pytorch Unet3D": Peer(
        "imagen-pytorch", imagen, _grid(range(16, 129, 8), range(16, 97, 8)), "causal temporal attention"
    ),
    "video-diffusion-pytorch Unet3D": Peer(
        "video-diffusion-pytorch",
        video_diffusion,
        _grid(range(16, 129, 8), range(16, 129, 4)),
        "attention at every level, linear over space; no temporal convolution",
    ),
}


def parameters(net: nn.Module) -> int:
    """Count the parameters of a network."""
    return sum(parameter.numel() for parameter in net.parameters())


def flops(net: nn.Module, frames: int, size: int) -> int:
    """Count the operations of a forward pass on one clip: convolutions, matrix products and attention."""
    device = next(net.parameters()).device
    clips = torch.zeros(1, 3, frames, size, size, device=device)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(clips, torch.ones(1, device=device))
    return counter.get_total_flops()


def matched(peer: Peer, target: float, measure: Callable[[nn.Module], float]) -> tuple[Called, dict[str, Any]]:
    """Build the peer whose measure is closest to a target, and describe it.

    Both numbers are found by bisection, since all measures grow with them: the widest network below the target, then
    the second number, for that width and for its neighbors.

    Args:
        peer: The peer.
        target: The value to match.
        measure: Returns a network's value.
    """
    sizes = list(peer.sizes())
    widths, seconds = sorted({size[0] for size in sizes}), sorted({size[1] for size in sizes})
    values: dict[tuple[int, int], float] = {}

    def value(width: int, second: int) -> float:
        if (width, second) not in values:
            values[width, second] = float(measure(peer.build(width, second)))
        return values[width, second]

    middle = seconds[len(seconds) // 2]
    at = max(bisect.bisect(widths, target, key=lambda width: value(width, middle)) - 1, 0)
    for width in widths[max(at - 1, 0) : at + 2]:
        found = bisect.bisect(seconds, target, key=lambda second: value(width, second))
        for second in seconds[max(found - 1, 0) : found + 1]:
            value(width, second)
    best = min(values, key=lambda size: abs(values[size] / target - 1))
    return peer.build(*best), {"width": best[0], "second": best[1], "off": values[best] / target - 1}
