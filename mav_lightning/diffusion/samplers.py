r"""Samplers: stateless functions from noise to a sample, named after their papers.

All work on the variance-exploding process: `x` at noise level :math:`\sigma` is the clean sample plus
:math:`\sigma` times unit noise. Every sampler takes

- ``denoise(x, sigma)``: the denoiser with its conditions bound, an `Estimate`,
- ``draw()``: unit noise, shape (B, …); the first draw is where sampling starts, `ddpm` draws more on the way,
- ``sigmas``: decreasing noise levels ending in 0, shape (N + 1,),

and returns the sample, shape (B, …).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from mav_lightning.diffusion.denoised import Estimate, step_variance

__all__ = ["SAMPLERS", "Denoise", "Draw", "Sampler", "ddim", "ddpm", "dpm_solver_pp_2m", "heun"]

Denoise = Callable[[Tensor, Tensor], Estimate]
Draw = Callable[[], Tensor]
Sampler = Callable[[Denoise, Draw, Tensor], Tensor]


def ddim(denoise: Denoise, draw: Draw, sigmas: Tensor) -> Tensor:
    """DDIM without added noise: first order in σ, one denoiser call a step.

    References:
        DDIM (Song et al., 2021), Equation 12 with η = 0, in the variable σ. https://arxiv.org/abs/2010.02502
    """
    levels = sigmas.tolist()
    x = draw() * levels[0]
    for sigma, following in zip(levels[:-1], levels[1:], strict=True):
        clean = denoise(x, _batch(sigma, x)).clean
        x = clean + (following / sigma) * (x - clean)
    return x


def ddpm(denoise: Denoise, draw: Draw, sigmas: Tensor) -> Tensor:
    r"""Ancestral sampling: every step draws from the posterior of the less noisy sample given the estimate.

    From :math:`\sigma` to :math:`\sigma' < \sigma` it keeps :math:`\sigma'^2 / \sigma^2` of the distance to the
    estimate and adds noise of the variance that the denoiser has learnt, else the least possible; see `step_variance`.

    References:
        DDPM (Ho et al., 2020), Equations 6 and 7, in the variable σ. https://arxiv.org/abs/2006.11239
    """
    levels = sigmas.tolist()
    x = draw() * levels[0]
    for sigma, following in zip(levels[:-1], levels[1:], strict=True):
        clean, share = denoise(x, _batch(sigma, x))
        x = clean + (following / sigma) ** 2 * (x - clean)
        if following > 0:
            x = x + step_variance(x.new_tensor(sigma), x.new_tensor(following), share).sqrt() * draw()
    return x


def heun(denoise: Denoise, draw: Draw, sigmas: Tensor) -> Tensor:
    """Heun's method: second order, two denoiser calls a step but for the last, which is one.

    References:
        EDM (Karras et al., 2022), Algorithm 1. https://arxiv.org/abs/2206.00364
    """
    levels = sigmas.tolist()
    x = draw() * levels[0]
    for sigma, following in zip(levels[:-1], levels[1:], strict=True):
        slope = (x - denoise(x, _batch(sigma, x)).clean) / sigma
        ahead = x + (following - sigma) * slope
        if following > 0:
            slope = (slope + (ahead - denoise(ahead, _batch(following, x)).clean) / following) / 2
        x = x + (following - sigma) * slope
    return x


def dpm_solver_pp_2m(denoise: Denoise, draw: Draw, sigmas: Tensor) -> Tensor:
    """DPM-Solver++ (2M): second order from one denoiser call a step, reusing the last estimate.

    References:
        DPM-Solver++ (Lu et al., 2022), Algorithm 2. https://arxiv.org/abs/2211.01095
    """
    levels = sigmas.double()
    lambdas = -levels.log()  # half the log signal-to-noise ratio; infinite at the end
    x = draw() * float(levels[0])
    before: Tensor | None = None
    for i in range(len(levels) - 1):
        clean = denoise(x, _batch(float(levels[i]), x)).clean
        estimate = clean
        if before is not None and levels[i + 1] > 0:
            h, h_before = lambdas[i + 1] - lambdas[i], lambdas[i] - lambdas[i - 1]
            r = float(h_before / h)
            estimate = (1 + 1 / (2 * r)) * clean - before / (2 * r)
        ratio = float(levels[i + 1] / levels[i])
        x = ratio * x + (1 - ratio) * estimate
        before = clean
    return x


SAMPLERS: dict[str, Sampler] = {"ddpm": ddpm, "ddim": ddim, "heun": heun, "dpm++2m": dpm_solver_pp_2m}


def _batch(sigma: float, x: Tensor) -> Tensor:
    return torch.full((len(x),), sigma, dtype=x.dtype, device=x.device)
