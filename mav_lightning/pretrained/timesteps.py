r"""The discrete noise levels that a network of diffusers was trained on.

Such a network reads the index t of a step of a variance-preserving process,
:math:`x_t = \sqrt{\bar\alpha_t} x_0 + \sqrt{1 - \bar\alpha_t}\,\varepsilon`. Divided by :math:`\sqrt{\bar\alpha_t}`
this is the variance-exploding process of `mav_lightning.diffusion` at :math:`\sigma_t = \sqrt{1/\bar\alpha_t - 1}`.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor, nn

from mav_lightning.common.arguments import check_fields
from mav_lightning.common.errors import UserError

__all__ = ["NoiseSchedule", "TimestepOfNoise"]

_Beta = Annotated[float, Gt(0), Lt(1)]


@dataclass(frozen=True)
class NoiseSchedule:
    r"""Variances :math:`\beta_t` of the steps of the training process, under diffusers' names.

    Attributes:
        num_train_timesteps: Number of steps.
        beta_start: First variance. Not used by ``squaredcos_cap_v2``.
        beta_end: Last variance. Not used by ``squaredcos_cap_v2``.
        beta_schedule: How variances grow: ``linear`` in t, ``scaled_linear`` in their square root, or
            ``squaredcos_cap_v2``, the cosine schedule of improved DDPM.

    Raises:
        UserError: If a value is out of range.
    """

    num_train_timesteps: Annotated[int, Ge(2), Le(100_000)] = 1000
    beta_start: _Beta = 1e-4
    beta_end: _Beta = 0.02
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = "linear"

    def __post_init__(self) -> None:
        """Check the values and their combination."""
        check_fields(self)
        if self.beta_start >= self.beta_end:
            raise UserError(
                f"must be below beta_end={self.beta_end:g}, got {self.beta_start:g}.", argument="beta_start"
            )

    def sigmas(self) -> Tensor:
        r"""Compute the noise levels :math:`\sigma_t`, shape (num_train_timesteps,), increasing, in float64.

        Products are formed in float32, as in diffusers, so that levels agree with its schedulers' to the bit.
        """
        products = torch.cumprod(1 - self._betas(), dim=0).double()
        return (1 / products - 1).sqrt()

    def _betas(self) -> Tensor:
        count = self.num_train_timesteps
        if self.beta_schedule == "linear":
            return torch.linspace(self.beta_start, self.beta_end, count, dtype=torch.float32)
        if self.beta_schedule == "scaled_linear":
            return torch.linspace(self.beta_start**0.5, self.beta_end**0.5, count, dtype=torch.float32).square()
        signal = [math.cos((step / count + 0.008) / 1.008 * math.pi / 2) ** 2 for step in range(count + 1)]
        steps = [min(1 - after / before, 0.999) for before, after in zip(signal[:-1], signal[1:], strict=True)]
        return torch.tensor(steps, dtype=torch.float32)


class TimestepOfNoise(nn.Module):
    r"""Convert noise levels to timesteps, interpolated in :math:`\ln\sigma` between those of training.

    Args:
        schedule: Schedule of the training. Levels outside of its range take the nearest timestep.
    """

    log_sigmas: Tensor

    def __init__(self, schedule: NoiseSchedule) -> None:
        super().__init__()
        self.register_buffer("log_sigmas", schedule.sigmas().log(), persistent=False)

    def sigmas(self) -> Tensor:
        """Return the noise levels of the training, increasing, shape (num_train_timesteps,)."""
        return self.log_sigmas.exp()

    def forward(self, noise: Tensor) -> Tensor:
        r"""Return the timestep of each noise level.

        Args:
            noise: :math:`\ln(\sigma)/4`, shape (B,).

        Returns:
            Timesteps, shape (B,), float32. A level of the training gives exactly its integer.
        """
        table = self.log_sigmas
        level = (4 * noise.to(table.dtype)).contiguous()
        above = torch.searchsorted(table, level).clamp(1, len(table) - 1)
        low, high = table[above - 1], table[above]
        timestep = above - 1 + ((level - low) / (high - low)).clamp(0, 1)
        nearest = timestep.round()
        return torch.where((timestep - nearest).abs() < 1e-3, nearest, timestep).float()
