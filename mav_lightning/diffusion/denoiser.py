"""From a raw network to a denoiser, and its training loss."""

from typing import Protocol

import torch
from torch import Tensor, nn

__all__ = ["Denoiser", "EDMDenoiser"]


class Denoiser(Protocol):
    """Estimates the clean sample: ``denoiser(x, sigma, cond, fps)``, what samplers and guidance call."""

    def __call__(self, x: Tensor, sigma: Tensor, cond: Tensor, fps: Tensor | None = None) -> Tensor:
        """Maps noisy `x` (B, …) at noise levels `sigma` (B,) to the expected clean sample, shape of `x`."""
        ...


class EDMDenoiser(nn.Module):
    r"""Wraps a network in EDM's preconditioning.

    :math:`D(x; \sigma) = c_{skip} x + c_{out} F(c_{in} x; c_{noise})`, with coefficients that keep the network's input
    and target at unit variance for every noise level.

    References:
        EDM (Karras et al., 2022), Equation 7 and Table 1.

    Args:
        net: ``net(x, noise, cond, fps)``, noise being :math:`\ln(\sigma)/4`.
        sigma_data: Standard deviation of the data, pixels in [-1, 1].
    """

    def __init__(self, net: nn.Module, sigma_data: float = 0.5) -> None:
        super().__init__()
        self.net, self.sigma_data = net, sigma_data

    def forward(self, x: Tensor, sigma: Tensor, cond: Tensor, fps: Tensor | None = None) -> Tensor:
        """Estimates the clean sample.

        Args:
            x: Noisy images (B, C, H, W) or clips (B, C, T, H, W).
            sigma: Noise levels, shape (B,).
            cond: Image embeddings, shape (B, D); a row of zeros means "no condition".
            fps: Frames per second, shape (B,); required for clips.

        Returns:
            The expected clean sample, shape of `x`.
        """
        s = sigma.reshape(-1, *[1] * (x.ndim - 1)).to(x.dtype)
        total = (s.square() + self.sigma_data**2).sqrt()
        c_skip, c_out, c_in = self.sigma_data**2 / total.square(), s * self.sigma_data / total, 1 / total
        return c_skip * x + c_out * self.net(c_in * x, sigma.log().to(x.dtype) / 4, cond, fps)

    def loss(self, x: Tensor, sigma: Tensor, cond: Tensor, fps: Tensor | None = None) -> Tensor:
        r"""The denoising loss of each sample, weighted by :math:`(\sigma^2+\sigma_d^2)/(\sigma\sigma_d)^2`: shape (B,).

        Noise is drawn from the global generator, for every frame by itself.
        """
        noisy = x + sigma.reshape(-1, *[1] * (x.ndim - 1)) * torch.randn_like(x)
        weight = (sigma.square() + self.sigma_data**2) / (sigma * self.sigma_data).square()
        return weight * (self(noisy, sigma, cond, fps) - x).square().flatten(1).mean(1)
