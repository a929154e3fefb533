"""How temporal attention distinguishes frames: what each kind derives from the time embedding of the frames.

The time embedding holds cosines and sines of a frame's index and, optionally, of its time in seconds. Products of two
frames' embeddings are those of their difference, which is all that `RotaryTime` and `RelativeTime` use.
"""

from typing import Literal, NamedTuple

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from mav_lightning.common.errors import UserError
from mav_lightning.nn.embeddings import FRAME_FEATURES

__all__ = ["POSITIONS", "AbsoluteTime", "PositionTerms", "RelativeTime", "RotaryTime", "TimePosition"]

TimePosition = Literal["absolute", "rotary", "relative"]


class PositionTerms(NamedTuple):
    """Terms of an attention over L tokens per sequence; None for a term that is absent.

    Attributes:
        shift: Added to the normalized tokens, shape (N, L, C).
        rotation: Cosine and sine by which pairs of channels of queries and keys are rotated, shape (2, N, L, D / 2) for
            D channels per head.
        bias: Added to the attention scores, shape (N, heads, L, L).
    """

    shift: Tensor | None = None
    rotation: Tensor | None = None
    bias: Tensor | None = None

    def expand(self, windows: int, per_frame: int) -> "PositionTerms":
        """Repeat terms of B clips of T frames for windows of `per_frame` tokens of every frame: N = B · windows."""
        n, p = windows, per_frame
        shift, rotation, bias = self
        return PositionTerms(
            None if shift is None else repeat(shift, "b t c -> (b n) (t p) c", n=n, p=p),
            None if rotation is None else repeat(rotation, "r b t c -> r (b n) (t p) c", n=n, p=p),
            None if bias is None else repeat(bias, "b h q k -> (b n) h (q p) (k r)", n=n, p=p, r=p),
        )


class AbsoluteTime(nn.Linear):
    """Adds a projection of the time embedding to the tokens.

    Args:
        time_channels: Length of the time embedding.
        channels: Number of channels C of the tokens.
        head_channels: Channels of each attention head.
    """

    def __init__(self, time_channels: int, channels: int, head_channels: int) -> None:
        super().__init__(time_channels, channels)

    def forward(self, time: Tensor) -> PositionTerms:  # type: ignore[override]  # nn.Linear returns a tensor
        """Compute the terms that encode frame times, from time embeddings of shape (B, T, E)."""
        return PositionTerms(shift=super().forward(time))


class RotaryTime(nn.Module):
    """Rotates queries and keys by the angles of the time embedding; it has no weights.

    If a head has more pairs of channels than the embedding has frequencies, some frequencies rotate several pairs.

    References:
        RoFormer (Su et al., 2021), §3.2. https://arxiv.org/abs/2104.09864

    Args:
        time_channels: Length of the time embedding.
        channels: Number of channels C of the tokens.
        head_channels: Channels of each attention head, even.

    Raises:
        UserError: If `head_channels` is odd.
    """

    def __init__(self, time_channels: int, channels: int, head_channels: int) -> None:
        super().__init__()
        if head_channels % 2:
            raise UserError(f"must be even for rotary time, got {head_channels}.", argument="head_channels")
        last, pairs = time_channels // 2 - 1, head_channels // 2
        self.used = [round(last * pair / max(pairs - 1, 1)) for pair in range(pairs)]

    def forward(self, time: Tensor) -> PositionTerms:
        """Compute the terms that encode frame times, from time embeddings of shape (B, T, E)."""
        return PositionTerms(rotation=_cosines_and_sines(time)[..., self.used])


class RelativeTime(nn.Linear):
    """Adds a bias to the attention scores of each head, linear in the embedding of the two frames' time difference.

    References:
        Self-attention with relative position representations (Shaw et al., 2018). https://arxiv.org/abs/1803.02155

    Args:
        time_channels: Length of the time embedding.
        channels: Number of channels C of the tokens.
        head_channels: Channels of each attention head.
    """

    def __init__(self, time_channels: int, channels: int, head_channels: int) -> None:
        super().__init__(time_channels, channels // head_channels, bias=False)  # a constant shifts all scores alike

    def forward(self, time: Tensor) -> PositionTerms:  # type: ignore[override]  # nn.Linear returns a tensor
        """Compute the terms that encode frame times, from time embeddings of shape (B, T, E)."""
        (cos_q, sin_q), (cos_k, sin_k) = (
            _cosines_and_sines(time)[..., :, None, :],
            _cosines_and_sines(time)[..., None, :, :],
        )
        difference = torch.cat([cos_q * cos_k + sin_q * sin_k, sin_q * cos_k - cos_q * sin_k], dim=-1)
        return PositionTerms(bias=rearrange(super().forward(difference), "b q k h -> b h q k"))


POSITIONS: dict[TimePosition, type[AbsoluteTime | RotaryTime | RelativeTime]] = {
    "absolute": AbsoluteTime,
    "rotary": RotaryTime,
    "relative": RelativeTime,
}


def _cosines_and_sines(time: Tensor) -> Tensor:
    """Split time embeddings (B, T, E) into cosines and sines, shape (2, B, T, E / 2)."""
    return rearrange(time, "b t (unit part f) -> part b t (unit f)", part=2, f=FRAME_FEATURES // 2)
