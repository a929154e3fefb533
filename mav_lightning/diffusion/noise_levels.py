r"""Noise levels: which ones a sampler visits and which ones training draws.

The variance-exploding process :math:`x = x_0 + \sigma \varepsilon` of EDM; a noise level is its :math:`\sigma`.
"""

import torch
from torch import Tensor

__all__ = ["LogNormalNoise", "karras_sigmas"]


def karras_sigmas(steps: int, sigma_min: float = 0.02, sigma_max: float = 80.0, rho: float = 7.0) -> Tensor:
    """The noise levels of a sampler, from `sigma_max` down to `sigma_min`, then 0: shape (steps + 1,), float64.

    References:
        EDM (Karras et al., 2022), Equation 5. https://arxiv.org/abs/2206.00364

    Raises:
        ValueError: Fewer than two steps, or noise levels out of order.
    """
    if steps < 2 or not 0 < sigma_min < sigma_max:
        raise ValueError(
            f"karras_sigmas: needs steps ≥ 2 and 0 < sigma_min < sigma_max, got {steps}, {sigma_min}, {sigma_max}."
        )
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    top, bottom = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return torch.cat([(top + ramp * (bottom - top)) ** rho, torch.zeros(1, dtype=torch.float64)])


class LogNormalNoise:
    r"""Draws training noise levels with :math:`\ln\sigma \sim N(\mathrm{mean}, \mathrm{std}^2)`.

    What an image shows is decided at moderate noise, how a clip moves at high noise: the frames of a clip repeat each
    other, so a noise level that hides an image leaves its clip readable.

    References:
        EDM (Karras et al., 2022), Table 1.

    Args:
        mean: Of :math:`\ln\sigma`.
        std: Of :math:`\ln\sigma`.
    """

    def __init__(self, mean: float = -1.2, std: float = 1.2) -> None:
        self.mean, self.std = mean, std

    def __call__(self, count: int, device: torch.device | str = "cpu") -> Tensor:
        """Draws `count` noise levels from the global generator, shape (count,)."""
        return (torch.randn(count, device=device) * self.std + self.mean).exp()
