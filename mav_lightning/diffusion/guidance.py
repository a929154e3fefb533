"""Classifier-free guidance as a wrapper: what it wraps is a denoiser, and so is the result."""

import torch
from torch import Tensor

from mav_lightning.diffusion.denoised import Estimate
from mav_lightning.diffusion.denoiser import Denoiser

__all__ = ["Guided"]


class Guided:
    r"""Moves the estimate away from the unconditional one: :math:`D_\varnothing + w (D_c - D_\varnothing)`.

    References:
        Classifier-free diffusion guidance (Ho and Salimans, 2022), Equation 6, with w counted so that 1 means none.

    Args:
        denoiser: Takes an all-zero condition as "no condition".
        guidance_scale: The weight w; 1 switches guidance off and saves the second half of the batch.
    """

    def __init__(self, denoiser: Denoiser, guidance_scale: float) -> None:
        self.denoiser, self.guidance_scale = denoiser, guidance_scale

    def __call__(
        self, x: Tensor, sigma: Tensor, cond: Tensor, fps: Tensor | None = None, given: Tensor | None = None
    ) -> Estimate:
        """As `Denoiser`; what is `given` stays given, and a learnt variance is that of the conditional estimate."""
        if self.guidance_scale == 1.0:
            return self.denoiser(x, sigma, cond, fps, given)
        both = self.denoiser(
            torch.cat([x, x]),
            torch.cat([sigma, sigma]),
            torch.cat([torch.zeros_like(cond), cond]),
            _twice(fps),
            _twice(given),
        )
        without, told = both.clean.chunk(2)
        share = None if both.share is None else both.share.chunk(2)[1]
        return Estimate(without + self.guidance_scale * (told - without), share)


def _twice(x: Tensor | None) -> Tensor | None:
    return None if x is None else torch.cat([x, x])
