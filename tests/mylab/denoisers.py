"""A denoiser of one's own: flow matching, x = (1 - t) x0 + t eps with sigma = t / (1 - t)."""

from torch import Tensor

from mav_lightning.diffusion.denoiser import NetDenoiser

__all__ = ["FlowDenoiser"]


class FlowDenoiser(NetDenoiser):
    """The network predicts the velocity eps - x0 of the straight path from data to noise."""

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return c_skip, c_out and c_in at noise levels of any shape."""
        scale = 1 / (1 + sigma)
        return scale, -sigma * scale, scale
