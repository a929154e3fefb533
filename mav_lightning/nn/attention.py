"""Multi-head attention, as spatial and temporal attention share it."""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mav_lightning.nn.time_position import PositionTerms

__all__ = ["NO_TERMS", "MultiHeadAttention"]

NO_TERMS = PositionTerms()


class MultiHeadAttention(nn.Module):
    """Multi-head attention of normalized tokens to themselves and to optional context tokens.

    Args:
        channels: Number of channels C of the tokens, a multiple of `head_channels`.
        head_channels: Channels of each attention head.
        context_channels: Channels D of the context tokens. 0 disables context.
    """

    def __init__(self, channels: int, head_channels: int, context_channels: int = 0) -> None:
        super().__init__()
        self.head_channels = head_channels
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.context_kv = nn.Linear(context_channels, 2 * channels) if context_channels else None
        self.out_proj = nn.Linear(channels, channels)

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        position: PositionTerms = NO_TERMS,
        allowed: Tensor | None = None,
    ) -> Tensor:
        """Compute the attention output, to be added to the tokens.

        Args:
            x: Tokens, shape (N, L, C).
            context: Context tokens, shape (N, M, D). None without context.
            position: Terms that depend on the positions of the tokens. They exclude context.
            allowed: Shape (L, L), bool: whether a token (row) may attend to another (column). None if all may. It
                excludes context.

        Returns:
            Residual to add to the tokens, shape (N, L, C).
        """
        x = self.norm(x)
        if position.shift is not None:
            x = x + position.shift
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        if context is not None and self.context_kv is not None:
            context_k, context_v = self.context_kv(context).chunk(2, dim=-1)
            k, v = torch.cat([k, context_k], dim=1), torch.cat([v, context_v], dim=1)
        q, k, v = (rearrange(y, "n l (heads c) -> n heads l c", c=self.head_channels) for y in (q, k, v))
        if position.rotation is not None:
            q, k = _rotated(q, position.rotation), _rotated(k, position.rotation)
        mask = allowed if position.bias is None else position.bias.to(q.dtype)
        if mask is not None and allowed is not None and mask is not allowed:
            mask = mask.masked_fill(~allowed, -torch.inf)
        out = rearrange(F.scaled_dot_product_attention(q, k, v, mask), "n heads l c -> n l (heads c)")
        projected: Tensor = self.out_proj(out)
        return projected


def _rotated(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate pairs of channels, the first half with the second, of (N, heads, L, D)."""
    cos, sin = rotation[:, :, None].to(x.dtype)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)
