"""A sampler of one's own: Euler steps, written without looking at the ones that exist."""

import torch
from torch import Tensor

from mav_lightning.diffusion.samplers import Denoise, Draw

__all__ = ["Euler"]


class Euler:
    """First order in sigma, one denoiser call per step."""

    def __call__(self, denoise: Denoise, draw: Draw, sigmas: Tensor) -> Tensor:
        """Return the sample, shape of the noise."""
        levels = sigmas.tolist()
        x = draw() * levels[0]
        for sigma, sigma_next in zip(levels[:-1], levels[1:], strict=True):
            x0 = denoise(x, torch.full((len(x),), sigma, dtype=x.dtype, device=x.device)).x0
            x = x + (sigma_next - sigma) * (x - x0) / sigma
        return x
