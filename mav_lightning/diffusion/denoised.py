r"""The output of a denoiser, and the variance of a step to the next noise level.

In the variables of the variance-exploding process, the step from :math:`\sigma` to :math:`\sigma' < \sigma` samples
from a Gaussian with mean :math:`k x + (1 - k) D(x)`, :math:`k = \sigma'^2/\sigma^2`. Its variance is between
:math:`\tilde\beta`, which is exact if x0 is known, and :math:`\beta`, which is exact for pure noise of unit variance.

References:
    DDPM (Ho et al., 2020), Equations 6 and 7. https://arxiv.org/abs/2006.11239
    Improved DDPM (Nichol and Dhariwal, 2021), §3.1. https://arxiv.org/abs/2102.09672
"""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Denoised", "step_variance"]


class Denoised(NamedTuple):
    r"""Denoiser output: the x0 estimate and, optionally, the variance interpolation fraction.

    Attributes:
        x0: Expected denoised sample, shape of the noisy one.
        variance_fraction: Position of each element's step variance between :math:`\ln\tilde\beta` (0) and
            :math:`\ln\beta` (1), shape of `x0`. None if the denoiser does not learn it; samplers then use 0.
    """

    x0: Tensor
    variance_fraction: Tensor | None = None

    def clipped(self, limit: float | None) -> "Denoised":
        """Return the output with the x0 estimate clipped to [-limit, limit]. None for no limit."""
        return self if limit is None else self._replace(x0=self.x0.clamp(-limit, limit))


def step_variance(sigma: Tensor, sigma_next: Tensor, variance_fraction: Tensor | None) -> Tensor:
    r"""Compute the variance of a step: :math:`\exp(f \ln\beta + (1 - f) \ln\tilde\beta)`, Equation 15 of improved DDPM.

    Args:
        sigma: Noise level before the step, any shape.
        sigma_next: Noise level after the step, above 0 and below `sigma`, shape of `sigma`.
        variance_fraction: The fraction f, of a shape that the noise levels broadcast to. None for 0.

    Returns:
        Variance, shape of `variance_fraction`, or of `sigma` if that is None.
    """
    ratio = (sigma_next / sigma).square()
    lower = sigma.square() * ratio * (1 - ratio)
    if variance_fraction is None:
        return lower
    upper = sigma.square() * (1 - ratio) * (1 + sigma_next.square()) / (1 + sigma.square())
    return torch.exp(variance_fraction * upper.log() + (1 - variance_fraction) * lower.log())
