r"""What a denoiser says of a noisy sample, and how far a step to less noise is still open.

In the variables of the variance-exploding process, the step from :math:`\sigma` to :math:`\sigma' < \sigma` draws from
a Gaussian around :math:`k x + (1 - k) D(x)` with :math:`k = \sigma'^2/\sigma^2`. Its variance lies between
:math:`\tilde\beta`, right if the clean sample were known, and :math:`\beta`, right for pure noise of unit variance.

References:
    DDPM (Ho et al., 2020), Equations 6 and 7. https://arxiv.org/abs/2006.11239
    Improved DDPM (Nichol and Dhariwal, 2021), §3.1. https://arxiv.org/abs/2102.09672
"""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Estimate", "step_variance"]


class Estimate(NamedTuple):
    r"""A denoiser's answer.

    Attributes:
        clean: The expected clean sample, shape of the noisy one.
        share: Where each element's variance lies between :math:`\ln\tilde\beta` (0) and :math:`\ln\beta` (1), shape of
            `clean`; None where the denoiser has not learnt it, which samplers take for 0.
    """

    clean: Tensor
    share: Tensor | None = None


def step_variance(sigma: Tensor, following: Tensor, share: Tensor | None) -> Tensor:
    r"""The variance of a step: :math:`\exp(s \ln\beta + (1 - s) \ln\tilde\beta)`, Equation 15 of improved DDPM.

    Args:
        sigma: The noise level, of any shape.
        following: That after the step, above 0 and below `sigma`, likewise.
        share: As `Estimate.share`, of a shape that the levels broadcast to.

    Returns:
        Shape of `share`, or of the levels.
    """
    ratio = (following / sigma).square()
    lower = sigma.square() * ratio * (1 - ratio)
    if share is None:
        return lower
    upper = sigma.square() * (1 - ratio) * (1 + following.square()) / (1 + sigma.square())
    return torch.exp(share * upper.log() + (1 - share) * lower.log())
