r"""Noise levels: the schedule of a sampler and the distribution in training.

The process is EDM's variance-exploding one, :math:`x = x_0 + \sigma \varepsilon`; a noise level is its :math:`\sigma`.
"""

import torch
from torch import Tensor

from mav_lightning.common.schema import NonNegativeFloat

__all__ = ["LogNormalNoise", "karras_sigmas"]


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
