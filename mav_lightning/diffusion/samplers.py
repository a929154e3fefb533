r"""Samplers: stateless functions from noise to a sample, named after their papers.

All work on the variance-exploding process: `x` at noise level :math:`\sigma` is the clean sample plus
:math:`\sigma` times unit noise. `denoise(x, sigma)` has its conditions bound; `sigmas` decrease to 0.
"""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["Denoise", "Sampler", "ddim", "dpm_solver_pp_2m"]

Denoise = Callable[[Tensor, Tensor], Tensor]
Sampler = Callable[[Denoise, Tensor, Tensor], Tensor]


def ddim(denoise: Denoise, noise: Tensor, sigmas: Tensor) -> Tensor:
    """DDIM without added noise: first order in σ.

    References:
        DDIM (Song et al., 2021), Equation 12 with η = 0, in the variable σ. https://arxiv.org/abs/2010.02502

    Args:
        denoise: The denoiser.
        noise: Unit noise, shape (B, …).
        sigmas: Decreasing noise levels ending in 0, shape (N + 1,).

    Returns:
        The sample, shape of `noise`.
    """
    x = noise * float(sigmas[0])
    for sigma, following in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
        clean = denoise(x, _batch(sigma, x))
        x = clean + (following / sigma) * (x - clean)
    return x


def dpm_solver_pp_2m(denoise: Denoise, noise: Tensor, sigmas: Tensor) -> Tensor:
    """DPM-Solver++ (2M): second order from one denoiser call a step, reusing the last estimate.

    References:
        DPM-Solver++ (Lu et al., 2022), Algorithm 2. https://arxiv.org/abs/2211.01095

    Args:
        denoise: The denoiser.
        noise: Unit noise, shape (B, …).
        sigmas: Decreasing noise levels ending in 0, shape (N + 1,).

    Returns:
        The sample, shape of `noise`.
    """
    levels = sigmas.double()
    lambdas = -levels.log()  # half the log signal-to-noise ratio; infinite at the end
    x = noise * float(levels[0])
    before: Tensor | None = None
    for i in range(len(levels) - 1):
        clean = denoise(x, _batch(float(levels[i]), x))
        estimate = clean
        if before is not None and levels[i + 1] > 0:
            h, h_before = lambdas[i + 1] - lambdas[i], lambdas[i] - lambdas[i - 1]
            r = float(h_before / h)
            estimate = (1 + 1 / (2 * r)) * clean - before / (2 * r)
        ratio = float(levels[i + 1] / levels[i])
        x = ratio * x + (1 - ratio) * estimate
        before = clean
    return x


def _batch(sigma: float, x: Tensor) -> Tensor:
    return torch.full((len(x),), sigma, dtype=x.dtype, device=x.device)
