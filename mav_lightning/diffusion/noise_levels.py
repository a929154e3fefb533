r"""Noise levels: the schedule of a sampler and the distribution in training.

The process is EDM's variance-exploding one, :math:`x = x_0 + \sigma \varepsilon`; a noise level is its :math:`\sigma`.
"""

import math

import torch
from torch import Tensor

from mav_lightning.common.arguments import checked
from mav_lightning.common.schema import NonNegativeFloat, PositiveFloat

__all__ = ["LogNormalNoise", "LogitNormalNoise", "flow_sigmas", "karras_sigmas", "trained_sigmas"]


def karras_sigmas(steps: int, sigma_min: float = 0.02, sigma_max: float = 80.0, rho: float = 7.0) -> Tensor:
    """Compute a sampler's noise levels, from `sigma_max` down to `sigma_min`, then 0.

    References:
        EDM (Karras et al., 2022), Equation 5. https://arxiv.org/abs/2206.00364

    Args:
        steps: Number of steps, at least 2.
        sigma_min: Last noise level before 0.
        sigma_max: First noise level.
        rho: Exponent; larger values take more of the steps at low noise.

    Returns:
        Noise levels, shape (steps + 1,), float64.

    Raises:
        ValueError: If `steps` is below 2 or the noise levels are not ordered.
    """
    if steps < 2 or not 0 < sigma_min < sigma_max:
        raise ValueError(
            f"karras_sigmas: needs steps ≥ 2 and 0 < sigma_min < sigma_max, got {steps}, {sigma_min}, {sigma_max}."
        )
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    top, bottom = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return torch.cat([(top + ramp * (bottom - top)) ** rho, torch.zeros(1, dtype=torch.float64)])


def flow_sigmas(steps: int, sigma_max: float = 80.0, shift: float = 1.0) -> Tensor:
    r"""Compute noise levels with equal steps of flow matching's time t, where :math:`\sigma = t / (1 - t)`.

    References:
        Stable Diffusion 3 (Esser et al., 2024), Equation 23, for the shift. https://arxiv.org/abs/2403.03206

    Args:
        steps: Number of steps, at least 1.
        sigma_max: First noise level.
        shift: Factor of all noise levels but the first and the last; above 1, more of the steps are at high noise.

    Returns:
        Noise levels, shape (steps + 1,), decreasing, ending in 0, float64.

    Raises:
        ValueError: If an argument is out of range.
    """
    if steps < 1 or sigma_max <= 0 or shift <= 0:
        raise ValueError(
            f"flow_sigmas: needs steps ≥ 1, sigma_max > 0 and shift > 0, got {steps}, {sigma_max}, {shift}."
        )
    first = sigma_max / shift  # shifted, it is sigma_max again
    t = torch.linspace(first / (1 + first), 0, steps + 1, dtype=torch.float64)
    return shift * t / (1 - t)


def trained_sigmas(levels: Tensor, steps: int) -> Tensor:
    """Select evenly spaced noise levels from the discrete ones of a training, including the first and the last.

    References:
        Improved DDPM (Nichol and Dhariwal, 2021), §4: fewer steps. https://arxiv.org/abs/2102.09672

    Args:
        levels: Noise levels of the training, increasing, shape (N,).
        steps: Number of steps, from 2 to N.

    Returns:
        Noise levels, shape (steps + 1,), decreasing, ending in 0, float64.

    Raises:
        ValueError: If `steps` is out of range.
    """
    if not 2 <= steps <= len(levels):
        raise ValueError(f"trained_sigmas: needs 2 to {len(levels)} steps, got {steps}.")
    spacing = (len(levels) - 1) / (steps - 1)
    chosen = [round(step * spacing) for step in reversed(range(steps))]
    return torch.cat([levels[chosen].double(), levels.new_zeros(1, dtype=torch.float64)])


class LogNormalNoise:
    r"""Distribution of noise levels in training: :math:`\ln\sigma \sim N(\mathrm{mean}, \mathrm{std}^2)`.

    The content of an image is decided at moderate noise, the motion of a clip at high noise: frames of a clip are so
    similar that a noise level that hides an image leaves its clip recognizable.

    References:
        EDM (Karras et al., 2022), Table 1.

    Args:
        mean: Mean of :math:`\ln\sigma`.
        std: Standard deviation of :math:`\ln\sigma`.
    """

    def __init__(self, mean: float = -1.2, std: NonNegativeFloat = 1.2) -> None:
        self.mean, self.std = mean, std

    def __call__(self, count: int, device: torch.device | str = "cpu") -> Tensor:
        """Draw `count` noise levels from PyTorch's global generator, shape (count,)."""
        return (torch.randn(count, device=device) * self.std + self.mean).exp()


class LogitNormalNoise(LogNormalNoise):
    r"""Distribution of noise levels for flow matching: :math:`\mathrm{logit}\,t \sim N(\mathrm{mean}, \mathrm{std}^2)`.

    As :math:`\ln\sigma = \mathrm{logit}\,t`, this is a log-normal distribution of :math:`\sigma`. A shift of time
    multiplies :math:`\sigma`: clips and large images need more noise to be hidden than small images.

    References:
        Stable Diffusion 3 (Esser et al., 2024), §3.1 and Equation 23. https://arxiv.org/abs/2403.03206

    Args:
        mean: Mean of :math:`\mathrm{logit}\,t` before the shift.
        std: Standard deviation of :math:`\mathrm{logit}\,t`.
        shift: Factor of all noise levels, above 0; 1 for no shift.
    """

    @checked
    def __init__(self, mean: float = 0.0, std: NonNegativeFloat = 1.0, shift: PositiveFloat = 1.0) -> None:
        super().__init__(mean + math.log(shift), std)
