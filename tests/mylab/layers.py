"""A temporal layer of one's own, for the U-Net: a shift of some channels along time, gated by the frame time."""

import torch
from torch import Tensor, nn

from mav_lightning.nn.base import TemporalLayer

__all__ = ["GatedShift"]


class GatedShift(TemporalLayer):
    """Mixes each frame with the one before it; a projection that starts at zero decides how much.

    Args:
        channels: Channels of the features.
        time_channels: Length of the time embedding.
    """

    def __init__(self, channels: int, time_channels: int) -> None:
        super().__init__()
        self.gate = nn.Linear(time_channels, channels)
        self.reset_to_identity()

    def reset_to_identity(self) -> None:
        """Close the gate."""
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def temporal_activity(self) -> float:
        """Return the norm of the gate's weights."""
        return float(torch.cat([self.gate.weight.flatten(), self.gate.bias]).detach().norm())

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Map clips (B, C, T, H, W) and time embeddings (B, T, E) to clips."""
        before = torch.cat([x[:, :, :1], x[:, :, :-1]], dim=2)
        gate = self.gate(time).transpose(1, 2)[..., None, None]
        return x + gate * (before - x)
