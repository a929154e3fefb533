"""Classifier-free guidance: a wrapper that turns a denoiser into a guided one."""

import torch
from torch import Tensor

from mav_lightning.diffusion.denoised import Denoised
from mav_lightning.diffusion.denoiser import Denoiser

__all__ = ["Guided"]


class Guided:
    r"""A denoiser that extrapolates from the unconditional estimate: :math:`D_\varnothing + w (D_c - D_\varnothing)`.

    References:
        Classifier-free diffusion guidance (Ho and Salimans, 2022), Equation 6, with w = 1 for no guidance.

    Args:
        denoiser: A denoiser for which an all-zero condition means "no condition".
        guidance_scale: The weight w. 1 disables guidance and halves the work.
    """

    def __init__(self, denoiser: Denoiser, guidance_scale: float) -> None:
        self.denoiser, self.guidance_scale = denoiser, guidance_scale

    def __call__(
        self, x: Tensor, sigma: Tensor, cond: Tensor, fps: Tensor | None = None, concat_cond: Tensor | None = None
    ) -> Denoised:
        """Denoise with guidance, with the arguments of `Denoiser`.

        Only `cond` is dropped for the unconditional estimate; a learned variance is that of the conditional one.
        """
        if self.guidance_scale == 1.0:
            return self.denoiser(x, sigma, cond, fps, concat_cond)
        both = self.denoiser(
            torch.cat([x, x]),
            torch.cat([sigma, sigma]),
            torch.cat([torch.zeros_like(cond), cond]),
            None if fps is None else torch.cat([fps, fps]),
            None if concat_cond is None else torch.cat([concat_cond, concat_cond]),
        )
        unconditional, conditional = both.x0.chunk(2)
        fraction = None if both.variance_fraction is None else both.variance_fraction.chunk(2)[1]
        return Denoised(unconditional + self.guidance_scale * (conditional - unconditional), fraction)
