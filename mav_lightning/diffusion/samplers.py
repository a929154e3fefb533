r"""Samplers: stateless functions from noise to a sample, named after their papers.

All use the variance-exploding process: `x` at noise level :math:`\sigma` is x0 plus :math:`\sigma` times unit noise.
Every sampler takes

- ``denoise(x, sigma)``: the denoiser with its conditioning bound; returns `Denoised`,
- ``draw()``: unit noise, shape (B, ...); sampling starts from the first draw, and `ddpm` draws again at each step,
- ``sigmas``: decreasing noise levels ending in 0, shape (N + 1,),

and returns the sample, shape (B, ...).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from mav_lightning.common.allowed import import_class
from mav_lightning.common.errors import UserError, nearest
from mav_lightning.diffusion.denoised import Denoised, step_variance
from mav_lightning.diffusion.noise_levels import flow_sigmas

__all__ = [
    "SAMPLERS",
    "Denoise",
    "Draw",
    "Sampler",
    "ddim",
    "ddpm",
    "dpm_solver_pp_2m",
    "euler",
    "find_sampler",
    "heun",
]

Denoise = Callable[[Tensor, Tensor], Denoised]
Draw = Callable[[], Tensor]
Sampler = Callable[[Denoise, Draw, Tensor], Tensor]


def ddim(denoise: Denoise, draw: Draw, sigmas: Tensor) -> Tensor:
    """Sample with DDIM, without added noise: first order in σ, one denoiser evaluation per step.

    References:
        DDIM (Song et al., 2021), Equation 12 with η = 0, in the variable σ. https://arxiv.org/abs/2010.02502
    """
    levels: list[float] = sigmas.tolist()
    x = draw() * levels[0]
    for sigma, sigma_next in zip(levels[:-1], levels[1:], strict=True):
        x0 = denoise(x, _batch(sigma, x)).x0
        x = x0 + (sigma_next / sigma) * (x - x0)
    return x


def euler(denoise: Denoise, draw: Draw, sigmas: Tensor, shift: float = 1.0) -> Tensor:
    r"""Sample with Euler's method on the straight paths of flow matching, in equal steps of time.

    In the variable :math:`\sigma = t / (1 - t)`, an Euler step along :math:`dx_t/dt = \varepsilon - x_0` is a step of
    DDIM, so the two differ in their noise levels only. Of `sigmas`, the first and the number are used.

    References:
        Rectified flow (Liu et al., 2023), §2. https://arxiv.org/abs/2209.03003

    Args:
        denoise: The denoiser with its conditioning bound.
        draw: Source of unit noise.
        sigmas: Decreasing noise levels ending in 0, shape (N + 1,).
        shift: Shift of time, see `flow_sigmas`.
    """
    return ddim(denoise, draw, flow_sigmas(len(sigmas) - 1, float(sigmas[0]), shift))


def ddpm(denoise: Denoise, draw: Draw, sigmas: Tensor) -> Tensor:
    r"""Sample with DDPM (ancestral sampling): each step draws from the posterior of the less noisy sample given x0.

    A step from :math:`\sigma` to :math:`\sigma' < \sigma` keeps :math:`\sigma'^2 / \sigma^2` of the distance to the x0
    estimate and adds noise of the learned variance, or of the smallest possible one; see `step_variance`.

    References:
        DDPM (Ho et al., 2020), Equations 6 and 7, in the variable σ. https://arxiv.org/abs/2006.11239
    """
    levels: list[float] = sigmas.tolist()
    x = draw() * levels[0]
    for sigma, sigma_next in zip(levels[:-1], levels[1:], strict=True):
        x0, fraction = denoise(x, _batch(sigma, x))
        x = x0 + (sigma_next / sigma) ** 2 * (x - x0)
        if sigma_next > 0:
            x = x + step_variance(x.new_tensor(sigma), x.new_tensor(sigma_next), fraction).sqrt() * draw()
    return x


def heun(denoise: Denoise, draw: Draw, sigmas: Tensor) -> Tensor:
    """Sample with Heun's method: second order, two denoiser evaluations per step, one in the last step.

    References:
        EDM (Karras et al., 2022), Algorithm 1. https://arxiv.org/abs/2206.00364
    """
    levels: list[float] = sigmas.tolist()
    x = draw() * levels[0]
    for sigma, sigma_next in zip(levels[:-1], levels[1:], strict=True):
        slope = (x - denoise(x, _batch(sigma, x)).x0) / sigma
        x_next = x + (sigma_next - sigma) * slope
        if sigma_next > 0:
            slope = (slope + (x_next - denoise(x_next, _batch(sigma_next, x)).x0) / sigma_next) / 2
        x = x + (sigma_next - sigma) * slope
    return x


def dpm_solver_pp_2m(denoise: Denoise, draw: Draw, sigmas: Tensor) -> Tensor:
    """Sample with DPM-Solver++ (2M): second order, one denoiser evaluation per step, reusing the previous estimate.

    References:
        DPM-Solver++ (Lu et al., 2022), Algorithm 2. https://arxiv.org/abs/2211.01095
    """
    levels = sigmas.double()
    lambdas = -levels.log()  # half the log signal-to-noise ratio; infinite at the end
    x = draw() * float(levels[0])
    previous: Tensor | None = None
    for i in range(len(levels) - 1):
        x0 = denoise(x, _batch(float(levels[i]), x)).x0
        estimate = x0
        if previous is not None and levels[i + 1] > 0:
            h, h_previous = lambdas[i + 1] - lambdas[i], lambdas[i] - lambdas[i - 1]
            r = float(h_previous / h)
            estimate = (1 + 1 / (2 * r)) * x0 - previous / (2 * r)
        ratio = float(levels[i + 1] / levels[i])
        x = ratio * x + (1 - ratio) * estimate
        previous = x0
    return x


def find_sampler(name: str, argument: str = "sampler") -> Sampler:
    """Return a sampler by its name, or by the dotted name of a class in a package that the user has allowed.

    Args:
        name: ``ddpm``, ``ddim``, ``euler``, ``heun``, ``dpm++2m``, or ``package.module.Class``. The class is built
            without arguments and called like any sampler.
        argument: Name of the argument that holds `name`, for messages.

    Raises:
        UserError: If there is no such sampler, or the class's package is not allowed.
    """
    if name in SAMPLERS:
        return SAMPLERS[name]
    if "." not in name:
        known = ", ".join(f"`{one}`" for one in SAMPLERS)
        raise UserError(
            f"must be one of {known}, or a class of a package of your own, got '{name}'.",
            argument=argument,
            suggestion=nearest(name, SAMPLERS),
        )
    found: Sampler = import_class(name)()
    if not callable(found):
        raise UserError(f"`{name}` cannot be called with (denoise, draw, sigmas).", argument=argument)
    return found


SAMPLERS: dict[str, Sampler] = {
    "ddpm": ddpm, "ddim": ddim, "euler": euler, "heun": heun, "dpm++2m": dpm_solver_pp_2m,
}  # fmt: skip


def _batch(sigma: float, x: Tensor) -> Tensor:
    return torch.full((len(x),), sigma, dtype=x.dtype, device=x.device)
